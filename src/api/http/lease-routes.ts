/** POST /lease and everything under /lease/{id}. */
import {assert, must} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {encodeCommand} from '../../kv/command-codec.ts';
import type {LeaseReader} from '../../kv/state-reader.ts';
import type {CommandResult} from '../../kv/result.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey, idempotencyHeaders} from './idempotency-header.ts';
import {invalidField, requestObject} from './json-fields.ts';
import {parseJson} from './json-parser.ts';
import {fieldSet} from './json-schema.ts';
import {deletedJson, propose} from './kv-routes.ts';
import {isLeaseId, leaseIdOf, leaseIdSchema, ttlField, ttlSchema} from './lease-fields.ts';
import {
  idempotencyErrors,
  jsonBodyErrors,
  proposalErrors,
  readErrors,
  storeAnswer,
  type RouteOperation,
} from './route-operation.ts';
import {integerParameter, parameterSet, type Parameter} from './parameter.ts';
import {consistencyParameter, invalidParameter, timeoutParameter} from './query-parameters.ts';
import {rangeLimit} from './range-request.ts';
import {keyText} from './record-json.ts';
import {awaitEnd, readBody} from './request-body.ts';

const writeParameters = parameterSet(timeoutParameter);
const readParameters = parameterSet(timeoutParameter, consistencyParameter);
const limitParameter = integerParameter('limit', 'Leases in one answer, at most', rangeLimit);
const afterParameter: Parameter = {
  name: 'after',
  description: 'Leases with a larger id than this one; 0 for all',
  schema: {type: 'string', pattern: '^(0|[1-9][0-9]{0,18})$', default: '0'},
};
const listParameters = parameterSet(
  limitParameter,
  afterParameter,
  timeoutParameter,
  consistencyParameter,
);
const grantFields = fieldSet({
  required: {ttl: ttlSchema},
  optional: {
    id: {...leaseIdSchema, description: 'A free id from 1 to 9007199254740990; default: any'},
  },
});

export const leaseInPath: Parameter = {
  name: 'id',
  description: 'The id of the lease',
  schema: leaseIdSchema,
};

export const grantLease: RouteOperation = {
  id: 'grantLease',
  summary: 'Makes a lease, for any number of keys',
  handle: handleGrantLease,
  parameters: writeParameters,
  headers: idempotencyHeaders,
  body: grantFields,
  answers: [storeAnswer('Lease', 'The lease')],
  errors: [...proposalErrors, ...idempotencyErrors, ...jsonBodyErrors, 'LEASE_EXISTS'],
};

export const keepLeaseAlive: RouteOperation = {
  id: 'keepLeaseAlive',
  summary: 'Gives a lease its full time anew',
  handle: handleKeepLeaseAlive,
  parameters: writeParameters,
  answers: [storeAnswer('Lease', 'The lease')],
  errors: [...proposalErrors, 'LEASE_NOT_FOUND'],
};

export const getLease: RouteOperation = {
  id: 'getLease',
  summary: 'Reads a lease, with the time it has left and its keys',
  handle: handleGetLease,
  parameters: readParameters,
  answers: [storeAnswer('LeaseDetail', 'The lease')],
  errors: [...readErrors, 'OUTCOME_UNKNOWN', 'LEASE_NOT_FOUND'],
};

export const listLeases: RouteOperation = {
  id: 'listLeases',
  summary: 'Lists leases by id',
  handle: handleListLeases,
  parameters: listParameters,
  answers: [storeAnswer('LeaseList', 'One page')],
  errors: readErrors,
};

export const revokeLease: RouteOperation = {
  id: 'revokeLease',
  summary: 'Ends a lease; its keys go, at one revision',
  handle: handleRevokeLease,
  parameters: writeParameters,
  headers: idempotencyHeaders,
  answers: [storeAnswer('DeleteResult', 'How many keys went')],
  errors: [...proposalErrors, ...idempotencyErrors, 'LEASE_NOT_FOUND'],
};

const grantBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;
const keysPerSlice = 256;

function handleGrantLease(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(writeParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  readBody(exchange, grantBodyLimit, body => {
    const fields = requestObject(parseJson(body), grantFields.names);
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

function handleKeepLeaseAlive(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(writeParameters).timeoutMs();
  const id = pathId(exchange);
  refuseConditions(exchange.headers);
  awaitEnd(exchange, () => {
    query(exchange, {id, isKeepalive: true, timeoutMs}, answer => {
      exchange.sendJson(200, `{${leaseFields(answer)}}`, answer.revision);
    });
  });
}

function handleGetLease(exchange: Exchange): void {
  const parameters = exchange.parameters(readParameters);
  const timeoutMs = parameters.timeoutMs();
  parameters.consistency();
  const id = pathId(exchange);
  query(exchange, {id, isKeepalive: false, timeoutMs}, answer => {
    // The leader has confirmed itself; what it answered from may not be applied here yet.
    const options = {consistency: 'linearizable', timeoutMs} as const;
    exchange.context.service.read(options, (error, reader) => {
      if (error !== null) exchange.fail(error);
      else {
        const nothing = {keys: [], grant: null};
        readKeys(exchange, answer, must(reader, 'an error or a reader').leases, nothing);
      }
    });
  });
}

function handleListLeases(exchange: Exchange): void {
  const parameters = exchange.parameters(listParameters);
  const options = {consistency: parameters.consistency(), timeoutMs: parameters.timeoutMs()};
  const limit = parameters.integer(limitParameter) ?? limits.rangeLimitDefault;
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

function handleRevokeLease(exchange: Exchange): void {
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
  {keys, grant}: {readonly keys: Uint8Array[]; readonly grant: number | null},
): void {
  if (exchange.isGone) return;
  const room = limits.leaseKeysShownMax + 1 - keys.length;
  const slice = reader.keys(answer.id, keys.at(-1) ?? null, Math.min(keysPerSlice, room));
  if (slice !== null) keys.push(...slice);
  const lease = reader.get(answer.id);
  // Null: a command that may end it is only half done.
  if (slice !== null && (lease === null || lease.grant !== (grant ?? lease.grant))) {
    const detail = `There is no lease ${answer.id} any more.`;
    exchange.fail(new RosettaError('LEASE_NOT_FOUND', detail));
    return;
  }
  if (slice === null || (slice.length === keysPerSlice && slice.length < room)) {
    exchange.context.clock.afterPoll(() => {
      const options = {consistency: 'local', timeoutMs: limits.requestTimeoutMsDefault} as const;
      exchange.context.service.read(options, (error, next) => {
        if (error !== null) exchange.fail(error);
        else {
          const read = {keys, grant: grant ?? lease?.grant ?? null};
          readKeys(exchange, answer, must(next, 'an error or a reader').leases, read);
        }
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
