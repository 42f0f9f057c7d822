/** POST /lease and everything under /lease/{id}. */
import {assert, must} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {encodeCommand} from '../../kv/command-codec.ts';
import type {LeaseReader} from '../../kv/state-reader.ts';
import type {CommandResult} from '../../kv/result.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey} from './idempotency-header.ts';
import {invalidField, requestObject} from './json-fields.ts';
import {parseJson} from './json-parser.ts';
import {deletedJson, propose} from './kv-routes.ts';
import {isLeaseId, leaseIdOf, ttlField} from './lease-fields.ts';
import {invalidParameter} from './query-parameters.ts';
import {keyText} from './record-json.ts';
import {awaitEnd, readBody} from './request-body.ts';

const writeParameters = new Set(['timeout']);
const readParameters = new Set(['timeout', 'consistency']);
const listParameters = new Set(['limit', 'after', 'timeout', 'consistency']);
const grantFields = new Set(['ttl', 'id']);
const grantBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;
const keysPerSlice = 256;

export function handleGrantLease(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(writeParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  readBody(exchange, grantBodyLimit, body => {
    const fields = requestObject(parseJson(body), grantFields);
    const ttlMs = ttlField(fields, '');
    const id = fields.get('id');
    if (id !== undefined && !(typeof id === 'string' && isGrantableId(id))) {
      throw invalidField('id', `must be a decimal string from 1 to ${leaseIdMax}`);
    }
    const command = {
      type: 'lease-grant',
      id: id === undefined ? 0 : leaseIdOf(id),
      ttlMs,
    } as const;
    propose(exchange, command, timeoutMs, answer => {
      assert(answer.type === 'lease', 'a grant was answered by %', answer.type);
      exchange.sendJson(200, `{${leaseFields(answer)}}`, answer.revision);
    });
  });
}

export function handleKeepLeaseAlive(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(writeParameters).timeoutMs();
  const id = pathId(exchange);
  refuseConditions(exchange.headers);
  awaitEnd(exchange, () => {
    query(exchange, {id, isKeepalive: true, timeoutMs}, answer => {
      exchange.sendJson(200, `{${leaseFields(answer)}}`, answer.revision);
    });
  });
}

export function handleGetLease(exchange: Exchange): void {
  const parameters = exchange.parameters(readParameters);
  const timeoutMs = parameters.timeoutMs();
  parameters.consistency();
  const id = pathId(exchange);
  query(exchange, {id, isKeepalive: false, timeoutMs}, answer => {
    // The leader has confirmed itself; what it answered from may not be applied here yet.
    const options = {consistency: 'linearizable', timeoutMs} as const;
    exchange.context.service.read(options, (error, reader) => {
      if (error !== null) exchange.fail(error);
      else readKeys(exchange, answer, must(reader, 'an error or a reader').leases, []);
    });
  });
}

export function handleListLeases(exchange: Exchange): void {
  const parameters = exchange.parameters(listParameters);
  const options = {consistency: parameters.consistency(), timeoutMs: parameters.timeoutMs()};
  const limitRange = {min: 1, max: limits.rangeLimitMax};
  const limit = parameters.integer('limit', limitRange) ?? limits.rangeLimitDefault;
  const after = parameters.text('after') ?? '0';
  if (after !== '0' && !isLeaseId(after))
    throw invalidParameter('after', 'must be the id of a lease');
  const look = (consistency: 'linearizable' | 'local'): void => {
    exchange.context.service.read({...options, consistency}, (error, reader) => {
      if (error !== null) {
        exchange.fail(error);
        return;
      }
      const state = must(reader, 'an error or a reader');
      const leases = state.leases.list(Math.min(leaseIdOf(after), idMax - 1), limit + 1);
      if (leases === null) {
        exchange.context.clock.afterPoll(() => look('local'));
        return;
      }
      const shown = leases.slice(0, limit).map(({id, ttlMs}) => `{${leaseFields({id, ttlMs})}}`);
      const text = `{"leases":[${shown.join(',')}],"more":${leases.length > limit}}`;
      exchange.sendJson(200, text, state.revision());
    });
  };
  look(options.consistency);
}

export function handleRevokeLease(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(writeParameters).timeoutMs();
  const id = pathId(exchange);
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  const command = {type: 'lease-revoke', leases: [{id, grant: 0}]} as const;
  awaitEnd(exchange, () => {
    propose(exchange, command, timeoutMs, answer => {
      assert(answer.type === 'lease-revoke', 'a revocation was answered by %', answer.type);
      exchange.sendJson(200, deletedJson(answer.deletedCount, answer.revision), answer.revision);
    });
  });
}

type LeaseResult = Extract<CommandResult, {type: 'lease'}>;

/** Asks the leader, which logs nothing: so it carries no idempotency key. */
function query(
  exchange: Exchange,
  asked: {readonly id: number; readonly isKeepalive: boolean; readonly timeoutMs: number},
  onResult: (answer: LeaseResult) => void,
): void {
  const {id, isKeepalive, timeoutMs} = asked;
  const body = {type: 'lease-query', id, isKeepalive} as const;
  const command = encodeCommand({idempotency: null, body});
  exchange.context.service.propose(command, {timeoutMs}, (error, result) => {
    if (error !== null) exchange.fail(error);
    else if (result?.type === 'lease') onResult(result);
    else {
      const refused = must(result, 'an error or a result');
      assert(refused.type === 'refused', 'a query was answered by %', refused.type);
      exchange.sendProblem(refused.code, refused.detail, refused.revision);
    }
  });
}

/** Slice by slice, with other work in between. */
function readKeys(
  exchange: Exchange,
  answer: LeaseResult,
  reader: LeaseReader,
  keys: Uint8Array[],
): void {
  if (exchange.isGone) return;
  const room = limits.leaseKeysShownMax + 1 - keys.length;
  const slice = reader.keys(answer.id, keys.at(-1) ?? null, Math.min(keysPerSlice, room));
  if (slice !== null) keys.push(...slice);
  if (slice === null || (slice.length === keysPerSlice && slice.length < room)) {
    exchange.context.clock.afterPoll(() => {
      const options = {consistency: 'local', timeoutMs: limits.requestTimeoutMsDefault} as const;
      exchange.context.service.read(options, (error, next) => {
        if (error !== null) exchange.fail(error);
        else readKeys(exchange, answer, must(next, 'an error or a reader').leases, keys);
      });
    });
    return;
  }
  const shown = keys.slice(0, limits.leaseKeysShownMax).map(keyText);
  const more = keys.length > shown.length ? ',"more":true' : '';
  const fields = `${leaseFields(answer)},"remaining":${answer.remainingMs / 1000}`;
  exchange.sendJson(200, `{${fields},"keys":[${shown.join(',')}]${more}}`, answer.revision);
}

function leaseFields({id, ttlMs}: {readonly id: number; readonly ttlMs: number}): string {
  return `"id":"${id}","ttl":${ttlMs / 1000}`;
}

/** A path that names no lease there could be. */
function pathId(exchange: Exchange): number {
  const {rest} = exchange;
  if (isLeaseId(rest)) return leaseIdOf(rest);
  throw new RosettaError('LEASE_NOT_FOUND', 'the id of a lease is a positive decimal number');
}

/** The largest id is kept free: it stands for those that are too large. */
const idMax = Number.MAX_SAFE_INTEGER;
const leaseIdMax = idMax - 1;

function isGrantableId(text: string): boolean {
  return isLeaseId(text) && Number(text) <= leaseIdMax;
}
