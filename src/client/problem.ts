/** The server's problem documents, and what each code means for sending a request again. */
import {errorTable, isErrorCode, type ErrorCode, type Outcome} from '../base/errors.ts';
import {ClientError, type ClientErrorCode} from './client-error.ts';
import type {HttpAnswer} from './http-sender.ts';
import {asObject, type Json} from './record.ts';

export interface Problem {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly outcome: Outcome;
}

/** Null: no node of Rosetta wrote this. */
export function readProblem(answer: HttpAnswer): Problem | null {
  try {
    const fields = asObject(JSON.parse(answer.body) as Json, 'the answer');
    const {code, detail, outcome} = fields;
    if (typeof code !== 'string' || !isErrorCode(code)) return null;
    if (errorTable[code].status !== answer.status) return null;
    return {
      code,
      detail: typeof detail === 'string' ? detail : errorTable[code].title,
      outcome: outcome === 'definite' ? 'definite' : 'unknown',
    };
  } catch {
    return null;
  }
}

/**
 * How a request that failed so goes on. `elsewhere`: this node cannot, another may. `later`: the
 * cluster cannot at the moment. `never`: sending it again gives the same answer.
 */
export type Remedy = 'elsewhere' | 'later' | 'never';

const remedies: Partial<Record<ErrorCode, Remedy>> = {
  NO_LEADER: 'elsewhere',
  STARTING: 'elsewhere',
  STOPPING: 'elsewhere',
  DIVERGED: 'elsewhere',
  READ_TIMEOUT: 'elsewhere',
  OUTCOME_UNKNOWN: 'elsewhere',
  INTERNAL: 'elsewhere',
  REQUEST_TIMEOUT: 'elsewhere',
  OVERLOADED: 'later',
  STORAGE_FULL: 'later',
};

export function remedyFor(code: ErrorCode): Remedy {
  return remedies[code] ?? 'never';
}

/** Whether what ended with this code for lack of time may go well later. */
export function mayPass(code: ClientErrorCode): boolean {
  if (code === 'NO_ENDPOINT' || code === 'UNEXPECTED_ANSWER') return true;
  return isErrorCode(code) && remedyFor(code) !== 'never';
}

/**
 * Refusals that the state machine decides: with an idempotency key they are the committed answer
 * of the write, whatever became of earlier attempts.
 */
const committedRefusals: ReadonlySet<ErrorCode> = new Set([
  'PRECONDITION_FAILED',
  'TOO_MANY_KEYS',
  'LEASE_NOT_FOUND',
  'REVISION_IN_FUTURE',
]);

export function isCommittedRefusal(code: ErrorCode): boolean {
  return committedRefusals.has(code);
}

export function unexpectedAnswer(answer: HttpAnswer, endpoint: string): ClientError {
  return new ClientError(
    'UNEXPECTED_ANSWER',
    `${endpoint} answered with status ${answer.status} and without a code of Rosetta`,
    {outcome: 'unknown', status: answer.status, endpoint},
  );
}
