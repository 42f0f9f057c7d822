/**
 * How an environment of the checkpoint is opened: nothing is taken for damaged that may be the
 * system's fault, and no file is given to LMDB that would kill the process.
 */
import fs from 'node:fs';
import path from 'node:path';
import {noIndex, noTerm} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {CheckpointDirectory} from './checkpoint-directory.ts';
import {walkPages} from './checkpoint-pages.ts';
import {CheckpointDamagedError, openRowView} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {checkFileLength, isDamage, LmdbEnvironment, messageOf} from './lmdb-environment.ts';
import {cannotWriteError, StorageError, systemErrorCode} from './storage-error.ts';

export const emptyMeta: CheckpointMeta = {
  index: noIndex,
  term: noTerm,
  membership: emptyMembership,
};

export function createFirst(directory: CheckpointDirectory): string {
  try {
    return createEmpty(directory);
  } catch (error) {
    throw cannotWriteError(directory.root, error);
  }
}

/** The first directory of a new store, holding an empty checkpoint. */
function createEmpty(directory: CheckpointDirectory): string {
  // Without CURRENT there is at most one directory, from a start that was interrupted right here.
  for (const name of directory.generations()) {
    const file = directory.dataFile(name);
    if (fs.existsSync(file) && !isBlank(file)) {
      const {environment, meta} = openExisting(file);
      environment.close();
      const isFresh = meta === null || meta.index === noIndex;
      if (!isFresh) throw new CheckpointDamagedError(directory.root, 'CURRENT is missing');
    }
    directory.remove(name);
  }
  const name = directory.nextGeneration();
  fs.mkdirSync(path.dirname(directory.dataFile(name)), {mode: 0o700});
  const environment = new LmdbEnvironment(directory.dataFile(name));
  environment.transaction(() => environment.putMeta(emptyMeta));
  environment.padFile();
  environment.close();
  directory.switchSync(name);
  return name;
}

/** A file whose first bytes were lost with the power before anything was relied upon. */
export function isBlank(file: string): boolean {
  return (
    fs.statSync(file).size <= blankSizeBytesMax && fs.readFileSync(file).every(byte => byte === 0)
  );
}

const blankSizeBytesMax = 64 * 1024;

export function openEnvironment(file: string): {
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta;
} {
  if (!fs.existsSync(file)) throw new CheckpointDamagedError(file, 'missing');
  const {environment, meta} = openExisting(file);
  if (meta !== null) return {environment, meta};
  environment.close();
  throw new CheckpointDamagedError(file, 'no format row');
}

export function openAt(file: string, meta: CheckpointMeta): LmdbEnvironment {
  const opened = openEnvironment(file);
  if (opened.meta.index === meta.index) return opened.environment;
  opened.environment.close();
  throw new CheckpointDamagedError(file, `index ${opened.meta.index} instead of ${meta.index}`);
}

/**
 * Throws CheckpointDamagedError when a page or a row is not what was written, or cannot be read.
 * Reads every page in use, and takes its time; nothing of LMDB runs, which trusts what it reads.
 */
export function checkPages(file: string): void {
  if (!fs.existsSync(file)) return;
  const problems: string[] = [];
  const note = (offset: number, problem: string): void => {
    if (problems.length === 0) problems.push(`byte ${offset}: ${problem}`);
  };
  try {
    walkPages(file, {
      onDamage: note,
      onFreeListDamage: note,
      onRow: (rowKey, stored, offset) => {
        if (openRowView(rowKey, stored) === null) note(offset, 'checksum of a row');
      },
    });
  } catch (error) {
    if (systemErrorCode(error) === 'EIO')
      throw new CheckpointDamagedError(file, messageOf(error), error);
    throw notOpenedError(file, error);
  }
  const [first] = problems;
  if (first !== undefined) throw new CheckpointDamagedError(file, first);
}

function notOpenedError(file: string, error: unknown): StorageError {
  return new StorageError(`${file} cannot be opened (${messageOf(error)})`, {
    path: file,
    advice: 'it is not known to be damaged; remove the cause and start again',
    cause: error,
  });
}

function openExisting(file: string): {
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta | null;
} {
  let environment: LmdbEnvironment | null = null;
  try {
    checkFileLength(file);
    environment = new LmdbEnvironment(file);
    return {environment, meta: environment.readMeta()};
  } catch (error) {
    environment?.close();
    if (error instanceof CheckpointDamagedError) throw error;
    if (isDamage(error)) throw new CheckpointDamagedError(file, messageOf(error), error);
    throw notOpenedError(file, error);
  }
}
