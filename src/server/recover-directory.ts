/**
 * `./rosetta recover`: what a stopped member's directory says of itself, and, with force, a new
 * cluster of this member alone, from all that its log and checkpoint hold. The old directory stays
 * as it is until the new one is whole.
 */
import path from 'node:path';
import {must} from '../base/assert.ts';
import {keySuccessor} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import type {EntryId} from '../raft/entry.ts';
import {indexAfter, noIndex, term} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';
import {emptyMembership, findMember} from '../raft/membership.ts';
import type {LmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {isPrepared, PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import type {LogSummary} from '../storage/resting-directory.ts';
import {
  restingCheckpoint,
  restingCheckpointFile,
  restingIdentity,
  restingLog,
  restingStartCount,
} from '../storage/resting-directory.ts';
import {StateStore} from '../storage/state-store.ts';
import {StorageError} from '../storage/storage-error.ts';
import type {OpenedLog, WalLogStore} from '../storage/wal-log-store.ts';
import {openLog} from '../storage/wal-log-store.ts';
import {toIdentity, toRecord} from './identity-file.ts';
import {lockedDataDirectory, lockedExisting} from './locked-directory.ts';
import {drawNewCluster} from './new-cluster.ts';
import {systemClock} from './system-clock.ts';

export interface DirectorySummary {
  readonly data: string;
  readonly clusterId: string | null;
  readonly nodeId: string;
  readonly incarnation: string;
  /** How often the member was started. */
  readonly startCount: number;
  readonly term: number;
  readonly vote: string | null;
  /** The entry before the first of the log, and its last one. */
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
export async function forceRecovery(
  data: string,
  options: {readonly revisionBump: number},
): Promise<ForcedRecovery> {
  const root = path.resolve(data);
  (await lockedExisting(root)).release();
  const directory = await lockedDataDirectory(root);
  try {
    if (isPrepared(root)) return complete(root);
    const before = summarize(root);
    return await new Recovery(root, before, options.revisionBump).run();
  } finally {
    directory.release();
  }
}

function summarize(root: string): DirectorySummary {
  const identity = restingIdentity(root);
  const file = restingCheckpointFile(root);
  const checkpoint = file === null ? null : restingCheckpoint(file);
  const meta = checkpoint?.meta ?? emptyMeta;
  const log = restingLog(root, identity, {checkpointIndex: meta.index}) ?? emptyLog;
  const {nodeId, incarnation, clusterId} = identity;
  const {start, last, hardState, memberships, warnings} = log;
  const newest = memberships.at(-1);
  const isInLog = newest !== undefined && newest.index >= meta.index;
  return {
    data: root,
    clusterId,
    nodeId,
    incarnation,
    startCount: restingStartCount(root),
    term: hardState.term,
    vote: hardState.vote,
    logStart: start,
    last: last.index >= meta.index ? last : {index: meta.index, term: meta.term},
    commit: Math.max(hardState.commit, meta.index),
    checkpoint: {index: meta.index, term: meta.term},
    revision: checkpoint?.state.revision ?? 1,
    keyCount: checkpoint?.state.keyCount ?? 0,
    membership: isInLog ? newest.membership : meta.membership,
    warnings,
  };
}

const emptyMeta = {index: noIndex, term: term(0), membership: emptyMembership};
const emptyLog: Pick<LogSummary, 'start' | 'last' | 'hardState' | 'memberships' | 'warnings'> = {
  start: {index: noIndex, term: term(0)},
  last: {index: noIndex, term: term(0)},
  hardState: {term: term(0), vote: null, commit: noIndex},
  memberships: [],
  warnings: [],
};

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

/** Entries read at once, and rows written in one transaction. */
const readSizeBytes = limits.committedSizeBytesMax;
const transactionRowCount = 4_096;
const firstRowKey = Uint8Array.of(1);
const rowKeysEnd = Uint8Array.of(0xff);

class Recovery {
  readonly #root: string;
  readonly #before: DirectorySummary;
  readonly #revisionBump: number;

  constructor(root: string, before: DirectorySummary, revisionBump: number) {
    this.#root = root;
    this.#before = before;
    this.#revisionBump = revisionBump;
  }

  async run(): Promise<ForcedRecovery> {
    const old = this.#oldRecord();
    const {nodeId, membership} = this.#before;
    const self = findMember(membership, old.nodeId);
    if (self === undefined) {
      throw this.#refusal(`${nodeId} was not a member of its cluster any more`);
    }
    const {id, listen, http} = self;
    const {record, membership: alone} = drawNewCluster({id, listen, http});
    const checkpoint = openLmdbCheckpointStore({directory: this.#root});
    let log: OpenedLog | null = null;
    let result: {readonly revision: number; readonly keyCount: number};
    try {
      log = this.#openLog(old, checkpoint);
      result = this.#prepare(checkpoint, log, {record, membership: alone});
    } finally {
      await closeLog(log?.store ?? null);
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

  #openLog(old: IdentityRecord, checkpoint: LmdbCheckpointStore): OpenedLog {
    const {nodeId, incarnation, clusterId} = old;
    const log = openLog({
      disk: nodeDisk,
      directory: path.join(this.#root, 'wal'),
      clock: systemClock,
      identity: {clusterId, nodeId, incarnation},
      checkpoint: checkpoint.meta(),
      mustExist: true,
    });
    if (!log.needsSnapshot) return log;
    log.store.close(() => undefined);
    throw this.#refusal('the entries between its checkpoint and its log are missing');
  }

  /** Everything that the log holds counts as committed from here on. */
  #prepare(
    checkpoint: LmdbCheckpointStore,
    log: OpenedLog,
    fresh: ReturnType<typeof drawNewCluster>,
  ): {readonly revision: number; readonly keyCount: number} {
    const state = new StateStore(checkpoint);
    const machine = new KvStateMachine(state);
    const {store, hardState} = log;
    for (let next = indexAfter(checkpoint.meta().index); next <= store.lastIndex();) {
      const range = {from: next, to: store.lastIndex(), sizeBytesMax: readSizeBytes};
      for (const entry of store.entries(range)) {
        if (entry.type === 'command') machine.apply(entry);
        next = indexAfter(entry.index);
      }
    }
    machine.saveMeta();
    const member = new PreparedMember(nodeDisk, this.#root, {revisionBump: this.#revisionBump});
    try {
      copyRows(state, member);
    } catch (error) {
      member.discard();
      throw error;
    }
    const index = store.lastIndex();
    const lastTerm = must(store.term(index), 'the term of the last entry');
    const meta = {index, term: lastTerm, membership: fresh.membership};
    member.finish(toIdentity(fresh.record), meta, term(Math.max(hardState.term, lastTerm)));
    const revision = machine.revision() + this.#revisionBump;
    return {revision, keyCount: machine.keyCount()};
  }

  #refusal(problem: string): StorageError {
    return new StorageError(`${this.#root} cannot become a cluster of its own (${problem})`, {
      path: this.#root,
      advice: 'use the directory of another member, or restore a backup',
    });
  }
}

function copyRows(state: StateStore, member: PreparedMember): void {
  let start: Uint8Array = firstRowKey;
  let count = transactionRowCount;
  while (count === transactionRowCount) {
    count = 0;
    let last = start;
    member.transaction(() => {
      state.scan({start, end: rowKeysEnd, isReverse: false}, (rowKey, value) => {
        member.addRow(rowKey, value);
        last = Uint8Array.from(rowKey);
        count += 1;
        return count < transactionRowCount;
      });
    });
    start = keySuccessor(last);
  }
}

function closeLog(store: WalLogStore | null): Promise<void> {
  return new Promise(resolve => {
    if (store === null) resolve();
    else store.close(resolve);
  });
}
