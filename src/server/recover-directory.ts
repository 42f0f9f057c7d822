/**
 * `./rosetta recover`: what a stopped member's directory says of itself, and, with force, a new
 * cluster of this member alone, from all that its log and checkpoint hold. The old directory stays
 * as it is until the new one is whole.
 */
import fs from 'node:fs';
import path from 'node:path';
import {must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import type {HardState} from '../raft/hard-state.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import type {EntryId} from '../raft/entry.ts';
import {indexAfter, maxIndex, noIndex, term} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';
import {findMember} from '../raft/membership.ts';
import {emptyMeta} from '../storage/checkpoint-opening.ts';
import type {CheckpointMeta} from '../storage/checkpoint-store.ts';
import {copyRows} from '../storage/copy-rows.ts';
import type {LmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {isPrepared, PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import {
  restingCheckpoint,
  restingCheckpointFile,
  restingIdentity,
  restingLog,
  restingStale,
  restingStartCount,
  withRestingLog,
} from '../storage/resting-directory.ts';
import {StateStore} from '../storage/state-store.ts';
import {StorageError} from '../storage/storage-error.ts';
import {goesOnBehind, hardStateAt} from '../storage/wal-log-store.ts';
import {readEntries} from '../storage/wal-reader.ts';
import type {RecoveredLog} from '../storage/wal-recovery.ts';
import {toIdentity, toRecord} from './identity-file.ts';
import {lockedDataDirectory, lockedExisting} from './locked-directory.ts';
import {drawNewCluster} from './new-cluster.ts';

export interface DirectorySummary {
  readonly data: string;
  readonly clusterId: string | null;
  readonly nodeId: string;
  readonly incarnation: string;
  /** Why its state is not that of the cluster's other members; null: as far as is known it is. */
  readonly divergence: string | null;
  /** Why it is known to be an older copy of a directory; null: it is not known to be one. */
  readonly stale: string | null;
  /** How often the member was started. */
  readonly startCount: number;
  readonly term: number;
  readonly vote: string | null;
  /** The entry before the first of the log, and its last one, as the next start will see them. */
  readonly logStart: EntryId;
  readonly last: EntryId;
  /** As far as this member knew. */
  readonly commit: number;
  readonly checkpoint: EntryId;
  /** Of the checkpoint; entries behind it may add to them. */
  readonly revision: number;
  readonly keyCount: number;
  /** In force at the last entry. */
  readonly membership: Membership;
  readonly warnings: readonly string[];
}

export interface ForcedRecovery {
  /** Null: an earlier recovery was interrupted, and is complete now. */
  readonly before: DirectorySummary | null;
  readonly clusterId: string;
  readonly revision: number | null;
  readonly keyCount: number | null;
  readonly first: {readonly id: string; readonly listen: string; readonly http: string};
  /** The directory with what was there before; null: there was nothing. */
  readonly saved: string | null;
}

export interface ForceOptions {
  readonly revisionBump: number;
  /** Also when its state is known to differ from what its cluster had agreed on. */
  readonly acceptDiverged: boolean;
  /** Also when it is known to be an older copy. */
  readonly acceptStale: boolean;
}

/** Reads only. Rejects with StorageError. */
export async function inspectDirectory(data: string): Promise<DirectorySummary> {
  const root = path.resolve(data);
  const lock = await lockedExisting(root);
  try {
    return summarize(root);
  } finally {
    lock.release();
  }
}

/** Rejects with StorageError, and then nothing has changed. */
export async function forceRecovery(data: string, options: ForceOptions): Promise<ForcedRecovery> {
  const root = path.resolve(data);
  // Before anything is made or emptied there.
  if (fs.existsSync(root) && !isPrepared(root)) restingIdentity(root);
  (await lockedExisting(root)).release();
  const directory = await lockedDataDirectory(root);
  try {
    if (isPrepared(root)) return complete(root);
    const before = summarize(root);
    return await new Recovery(root, before, options).run();
  } finally {
    directory.release();
  }
}

function summarize(root: string): DirectorySummary {
  const identity = restingIdentity(root);
  const record = toRecord(path.join(root, 'identity.json'), identity);
  const file = restingCheckpointFile(root);
  const checkpoint = file === null ? null : restingCheckpoint(file);
  const meta = checkpoint?.meta ?? emptyMeta;
  const log = restingLog(root, identity, {checkpointIndex: meta.index});
  const {nodeId, incarnation, clusterId} = identity;
  const {start, last, hardState, membership} = standing(log, meta);
  return {
    data: root,
    clusterId,
    nodeId,
    incarnation,
    divergence: record.divergence ?? null,
    stale: restingStale(root),
    startCount: restingStartCount(root),
    term: hardState.term,
    vote: hardState.vote,
    logStart: start,
    last,
    commit: hardState.commit,
    checkpoint: {index: meta.index, term: meta.term},
    revision: checkpoint?.state.revision ?? 1,
    keyCount: checkpoint?.state.keyCount ?? 0,
    membership,
    warnings: log?.warnings ?? [],
  };
}

interface Standing {
  readonly start: EntryId;
  readonly last: EntryId;
  readonly hardState: HardState;
  readonly membership: Membership;
}

type ReadLog = Pick<RecoveredLog, 'start' | 'last' | 'hardState' | 'memberships' | 'terms'>;

/** Log and checkpoint together, as the next start would find them. */
function standing(log: ReadLog | null, meta: CheckpointMeta): Standing {
  const hardState = log?.hardState ?? {term: term(0), vote: null, commit: noIndex};
  const commit = maxIndex(hardState.commit, meta.index);
  if (log === null || !goesOnBehind(log, meta)) {
    const {index, membership} = meta;
    const end = {index, term: meta.term};
    return {start: end, last: end, hardState: hardStateAt(meta, hardState), membership};
  }
  const {start, last, memberships} = log;
  const newest = memberships.at(-1);
  const isInLog = newest !== undefined && newest.index >= meta.index;
  const membership = isInLog ? newest.membership : meta.membership;
  return {start, last, hardState: {...hardState, commit}, membership};
}

/** The identity is the last part that is put in place: what it says now is the new member's. */
function complete(root: string): ForcedRecovery {
  const saved = putInPlace(nodeDisk, root);
  const record = toRecord(path.join(root, 'identity.json'), restingIdentity(root));
  const first = must(record.members[0], 'a new cluster has its first member');
  const {clusterId} = record;
  return {
    before: null,
    clusterId: clusterId ?? '',
    revision: null,
    keyCount: null,
    first,
    saved,
  };
}

const betterDirectory = 'use the directory of another member, or restore a backup';

function unlessNothingElse(flag: string): string {
  return `${betterDirectory}; if there is neither, add ${flag}`;
}

/** Entries read at once. */
const readSizeBytes = limits.committedSizeBytesMax;

class Recovery {
  readonly #root: string;
  readonly #before: DirectorySummary;
  readonly #options: ForceOptions;

  constructor(root: string, before: DirectorySummary, options: ForceOptions) {
    this.#root = root;
    this.#before = before;
    this.#options = options;
  }

  async run(): Promise<ForcedRecovery> {
    const old = this.#oldRecord();
    const {nodeId, membership, divergence, stale} = this.#before;
    const {acceptDiverged, acceptStale} = this.#options;
    if (divergence !== null && !acceptDiverged) {
      const problem = `its state has gone another way than its cluster's: ${divergence}`;
      throw this.#refusal(problem, unlessNothingElse('-accept-diverged'));
    }
    if (stale !== null && !acceptStale) {
      const problem = `it is an older copy, and acknowledged writes may be missing: ${stale}`;
      throw this.#refusal(problem, unlessNothingElse('-accept-stale'));
    }
    const self = findMember(membership, old.nodeId);
    if (self === undefined) {
      throw this.#refusal(`${nodeId} was not a member of its cluster any more`);
    }
    const {id, listen, http} = self;
    const {record, membership: alone} = drawNewCluster({id, listen, http});
    const checkpoint = openLmdbCheckpointStore({directory: this.#root});
    let result: {readonly revision: number; readonly keyCount: number};
    try {
      const checkpointIndex = checkpoint.meta().index;
      result = withRestingLog(this.#root, old, {checkpointIndex}, log => {
        return this.#prepare(checkpoint, log, {record, membership: alone});
      });
    } finally {
      await new Promise<void>(resolve => checkpoint.close(resolve));
    }
    const saved = putInPlace(nodeDisk, this.#root);
    return {
      before: this.#before,
      clusterId: record.clusterId ?? '',
      ...result,
      first: {id, listen, http},
      saved,
    };
  }

  #oldRecord(): IdentityRecord {
    const file = path.join(this.#root, 'identity.json');
    const record = toRecord(file, restingIdentity(this.#root));
    if (record.stage === 'member' && record.clusterId !== null) return record;
    throw this.#refusal(`${record.nodeId} has not become a member of a cluster`);
  }

  /**
   * Everything that the log holds counts as committed from here on. It is only read: whatever goes
   * wrong, the old member is as it was.
   */
  #prepare(
    checkpoint: LmdbCheckpointStore,
    log: RecoveredLog | null,
    fresh: ReturnType<typeof drawNewCluster>,
  ): {readonly revision: number; readonly keyCount: number} {
    const old = checkpoint.meta();
    if (log === null) throw this.#refusal('its log is missing');
    if (log.start.index > old.index) {
      throw this.#refusal('the entries between its checkpoint and its log are missing');
    }
    const state = new StateStore(checkpoint);
    const machine = new KvStateMachine(state);
    const {last, hardState} = standing(log, old);
    for (let next = indexAfter(old.index); next <= last.index;) {
      const range = {from: next, to: last.index, sizeBytesMax: readSizeBytes};
      for (const entry of readEntries(log, range)) {
        if (entry.type === 'command') machine.apply(entry);
        next = indexAfter(entry.index);
      }
    }
    machine.saveMeta();
    const member = new PreparedMember(nodeDisk, this.#root, this.#options);
    try {
      copyRows(state, member);
    } catch (error) {
      member.discard();
      throw error;
    }
    const meta = {...last, membership: fresh.membership};
    member.finish(toIdentity(fresh.record), meta, term(Math.max(hardState.term, last.term)));
    const revision = machine.revision() + this.#options.revisionBump;
    return {revision, keyCount: machine.keyCount()};
  }

  #refusal(problem: string, advice = betterDirectory): StorageError {
    return new StorageError(`${this.#root} cannot become a cluster of its own (${problem})`, {
      path: this.#root,
      advice,
    });
  }
}
