/**
 * Transactions as people write them: the JSON of POST /txn. A field that is not known is refused,
 * because a compare that is left out by mistake would always hold.
 */
import {Buffer} from 'node:buffer';
import type {Json, JsonObject} from '../../client/record.ts';
import type {Compare, CompareOperator, Operation, Transaction} from '../../client/transaction.ts';
import {UsageError} from '../usage-error.ts';

/** Throws UsageError. */
export function readTransaction(text: string): Transaction {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    throw new UsageError(`the transaction is not JSON: ${String(error)}`);
  }
  const fields = objectOf(value, 'the transaction', ['compare', 'success', 'failure']);
  return {
    compare: listOf(fields, 'compare').map(readCompare),
    success: listOf(fields, 'success').map((item, i) => readOperation(item, `success[${i}]`)),
    failure: listOf(fields, 'failure').map((item, i) => readOperation(item, `failure[${i}]`)),
  };
}

const operators: readonly string[] = ['=', '!=', '<', '>'];

function readCompare(item: Json, i: number): Compare {
  const name = `compare[${i}]`;
  const known = ['key', 'keyEncoding', 'target', 'op', 'value', 'encoding'];
  const fields = objectOf(item, name, known);
  const {target, op, value, encoding} = fields;
  if (typeof op !== 'string' || !operators.includes(op)) {
    throw wrong(`${name}.op`, 'one of =, !=, <, >');
  }
  const common = {key: bytesOf(fields, 'key', 'keyEncoding', name), op: op as CompareOperator};
  if (target === 'value') {
    return {...common, target, value: bytesOf(fields, 'value', 'encoding', name)};
  }
  if (encoding !== undefined) throw wrong(`${name}.encoding`, 'absent, but for the target value');
  if (target === 'lease') {
    if (typeof value !== 'string') throw wrong(`${name}.value`, 'the id of a lease, or "0"');
    return {...common, target, value};
  }
  if (target !== 'version' && target !== 'createRevision' && target !== 'modRevision') {
    const targets = 'value, version, createRevision, modRevision, lease';
    throw wrong(`${name}.target`, `one of ${targets}`);
  }
  if (!Number.isSafeInteger(value)) throw wrong(`${name}.value`, 'a whole number');
  return {...common, target, value: value as number};
}

function readOperation(item: Json, name: string): Operation {
  const fields = objectOf(item, name, ['put', 'get', 'delete']);
  const [first, ...others] = Object.entries(fields);
  const [type, content] = first ?? ['', undefined];
  if (content === undefined || others.length > 0) {
    throw wrong(name, 'exactly one of put, get and delete');
  }
  const place = `${name}.${type}`;
  if (type === 'put') return {put: readPut(content, place)};
  const key = bytesOf(
    objectOf(content, place, ['key', 'keyEncoding']),
    'key',
    'keyEncoding',
    place,
  );
  return type === 'get' ? {get: {key}} : {delete: {key}};
}

function readPut(content: Json, place: string): Extract<Operation, {readonly put: unknown}>['put'] {
  const known = ['key', 'keyEncoding', 'value', 'encoding', 'lease', 'ttl'];
  const fields = objectOf(content, place, known);
  const {lease, ttl} = fields;
  if (lease !== undefined && typeof lease !== 'string') throw wrong(`${place}.lease`, 'an id');
  if (ttl !== undefined && typeof ttl !== 'number') throw wrong(`${place}.ttl`, 'seconds');
  return {
    key: bytesOf(fields, 'key', 'keyEncoding', place),
    value: bytesOf(fields, 'value', 'encoding', place),
    lease,
    ttl,
  };
}

function objectOf(value: Json, name: string, known: readonly string[]): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(name, 'an object');
  }
  const fields = value as JsonObject;
  const unknown = Object.keys(fields).find(field => !known.includes(field));
  if (unknown === undefined) return fields;
  throw new UsageError(`${name} has no field "${unknown}", but ${known.join(', ')}`);
}

function listOf(fields: JsonObject, name: string): readonly Json[] {
  const value = fields[name];
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrong(`"${name}"`, 'a list');
  return value as readonly Json[];
}

function bytesOf(
  fields: JsonObject,
  name: string,
  encodingName: string,
  place: string,
): string | Uint8Array {
  const value = fields[name];
  const encoding = fields[encodingName] ?? 'utf8';
  if (typeof value !== 'string') throw wrong(`${place}.${name}`, 'text');
  if (encoding === 'utf8') return value;
  if (encoding !== 'base64') throw wrong(`${place}.${encodingName}`, 'utf8 or base64');
  const bytes = Buffer.from(value, 'base64');
  if (bytes.toString('base64') === value) return bytes;
  throw wrong(`${place}.${name}`, 'base64');
}

function wrong(name: string, wanted: string): UsageError {
  return new UsageError(`${name} must be ${wanted}`);
}
