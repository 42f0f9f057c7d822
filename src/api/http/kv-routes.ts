/**
 * One key: PUT /kv (JSON), PUT /kv/{key} (raw bytes), GET /kv/{key}, DELETE /kv/{key}. The hot
 * path of the server: one closure per request, no promise.
 */
import type {OutgoingHttpHeader} from 'node:http';
import {assert, must} from '../../base/assert.ts';
import {limits} from '../../base/limits.ts';
import type {CommandBody, Operation} from '../../kv/command.ts';
import type {CommandResult, KeyRecord, OperationResult} from '../../kv/result.ts';
import type {StateReader} from '../../kv/state-reader.ts';
import {wantsRawBytes} from './accept.ts';
import {
  entityTag,
  isMatch,
  isNotModified,
  rawEntityTag,
  readConditionHeaders,
  writeConditionHeaders,
  writeConditions,
} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey, encodeRequest, idempotencyHeaders} from './idempotency-header.ts';
import {bytesField, checkKey, checkValue, requestObject} from './json-fields.ts';
import {parseJson} from './json-parser.ts';
import {
  leaseParameter,
  lifetimeFields,
  lifetimeParameters,
  ttlParameter,
  type Lifetime,
} from './lease-fields.ts';
import {
  idempotencyErrors,
  jsonBodyErrors,
  keyErrors,
  proposalErrors,
  readErrors,
  storeAnswer,
  type RouteOperation,
} from './route-operation.ts';
import {parameterSet, type Parameter} from './parameter.ts';
import {readPlainPutBody, type PlainPutBody} from './plain-put-body.ts';
import {putFields} from './put-fields.ts';
import {consistencyParameter, revisionParameter, timeoutParameter} from './query-parameters.ts';
import {keyFields, putJson, recordJson} from './record-json.ts';
import {awaitEnd, readBody} from './request-body.ts';
import {percentDecode} from './request-target.ts';

const putJsonParameters = parameterSet(timeoutParameter);
const putRawParameters = parameterSet(ttlParameter, leaseParameter, timeoutParameter);
const deleteParameters = parameterSet(timeoutParameter);
const getParameters = parameterSet(revisionParameter, timeoutParameter, consistencyParameter);
const writeHeaders = [...writeConditionHeaders, ...idempotencyHeaders];
const writeErrors = [
  ...proposalErrors,
  ...idempotencyErrors,
  ...keyErrors,
  'PRECONDITION_FAILED',
] as const;

export const keyInPath: Parameter = {
  name: 'key',
  description: 'The rest of the path, percent-decoded once, slashes included: 1 to 1024 bytes',
  schema: {type: 'string', minLength: 1},
};

export const putJsonKey: RouteOperation = {
  id: 'putJson',
  summary: 'Sets a key, both in JSON',
  handle: handlePutJson,
  parameters: putJsonParameters,
  headers: writeHeaders,
  body: putFields,
  answers: [storeAnswer('PutResult', 'The key is set')],
  errors: [...writeErrors, ...jsonBodyErrors, 'VALUE_TOO_LARGE', 'LEASE_NOT_FOUND'],
};

export const putKey: RouteOperation = {
  id: 'putKey',
  summary: 'Sets a key to the bytes of the body',
  handle: handlePutRaw,
  parameters: putRawParameters,
  headers: writeHeaders,
  body: 'bytes',
  answers: [storeAnswer('PutResult', 'The key is set')],
  errors: [...writeErrors, 'VALUE_TOO_LARGE', 'LEASE_NOT_FOUND'],
};

export const deleteKey: RouteOperation = {
  id: 'deleteKey',
  summary: 'Deletes a key',
  handle: handleDeleteKey,
  parameters: deleteParameters,
  headers: writeHeaders,
  answers: [storeAnswer('DeleteResult', '1, or 0 when the key was absent')],
  errors: writeErrors,
};

export const getKey: RouteOperation = {
  id: 'getKey',
  summary: 'Reads a key; its raw bytes with Accept: application/octet-stream',
  handle: handleGetKey,
  parameters: getParameters,
  headers: readConditionHeaders,
  answers: [
    {
      status: 200,
      description: 'The record, or its value',
      headers: ['ETag', 'Rosetta-Revision', 'Content-Disposition'],
      content: {'application/json': 'Record', 'application/octet-stream': null},
    },
    {
      status: 304,
      description: 'It is what If-None-Match says',
      headers: ['ETag', 'Rosetta-Revision'],
      content: {},
    },
  ],
  errors: [
    ...readErrors,
    ...keyErrors,
    'KEY_NOT_FOUND',
    'PRECONDITION_FAILED',
    'REVISION_IN_FUTURE',
    'REVISION_COMPACTED',
  ],
};

export const jsonBodyLimit = {
  sizeBytesMax: limits.jsonBodySizeBytesMax,
  code: 'BODY_TOO_LARGE',
} as const;
const valueBodyLimit = {
  sizeBytesMax: limits.valueSizeBytesMax,
  code: 'VALUE_TOO_LARGE',
} as const;

function handlePutJson(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(putJsonParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  readBody(exchange, jsonBodyLimit, body => {
    const plain = readPlainPutBody(body);
    if (plain !== null) put(exchange, plain, noLifetime, timeoutMs);
    else putParsed(exchange, body, timeoutMs);
  });
}

function handlePutRaw(exchange: Exchange): void {
  const parameters = exchange.parameters(putRawParameters);
  const timeoutMs = parameters.timeoutMs();
  const key = pathKey(exchange);
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  const lifetime = lifetimeParameters(parameters);
  readBody(exchange, valueBodyLimit, value => put(exchange, {key, value}, lifetime, timeoutMs));
}

function handleDeleteKey(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(deleteParameters).timeoutMs();
  const key = pathKey(exchange);
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  const operation = {type: 'delete', key, wantsPrevious: false} as const;
  awaitEnd(exchange, () => {
    writeOne(exchange, key, operation, timeoutMs, (result, revision) => {
      assert(result.type === 'delete', 'a delete was answered by %', result.type);
      exchange.sendJson(200, deletedJson(result.deletedCount, revision), revision);
    });
  });
}

function handleGetKey(exchange: Exchange): void {
  const parameters = exchange.parameters(getParameters);
  const revision = parameters.integer(revisionParameter) ?? 0;
  const options = {consistency: parameters.consistency(), timeoutMs: parameters.timeoutMs()};
  const key = pathKey(exchange);
  exchange.context.service.read(options, (error, reader) => {
    if (error !== null) {
      exchange.fail(error);
      return;
    }
    answerRead(exchange, must(reader, 'a read has an error or a reader'), key, revision);
  });
}

/** Proposes `body`, and hands its result to `onResult` unless it was refused. */
export function propose(
  exchange: Exchange,
  body: CommandBody,
  timeoutMs: number,
  onResult: (result: Exclude<CommandResult, {type: 'refused'}>) => void,
): void {
  const command = encodeRequest(exchange, body);
  exchange.context.service.propose(command, {timeoutMs}, (error, result) => {
    if (error !== null) {
      exchange.fail(error);
      return;
    }
    const answer = must(result, 'a proposal has an error or a result');
    if (answer.type === 'refused') {
      exchange.sendProblem(answer.code, answer.detail, answer.revision);
      return;
    }
    onResult(answer);
  });
}

export function deletedJson(deletedCount: number, revision: number): string {
  return `{"deleted":${deletedCount},"revision":${revision}}`;
}

function putParsed(exchange: Exchange, body: Buffer, timeoutMs: number): void {
  const fields = requestObject(parseJson(body), putFields.names);
  const key = bytesField(fields, 'key', 'keyEncoding');
  checkKey(key);
  const value = bytesField(fields, 'value', 'encoding');
  checkValue(value);
  put(exchange, {key, value}, lifetimeFields(fields, ''), timeoutMs);
}

const noLifetime: Lifetime = {leaseId: 0, ttlMs: 0};

function put(
  exchange: Exchange,
  {key, value}: PlainPutBody,
  {leaseId, ttlMs}: Lifetime,
  timeoutMs: number,
): void {
  const operation = {
    type: 'put',
    key,
    value,
    leaseId,
    ttlMs,
    ignoreValue: false,
    ignoreLease: false,
    wantsPrevious: false,
  } as const;
  // The key itself may be a view of the body, which nobody keeps until the answer.
  const named = keyFields(key);
  writeOne(exchange, key, operation, timeoutMs, (result, revision) => {
    assert(result.type === 'put', 'a put was answered by %', result.type);
    exchange.sendJson(200, putJson(named, revision, result.version), revision);
  });
}

/** One operation on one key under the conditions of the request; 412 when they do not hold. */
function writeOne(
  exchange: Exchange,
  key: Buffer,
  operation: Operation,
  timeoutMs: number,
  onResult: (result: OperationResult, revision: number) => void,
): void {
  const compare = writeConditions(exchange.headers, key);
  const body = {type: 'transaction', compare, success: [operation], failure: []} as const;
  propose(exchange, body, timeoutMs, answer => {
    assert(answer.type === 'transaction', 'a write was answered by %', answer.type);
    if (!answer.succeeded) {
      const detail = 'the key is not in the state that the condition asks for';
      exchange.sendProblem('PRECONDITION_FAILED', detail, answer.revision);
      return;
    }
    onResult(must(answer.results[0], 'one operation has one result'), answer.revision);
  });
}

function answerRead(
  exchange: Exchange,
  reader: StateReader,
  key: Uint8Array,
  revision: number,
): void {
  const current = reader.revision();
  try {
    const record = reader.get(key, revision);
    answerRecord(exchange, record, revision === 0 ? current : revision);
  } catch (error) {
    exchange.fail(error, current);
  }
}

function answerRecord(exchange: Exchange, record: KeyRecord | null, revision: number): void {
  const {headers} = exchange;
  if (record === null) {
    exchange.sendProblem('KEY_NOT_FOUND', 'the key does not exist', revision);
    return;
  }
  if (!isMatch(headers.ifMatch, record.modRevision)) {
    const detail = `the key has the entity tag ${entityTag(record.modRevision)}`;
    exchange.sendProblem('PRECONDITION_FAILED', detail, revision);
    return;
  }
  const isRaw = wantsRawBytes(headers.accept);
  const tag = isRaw ? rawEntityTag(record.modRevision) : entityTag(record.modRevision);
  if (isNotModified(headers.ifNoneMatch, record.modRevision)) {
    exchange.sendEmpty(304, revision, ['ETag', tag]);
  } else if (isRaw) {
    exchange.sendBytes('application/octet-stream', record.value, revision, rawHeaders(tag));
  } else {
    exchange.sendJson(200, recordJson(record, {keysOnly: false}), revision, ['ETag', tag]);
  }
}

/** Stored bytes are a stranger's: no browser may run them as a page of this origin. */
function rawHeaders(tag: string): readonly OutgoingHttpHeader[] {
  return [
    'ETag',
    tag,
    'Content-Disposition',
    'attachment',
    'Content-Security-Policy',
    "default-src 'none'",
  ];
}

function pathKey(exchange: Exchange): Buffer {
  const key = percentDecode(exchange.rest, {isQuery: false});
  checkKey(key);
  return key;
}
