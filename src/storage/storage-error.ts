/**
 * What storage cannot go on with: a file that is damaged, missing, in use or not accessible. The
 * message is one line that names the thing and says what to do; nobody retries.
 */
import {getSystemErrorName} from 'node:util';

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

export function damagedBatchError(path: string, offset: number): WalCorruptionError {
  return new WalCorruptionError('a batch that was durable is not valid', {path, offset});
}

export const freeSpaceAdvice = 'free some space on its disk and start again';

/** The reason why a file cannot be written, if the system gave one; any other error as it is. */
export function cannotWriteError(file: string, error: unknown): unknown {
  if (error instanceof StorageError || systemErrorCode(error) === null) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageError(`${file} cannot be written (${reason})`, {
    path: file,
    advice: isOutOfSpace(error)
      ? freeSpaceAdvice
      : 'check its disk and its permissions, then start again',
    cause: error,
  });
}

/**
 * `ENOSPC`, `EACCES` and so on when the system refused something; null for any other error. LMDB
 * gives a number, a negative one for errors of its own. A StorageError may tell of such an error.
 */
export function systemErrorCode(error: unknown): string | null {
  if (error instanceof StorageError) return systemErrorCode(error.cause);
  if (!(error instanceof Error) || !('code' in error)) return null;
  const {code} = error;
  if (typeof code === 'number') return code > 0 ? getSystemErrorName(-code) : null;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : null;
}

/** Whether waiting may help: no space, no quota, no file descriptor. */
export function isOutOfSpace(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EMFILE' || code === 'ENFILE';
}

/** Whether it came from fsync or fdatasync: what is on the disk is not known any more. */
export function isFailedSync(error: unknown): boolean {
  if (error instanceof StorageError) return isFailedSync(error.cause);
  if (!(error instanceof Error) || !('syscall' in error)) return false;
  return error.syscall === 'fsync' || error.syscall === 'fdatasync';
}
