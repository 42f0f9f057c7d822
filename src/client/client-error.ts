/**
 * What a client's promises reject with. Codes of the server come from the one table in
 * base/errors.ts; the few below are the client's own. `outcome` tells of all attempts together:
 * `unknown` as soon as one of them may have written and nothing later settled it.
 */
import type {ErrorCode, Outcome} from '../base/errors.ts';

/** The client's own codes; docs/client.md lists the same rows (a test compares them). */
export const ownErrorTitles = {
  NO_ENDPOINT: 'No endpoint could be reached',
  ABORTED: 'The AbortSignal of the call fired',
  CLIENT_CLOSED: 'The client was closed',
  INVALID_ARGUMENT: 'The call was made with an argument that no server would take',
  UNEXPECTED_ANSWER: 'The answer did not come from a Rosetta node',
  LOCK_HELD: 'The lock or the leadership was not free in time',
  LEASE_LOST: 'The lease may have expired, and with it whatever it kept',
} as const;

export type OwnErrorCode = keyof typeof ownErrorTitles;
export type ClientErrorCode = ErrorCode | OwnErrorCode;

export interface ClientErrorFields {
  /** `definite`: nothing was written and nothing will be; `unknown`: a write may have happened. */
  readonly outcome: Outcome;
  /** HTTP status of the last answer; null when there was none. */
  readonly status: number | null;
  /** Where the last attempt went, such as `http://localhost:9080`; null: nowhere. */
  readonly endpoint: string | null;
}

/** The one class of errors; `code` says which, and `isClientError` narrows to it. */
export class ClientError<Code extends ClientErrorCode = ClientErrorCode> extends Error {
  override readonly name = 'ClientError';
  readonly code: Code;
  readonly outcome: Outcome;
  readonly status: number | null;
  readonly endpoint: string | null;
  /** What happened and what to do, in a sentence. */
  readonly detail: string;

  constructor(
    code: Code,
    detail: string,
    fields: Partial<ClientErrorFields> & {readonly cause?: unknown} = {},
  ) {
    super(`${code}: ${detail}`, fields.cause === undefined ? undefined : {cause: fields.cause});
    this.code = code;
    this.detail = detail;
    this.outcome = fields.outcome ?? 'definite';
    this.status = fields.status ?? null;
    this.endpoint = fields.endpoint ?? null;
  }
}

/**
 * Whether `error` is a ClientError, with one of `codes` if any are given:
 * `if (isClientError(error, 'PRECONDITION_FAILED')) …`.
 */
export function isClientError<Code extends ClientErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is ClientError<Code> {
  if (!(error instanceof ClientError)) return false;
  return codes.length === 0 || codes.some(code => code === error.code);
}

export function invalidArgument(detail: string): ClientError<'INVALID_ARGUMENT'> {
  return new ClientError('INVALID_ARGUMENT', detail);
}
