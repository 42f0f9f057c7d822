/** Many keys: GET /kv, DELETE /kv, and POST /compact. */
import {assert, must} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey, idempotencyHeaders} from './idempotency-header.ts';
import {integerField, requestObject} from './json-fields.ts';
import {parseJson} from './json-parser.ts';
import {fieldSet, integerSchema} from './json-schema.ts';
import {deletedJson, propose} from './kv-routes.ts';
import {
  idempotencyErrors,
  jsonBodyErrors,
  proposalErrors,
  readErrors,
  storeAnswer,
  type RouteOperation,
} from './route-operation.ts';
import {parameterSet} from './parameter.ts';
import {consistencyParameter, timeoutParameter} from './query-parameters.ts';
import {RangeReader} from './range-reader.ts';
import {keyRange, keyRangeParameters, rangeParameters, rangeRequest} from './range-request.ts';
import {awaitEnd, readBody} from './request-body.ts';

const readParameters = parameterSet(
  ...keyRangeParameters,
  ...rangeParameters,
  timeoutParameter,
  consistencyParameter,
);
const deleteParameters = parameterSet(...keyRangeParameters, timeoutParameter);
const compactParameters = parameterSet(timeoutParameter);
const compactFields = fieldSet({
  required: {revision: integerSchema(0, 'States before it are forgotten')},
});
const compactBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;

export const getRange: RouteOperation = {
  id: 'getRange',
  summary: 'Reads the records of a range, in byte order and of one moment; without one, all',
  handle: handleGetRange,
  parameters: readParameters,
  answers: [storeAnswer('Range', 'One page')],
  errors: [
    ...readErrors,
    'INVALID_CURSOR',
    'KEY_TOO_LONG',
    'REVISION_IN_FUTURE',
    'REVISION_COMPACTED',
  ],
};

export const deleteRange: RouteOperation = {
  id: 'deleteRange',
  summary: 'Deletes the keys of a range, at one revision',
  handle: handleDeleteRange,
  parameters: deleteParameters,
  headers: idempotencyHeaders,
  answers: [storeAnswer('DeleteResult', 'How many there were')],
  errors: [
    ...proposalErrors,
    ...idempotencyErrors,
    'RANGE_REQUIRED',
    'KEY_TOO_LONG',
    'TOO_MANY_KEYS',
  ],
};

export const compact: RouteOperation = {
  id: 'compact',
  summary: 'Forgets the states before a revision',
  handle: handleCompact,
  parameters: compactParameters,
  headers: idempotencyHeaders,
  body: compactFields,
  answers: [storeAnswer('CompactResult', 'What is compacted now')],
  errors: [...proposalErrors, ...idempotencyErrors, ...jsonBodyErrors, 'REVISION_IN_FUTURE'],
};

function handleGetRange(exchange: Exchange): void {
  const parameters = exchange.parameters(readParameters);
  const request = rangeRequest(parameters);
  const timeoutMs = parameters.timeoutMs();
  const consistency = parameters.consistency();
  new RangeReader(exchange, request, timeoutMs).start({consistency, timeoutMs});
}

function handleDeleteRange(exchange: Exchange): void {
  const parameters = exchange.parameters(deleteParameters);
  const timeoutMs = parameters.timeoutMs();
  const range = keyRange(parameters);
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  if (range === null) {
    throw new RosettaError('RANGE_REQUIRED', 'an empty prefix= deletes all keys');
  }
  const operation = {type: 'delete-range', range, wantsPrevious: false} as const;
  const body = {type: 'transaction', compare: [], success: [operation], failure: []} as const;
  awaitEnd(exchange, () => {
    propose(exchange, body, timeoutMs, answer => {
      assert(answer.type === 'transaction', 'a write was answered by %', answer.type);
      const result = must(answer.results[0], 'one operation has one result');
      assert(result.type === 'delete', 'a range delete was answered by %', result.type);
      exchange.sendJson(200, deletedJson(result.deletedCount, answer.revision), answer.revision);
    });
  });
}

function handleCompact(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(compactParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  readBody(exchange, compactBodyLimit, body => {
    const fields = requestObject(parseJson(body), compactFields.names);
    const revision = integerField(fields, 'revision', 0);
    propose(exchange, {type: 'compact', revision}, timeoutMs, answer => {
      assert(answer.type === 'compact', 'a compaction was answered by %', answer.type);
      const text = `{"compactedRevision":${answer.compactedRevision}}`;
      exchange.sendJson(200, text, answer.revision);
    });
  });
}
