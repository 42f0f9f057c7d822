/** Many keys: GET /kv, DELETE /kv, and POST /compact. */
import {assert, must} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey} from './idempotency-header.ts';
import {integerField, requestObject} from './json-fields.ts';
import {parseJson} from './json-parser.ts';
import {deletedJson, propose} from './kv-routes.ts';
import {RangeReader} from './range-reader.ts';
import {keyRange, rangeRequest} from './range-request.ts';
import {awaitEnd, readBody} from './request-body.ts';

const readParameters = new Set([
  'prefix',
  'start',
  'end',
  'limit',
  'reverse',
  'keysOnly',
  'countOnly',
  'cursor',
  'revision',
  'timeout',
  'consistency',
]);
const deleteParameters = new Set(['prefix', 'start', 'end', 'timeout']);
const compactParameters = new Set(['timeout']);
const compactFields = new Set(['revision']);
const compactBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;

export function handleGetRange(exchange: Exchange): void {
  const parameters = exchange.parameters(readParameters);
  const request = rangeRequest(parameters);
  const timeoutMs = parameters.timeoutMs();
  const consistency = parameters.consistency();
  new RangeReader(exchange, request, timeoutMs).start({consistency, timeoutMs});
}

export function handleDeleteRange(exchange: Exchange): void {
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

export function handleCompact(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(compactParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  readBody(exchange, compactBodyLimit, body => {
    const fields = requestObject(parseJson(body), compactFields);
    const revision = integerField(fields, 'revision', 0);
    propose(exchange, {type: 'compact', revision}, timeoutMs, answer => {
      assert(answer.type === 'compact', 'a compaction was answered by %', answer.type);
      const text = `{"compactedRevision":${answer.compactedRevision}}`;
      exchange.sendJson(200, text, answer.revision);
    });
  });
}
