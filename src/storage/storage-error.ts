/**
 * What storage cannot go on with: a file that is damaged, missing, in use or not accessible. The
 * message is one line that names the thing and says what to do; nobody retries.
 */
export class StorageError extends Error {
  override readonly name: string = 'StorageError';
  readonly path: string;
  /** Byte position in `path`; undefined when the whole file is meant. */
  readonly offset: number | undefined;
  /** What the operator can do, one sentence. */
  readonly advice: string;

  constructor(
    problem: string,
    fields: {
      readonly path: string;
      readonly offset?: number | undefined;
      readonly advice: string;
      readonly cause?: unknown;
    },
  ) {
    super(`${problem}: ${fields.advice}`, {cause: fields.cause});
    this.path = fields.path;
    this.offset = fields.offset;
    this.advice = fields.advice;
  }
}

/** Durable bytes of the log are damaged: continuing could forget what this node promised. */
export class WalCorruptionError extends StorageError {
  override readonly name = 'WalCorruptionError';

  constructor(problem: string, fields: {readonly path: string; readonly offset: number}) {
    super(`${fields.path} is damaged at byte ${fields.offset} (${problem})`, {
      ...fields,
      advice:
        'in a cluster, move the data directory away and start this node with -rejoin; ' +
        'a single node must restore a backup',
    });
  }
}

/** The `code` of a Node system error, or null. */
export function systemErrorCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** Whether waiting may help: no space, no quota, no file descriptor. */
export function isOutOfSpace(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EMFILE' || code === 'ENFILE';
}
