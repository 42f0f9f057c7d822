/**
 * The one table of operating errors. Every front door maps its answers from here, and
 * docs/http-api.md lists the same rows (a test compares them).
 *
 * `outcome` is the promise made to the client: `definite` means the request changed nothing and
 * may be sent again freely; `unknown` means a write may or may not have happened.
 */

export type Outcome = 'definite' | 'unknown';

interface ErrorRow {
  readonly status: number;
  readonly outcome: Outcome;
  readonly title: string;
}

const table = {
  BAD_PERCENT_ENCODING: row(400, 'definite', 'The path or query has a malformed % sequence'),
  INVALID_TARGET: row(400, 'definite', 'The request target is not a plain ASCII path'),
  INVALID_HOST: row(400, 'definite', 'The request must have exactly one Host header'),
  KEY_EMPTY: row(400, 'definite', 'A key has at least one byte'),
  KEY_TOO_LONG: row(400, 'definite', 'A key has at most 1024 bytes'),
  INVALID_REQUEST: row(400, 'definite', 'The request is malformed'),
  INVALID_JSON: row(400, 'definite', 'The body is not valid JSON'),
  INVALID_PARAMETER: row(400, 'definite', 'A query parameter or header has an invalid value'),
  INVALID_CURSOR: row(400, 'definite', 'The cursor is malformed or belongs to another range'),
  RANGE_REQUIRED: row(400, 'definite', 'Say which keys: prefix, or start and end'),
  DUPLICATE_KEY: row(400, 'definite', 'A transaction writes each key at most once'),
  REVISION_IN_FUTURE: row(400, 'definite', 'The revision has not happened yet'),
  CROSS_ORIGIN: row(403, 'definite', 'Writes from another origin are not allowed'),
  ROUTE_NOT_FOUND: row(404, 'definite', 'There is no such route'),
  KEY_NOT_FOUND: row(404, 'definite', 'There is no such key'),
  LEASE_NOT_FOUND: row(404, 'definite', 'There is no such lease'),
  MEMBER_NOT_FOUND: row(404, 'definite', 'There is no such member'),
  METHOD_NOT_ALLOWED: row(405, 'definite', 'The route does not know this method'),
  REQUEST_TIMEOUT: row(408, 'definite', 'The request did not arrive in time'),
  LEASE_EXISTS: row(409, 'definite', 'Another lease has this id'),
  SESSION_EXPIRED: row(409, 'definite', 'The session is unknown or has expired'),
  MEMBER_EXISTS: row(409, 'definite', 'The id belongs to a member already'),
  ADDRESS_IN_USE: row(409, 'definite', 'The address belongs to another member'),
  WRONG_CLUSTER: row(409, 'definite', 'The node belongs to another cluster'),
  WRONG_NODE: row(409, 'definite', 'Another node answers at the address'),
  CHANGE_PENDING: row(409, 'definite', 'Another change of the membership is under way'),
  LAST_VOTER: row(409, 'definite', 'The last voter cannot be removed'),
  QUORUM_AT_RISK: row(409, 'definite', 'The voters that remain could not elect a leader'),
  TOO_MANY_MEMBERS: row(409, 'definite', 'A cluster has at most 7 members'),
  NOT_A_VOTER: row(409, 'definite', 'A learner cannot lead'),
  MEMBER_UNREACHABLE: row(409, 'definite', 'The member cannot be reached'),
  REVISION_COMPACTED: row(410, 'definite', 'The revision has been compacted away'),
  PRECONDITION_FAILED: row(412, 'definite', 'The condition of the request does not hold'),
  BODY_TOO_LARGE: row(413, 'definite', 'The request body is too large'),
  VALUE_TOO_LARGE: row(413, 'definite', 'A value has at most 1,572,864 bytes'),
  COMMAND_TOO_LARGE: row(413, 'definite', 'One command has at most 4 MiB'),
  EXPECTATION_FAILED: row(417, 'definite', 'Only Expect: 100-continue is understood'),
  TOO_MANY_KEYS: row(422, 'definite', 'More keys than a command or a lease may have'),
  IDEMPOTENCY_KEY_REUSED: row(422, 'definite', 'The idempotency key was used for another request'),
  OVERLOADED: row(429, 'definite', 'The node has more work than it accepts at once'),
  WATCH_TOO_SLOW: row(429, 'definite', 'The watcher does not keep up with its events'),
  HEADERS_TOO_LARGE: row(431, 'definite', 'The request headers are too large'),
  BACKUP_FAILED: row(500, 'definite', 'The node could not make a copy of its state'),
  INTERNAL: row(500, 'unknown', 'The node failed while it worked on the request'),
  NO_LEADER: row(503, 'definite', 'There is no leader at the moment'),
  TRANSFER_FAILED: row(503, 'unknown', 'The member did not take over in time'),
  STARTING: row(503, 'definite', 'The node is starting'),
  STOPPING: row(503, 'definite', 'The node is stopping'),
  DIVERGED: row(503, 'definite', 'This replica differs from the majority and does not serve'),
  READ_TIMEOUT: row(504, 'definite', 'The read could not be confirmed in time'),
  OUTCOME_UNKNOWN: row(504, 'unknown', 'The write may or may not have happened'),
  STORAGE_FULL: row(507, 'definite', 'The disk of the leader is full'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof table;

export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table;

/** Whether `value` is a code of the table; used where codes arrive over the wire. */
export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(table, value);
}

/**
 * An operating error: bad input, no leader, no space. Carries one code of the table and a sentence
 * that says what happened and what to do.
 */
export class RosettaError extends Error {
  override readonly name = 'RosettaError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.code = code;
  }

  get outcome(): Outcome {
    return table[this.code].outcome;
  }
}

function row(status: number, outcome: Outcome, title: string): ErrorRow {
  return {status, outcome, title};
}
