/** Sessions of the client library: POST /session, DELETE /session/{id}. */
import {randomBytes} from 'node:crypto';
import {assert} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {isSessionId} from '../../kv/idempotency-codec.ts';
import type {SessionCommand} from '../../kv/command.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {propose} from './kv-routes.ts';
import {proposalErrors, storeAnswer, type RouteOperation} from './route-operation.ts';
import {parameterSet, type Parameter} from './parameter.ts';
import {timeoutParameter} from './query-parameters.ts';
import {awaitEnd} from './request-body.ts';
import {percentDecode} from './request-target.ts';

const sessionParameters = parameterSet(timeoutParameter);
const sessionIdSizeBytes = 8;
/** What a session is promised: the log's time may run a tenth too fast. */
const sessionAgeSeconds = Math.floor((limits.sessionAgeMs * 10) / 11 / 1000);

export const sessionInPath: Parameter = {
  name: 'id',
  description: 'The id of the session',
  schema: {type: 'string'},
};

export const openSession: RouteOperation = {
  id: 'openSession',
  summary: 'Opens a session: its writes happen once, however late they are sent again',
  handle: handleOpenSession,
  parameters: sessionParameters,
  answers: [storeAnswer('Session', 'It lives so many seconds without a write')],
  errors: proposalErrors,
};

export const closeSession: RouteOperation = {
  id: 'closeSession',
  summary: 'Closes a session, known or not',
  handle: handleCloseSession,
  parameters: sessionParameters,
  answers: [storeAnswer('Empty', 'It is closed')],
  errors: [...proposalErrors, 'INVALID_REQUEST'],
};

function handleOpenSession(exchange: Exchange): void {
  const id = randomBytes(sessionIdSizeBytes).toString('hex');
  run(exchange, {type: 'session', action: 'open', id}, `{"id":"${id}","ttl":${sessionAgeSeconds}}`);
}

/** Also of a session that is not known: closing twice does no harm. */
function handleCloseSession(exchange: Exchange): void {
  const id = percentDecode(exchange.rest, {isQuery: false}).toString('latin1');
  if (!isSessionId(id)) throw new RosettaError('INVALID_REQUEST', 'this is no id of a session');
  run(exchange, {type: 'session', action: 'close', id}, '{}');
}

/** A key could only open the same session again: refused rather than ignored. */
function run(exchange: Exchange, body: SessionCommand, answerText: string): void {
  const timeoutMs = exchange.parameters(sessionParameters).timeoutMs();
  const {headers} = exchange;
  refuseConditions(headers);
  if (headers.idempotencyKey !== undefined) {
    throw new RosettaError('INVALID_PARAMETER', 'a session takes no Idempotency-Key');
  }
  awaitEnd(exchange, () => {
    propose(exchange, body, timeoutMs, answer => {
      assert(answer.type === 'session', 'a session command was answered by %', answer.type);
      exchange.sendJson(200, answerText, answer.revision);
    });
  });
}
