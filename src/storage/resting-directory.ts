/**
 * The data directory of a node that does not run, as it is: who it is, what its log says, what its
 * checkpoint holds. Nothing in it changes. The caller holds the directory's lock.
 */
import fs from 'node:fs';
import path from 'node:path';
import {equalBytes, MalformedBytesError} from '../base/bytes.ts';
import {StateMeta} from '../kv/state-meta.ts';
import type {LogIndex} from '../raft/ids.ts';
import {noIndex} from '../raft/ids.ts';
import {CheckpointDirectory} from './checkpoint-directory.ts';
import {isBlank} from './checkpoint-opening.ts';
import {walkPages} from './checkpoint-pages.ts';
import {CheckpointDamagedError, decodeMeta, formatRowKey, openRowView} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import type {Identity} from './identity.ts';
import {readIdentity} from './identity.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';
import {readOnlyDisk} from './read-only-disk.ts';
import {readStale, readStartHistory} from './start-history.ts';
import {StorageError} from './storage-error.ts';
import {walOptions} from './wal-options.ts';
import type {RecoveredLog} from './wal-recovery.ts';
import {recoverLog} from './wal-recovery.ts';
import type {WalIdentity} from './wal-segment.ts';

export type LogSummary = Pick<
  RecoveredLog,
  'start' | 'last' | 'hardState' | 'memberships' | 'terms' | 'warnings'
> & {readonly segmentCount: number; readonly sizeBytes: number};

/** Throws StorageError: it does not exist, was never a member's, or is damaged. */
export function restingIdentity(root: string): Identity {
  const identity = readIdentity(readOnlyDisk, path.join(root, 'identity.json'));
  if (identity !== null) return identity;
  throw new StorageError(`${root} is not the data directory of a node`, {
    path: root,
    advice: 'it has no identity.json; name the directory that was given as -data',
  });
}

/** Throws StorageError when it is damaged. */
export function restingStartCount(root: string): number {
  return readStartHistory(readOnlyDisk, path.join(root, 'start-count.json')).count;
}

/** Why it is known to be an older copy; null: it is not. Throws StorageError when it is damaged. */
export function restingStale(root: string): string | null {
  return readStale(readOnlyDisk, path.join(root, 'start-count.json'));
}

/**
 * What the next start will make of the log; null: there is none. `trustedIndex`: the data of older
 * entries is not looked at. Throws StorageError when the log is damaged.
 */
export function restingLog(
  root: string,
  identity: Identity,
  indices: {readonly checkpointIndex: LogIndex; readonly trustedIndex?: LogIndex},
): LogSummary | null {
  return withRestingLog(root, identity, indices, log => {
    if (log === null) return null;
    const {start, last, hardState, memberships, terms, warnings, segments} = log;
    return {
      ...{start, last, hardState, memberships, terms, warnings},
      segmentCount: segments.length,
      sizeBytes: segments.reduce((sum, segment) => sum + segment.end, 0),
    };
  });
}

/** As `restingLog`, for whoever reads entries of it, too: while `use` runs. */
export function withRestingLog<Result>(
  root: string,
  identity: WalIdentity,
  indices: {readonly checkpointIndex: LogIndex; readonly trustedIndex?: LogIndex},
  use: (log: RecoveredLog | null) => Result,
): Result {
  const directory = path.join(root, 'wal');
  if (!fs.existsSync(directory)) return use(null);
  const {clusterId, nodeId, incarnation} = identity;
  const input = {
    disk: readOnlyDisk,
    directory,
    identity: {clusterId, nodeId, incarnation},
    options: walOptions(),
  };
  const {checkpointIndex, trustedIndex} = indices;
  const log = recoverLog(input, checkpointIndex, trustedIndex);
  try {
    return use(log);
  } finally {
    for (const segment of [...(log?.segments ?? []), ...(log?.prepared ?? [])]) segment.close();
  }
}

/** The data file of the checkpoint in force; null: there is none. Throws CheckpointDamagedError. */
export function restingCheckpointFile(root: string): string | null {
  const directory = path.join(root, 'checkpoint');
  if (!fs.existsSync(directory)) return null;
  const checkpoint = new CheckpointDirectory(root);
  const current = checkpoint.readCurrent();
  if (current !== null) {
    const file = checkpoint.dataFile(current);
    if (fs.existsSync(file)) return file;
    throw new CheckpointDamagedError(file, 'missing');
  }
  const files = checkpoint.generations().map(name => checkpoint.dataFile(name));
  if (files.every(isUnused)) return null;
  throw new CheckpointDamagedError(directory, 'CURRENT is missing');
}

/** A first checkpoint, of a start that was interrupted before anything relied on it. */
function isUnused(file: string): boolean {
  if (!fs.existsSync(file) || isBlank(file)) return true;
  const found = {isSound: true, hasRows: false};
  walkPages(file, {
    onDamage: () => {
      found.isSound = false;
    },
    onRow: rowKey => {
      if (!equalBytes(rowKey, formatRowKey)) found.hasRows = true;
    },
  });
  if (!found.isSound || found.hasRows) return false;
  return withCheckpoint(
    file,
    environment => (environment.readMeta()?.index ?? noIndex) === noIndex,
  );
}

export interface CheckpointSummary {
  readonly meta: CheckpointMeta;
  readonly state: StateMeta;
}

/**
 * Read page by page: LMDB's native code ends the process on a file that is cut or garbled. Throws
 * CheckpointDamagedError.
 */
export function restingCheckpointMeta(file: string): CheckpointMeta {
  const metas: CheckpointMeta[] = [];
  walkPages(file, {
    onDamage: (offset, problem) => {
      throw new CheckpointDamagedError(file, `${problem} (byte ${offset})`);
    },
    onRow: (rowKey, stored) => {
      if (!equalBytes(rowKey, formatRowKey)) return;
      const value = openRowView(rowKey, stored);
      if (value !== null) metas.push(...decodeFormatRow(value));
    },
  });
  const [meta] = metas;
  if (meta === undefined) throw new CheckpointDamagedError(file, 'there is no valid format row');
  return meta;
}

/** Empty: it is none. */
export function decodeFormatRow(value: Uint8Array): readonly CheckpointMeta[] {
  try {
    return [decodeMeta(value)];
  } catch (error) {
    if (error instanceof MalformedBytesError) return [];
    throw error;
  }
}

/** Throws CheckpointDamagedError. */
export function restingCheckpoint(file: string): CheckpointSummary {
  restingCheckpointMeta(file);
  return withCheckpoint(file, environment => {
    const meta = environment.readMeta();
    if (meta === null) throw new CheckpointDamagedError(file, 'no format row');
    const state = new StateMeta();
    if (meta.index > noIndex) state.load(environment);
    return {meta, state};
  });
}

/** LMDB gets to see the file: it must be known to be sound, or have been opened before. */
export function withCheckpoint<Result>(
  file: string,
  use: (environment: LmdbEnvironment) => Result,
): Result {
  const environment = new LmdbEnvironment(file, {isReadOnly: true});
  try {
    return use(environment);
  } finally {
    environment.close();
  }
}
