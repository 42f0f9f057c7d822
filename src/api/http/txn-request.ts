/** The body of POST /txn: every refusal says which operation or compare of which list it means. */
import type {Buffer} from 'node:buffer';
import {limits} from '../../base/limits.ts';
import type {Compare, CompareOperator, CompareTarget, Operation} from '../../kv/command.ts';
import type {Transaction} from '../../kv/command.ts';
import {validateTransaction} from '../../kv/transaction-validation.ts';
import {
  bytesField,
  checkKey,
  checkValue,
  innerObject,
  integerField,
  invalidField,
  listField,
  requestObject,
  textField,
} from './json-fields.ts';
import {parseJson, type JsonObject, type JsonValue} from './json-parser.ts';
import {fieldSet, type JsonSchema} from './json-schema.ts';
import {isLeaseId, leaseIdOf, lifetimeFields} from './lease-fields.ts';
import {readPlainTransaction} from './plain-transaction.ts';
import {encodingSchema, keyOnlyFields, keySchema, putFields} from './put-fields.ts';

const operators: ReadonlySet<string> = new Set<CompareOperator>(['=', '!=', '<', '>']);
const targets = ['value', 'version', 'createRevision', 'modRevision', 'lease'] as const;

const compareFields = fieldSet({
  required: {
    key: keySchema,
    target: {type: 'string', enum: targets},
    op: {type: 'string', enum: [...operators]},
    value: {
      type: ['string', 'integer'],
      description: 'Text for value, a number for version and revisions, an id or "0" for lease',
    },
  },
  optional: {keyEncoding: encodingSchema, encoding: encodingSchema},
});
const operationFields = fieldSet({
  optional: {put: putFields.schema, get: keyOnlyFields.schema, delete: keyOnlyFields.schema},
});

/** The body of POST /txn. */
export const transactionFields = fieldSet({
  optional: {
    compare: listOf(compareFields.schema),
    success: listOf({...operationFields.schema, minProperties: 1, maxProperties: 1}),
    failure: listOf({...operationFields.schema, minProperties: 1, maxProperties: 1}),
  },
});

function listOf(items: JsonSchema): JsonSchema {
  return {type: 'array', items, maxItems: limits.operationCountMax};
}

/** Throws INVALID_JSON, INVALID_REQUEST, DUPLICATE_KEY, and what keys, values and size ask for. */
export function readTransaction(body: Buffer): Transaction {
  const transaction = readPlainTransaction(body) ?? parseTransaction(body);
  const invalid = validateTransaction(transaction);
  if (invalid !== null) throw invalid;
  return transaction;
}

/** Of whatever form; not yet validated as a whole. */
export function parseTransaction(body: Buffer): Transaction {
  const fields = requestObject(parseJson(body), transactionFields.names);
  const items = (name: string): readonly JsonValue[] =>
    listField(fields, name, limits.operationCountMax);
  return {
    type: 'transaction',
    compare: items('compare').map((item, i) => readCompare(item, `compare[${i}]`)),
    success: items('success').map((item, i) => readOperation(item, `success[${i}]`)),
    failure: items('failure').map((item, i) => readOperation(item, `failure[${i}]`)),
  };
}

function readCompare(item: JsonValue, name: string): Compare {
  const fields = innerObject(item, compareFields.names, name);
  const path = `${name}.`;
  const key = readKey(fields, path);
  const operator = textField(fields, 'op', path);
  if (!isOperator(operator)) throw invalidField(`${path}op`, 'must be one of = != < >');
  return {keys: {key}, operator, target: readTarget(fields, path)};
}

function readTarget(fields: JsonObject, path: string): CompareTarget {
  const type = textField(fields, 'target', path);
  if (type === 'value') {
    const value = bytesField(fields, 'value', 'encoding', path);
    checkValue(value, `${path}value`);
    return {type, value};
  }
  if (fields.has('encoding')) {
    throw invalidField(`${path}encoding`, 'belongs to the target "value" only');
  }
  switch (type) {
    case 'version':
    case 'createRevision':
    case 'modRevision':
      return {type, value: integerField(fields, 'value', 0, path)};
    case 'lease':
      return {type, value: readLease(fields, path)};
    default:
      throw invalidField(`${path}target`, `must be one of ${targets.join(', ')}`);
  }
}

/** An id as everywhere, a decimal string; "0", or the number, for no lease. */
function readLease(fields: JsonObject, path: string): number {
  const value = fields.get('value');
  if (value === 0 || value === '0') return 0;
  if (typeof value === 'string' && isLeaseId(value)) return leaseIdOf(value);
  throw invalidField(`${path}value`, 'must be the id of a lease, a decimal string, or "0"');
}

function readOperation(item: JsonValue, name: string): Operation {
  const fields = innerObject(item, operationFields.names, name);
  const [[type, value] = ['', undefined], ...others] = fields;
  if (others.length > 0 || value === undefined) {
    throw invalidField(name, 'must have exactly one of put, get and delete');
  }
  const path = `${name}.${type}.`;
  switch (type) {
    case 'put':
      return readPut(innerObject(value, putFields.names, `${name}.put`), path);
    case 'get':
      return {type, key: readKey(innerObject(value, keyOnlyFields.names, `${name}.get`), path)};
    default: {
      const key = readKey(innerObject(value, keyOnlyFields.names, `${name}.delete`), path);
      return {type: 'delete', key, wantsPrevious: false};
    }
  }
}

function readPut(fields: JsonObject, path: string): Operation {
  const key = readKey(fields, path);
  const value = bytesField(fields, 'value', 'encoding', path);
  checkValue(value, `${path}value`);
  return {
    type: 'put',
    key,
    value,
    ...lifetimeFields(fields, path),
    ignoreValue: false,
    ignoreLease: false,
    wantsPrevious: false,
  };
}

function readKey(fields: JsonObject, path: string): Buffer {
  const key = bytesField(fields, 'key', 'keyEncoding', path);
  checkKey(key, `${path}key`);
  return key;
}

function isOperator(text: string): text is CompareOperator {
  return operators.has(text);
}
