/**
 * The durable log of one member: the write-ahead log plus what reading it needs in memory (the
 * newest entries, the terms, the memberships, a sparse index into the segments).
 */
import {assert, must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import {entrySizeBytes} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex, Term} from '../raft/ids.ts';
import {indexAfter, indexBefore, maxIndex, minIndex, noIndex} from '../raft/ids.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import type {Disk} from './disk.ts';
import type {LogNeeds, LogStore, LogWrite} from './log-store.ts';
import type {LogRelease} from './log-retention.ts';
import {releasedCount} from './log-retention.ts';
import {LogTail} from './log-tail.ts';
import {createLog, emptyLog, replaceLog} from './new-log.ts';
import {StorageError} from './storage-error.ts';
import {TermRuns} from './term-runs.ts';
import {Wal} from './wal.ts';
import type {WalDirectory} from './wal-directory.ts';
import {nextFreeSequence, removeSegments} from './wal-directory.ts';
import type {WalIndex} from './wal-index.ts';
import type {WalOptions} from './wal-options.ts';
import {walOptions} from './wal-options.ts';
import {readEntries} from './wal-reader.ts';
import type {RecoveredLog} from './wal-recovery.ts';
import {recoverLog} from './wal-recovery.ts';
import type {WalIdentity} from './wal-segment.ts';
import {membershipsFrom} from './written-memberships.ts';

export interface OpenLogInput {
  readonly disk: Disk;
  /** Of the segments; created if absent. */
  readonly directory: string;
  readonly clock: Clock;
  readonly identity: WalIdentity;
  /** Of the checkpoint as opened; null or index 0: there is none. */
  readonly checkpoint: CheckpointMeta | null;
  /** True: this member has voted or acknowledged before, so a directory without a log is damage. */
  readonly mustExist?: boolean;
  readonly options?: Partial<WalOptions>;
  /** Called at the end of each sync that writes wait for; those of room ahead are not. */
  readonly onSync?: (durationMs: number) => void;
}

export interface OpenedLog {
  readonly store: WalLogStore;
  readonly hardState: HardState;
  /** In force at the checkpoint (or the start of the log), then every later membership entry. */
  readonly memberships: readonly MembershipRecord[];
  readonly warnings: readonly string[];
  /**
   * The log begins behind the checkpoint: the entries between them are gone, so a snapshot must be
   * fetched before anything is applied. Happens when a damaged checkpoint was moved aside.
   */
  readonly needsSnapshot: boolean;
}

/** Throws StorageError (WalCorruptionError) when the log cannot be trusted. */
export function openLog(input: OpenLogInput): OpenedLog {
  const options = walOptions(input.options);
  const {disk, directory, identity} = input;
  const recovery: WalDirectory = {disk, directory, identity, options};
  disk.makeDirectorySync(directory);
  const sequence = nextFreeSequence(disk, directory);
  const checkpointIndex = input.checkpoint?.index ?? noIndex;
  const recovered = recoverLog(recovery, checkpointIndex);
  if (recovered === null) {
    if (input.mustExist === true || checkpointIndex > 0) throw missingLogError(directory);
    removeSegments(recovery);
    return start(input, options, createLog(recovery, sequence, emptyLog));
  }
  const checkpoint = input.checkpoint ?? emptyLog.meta;
  if (goesOnBehind(recovered, checkpoint)) return start(input, options, recovered);
  // What the checkpoint holds counts as this member's as soon as it runs, so the log has to begin
  // there by then: if the checkpoint is lost, a log that ends before must not pass for everything.
  const hardState = hardStateAt(checkpoint, recovered.hardState);
  const replaced = replaceLog(recovery, sequence, recovered, {meta: checkpoint, hardState});
  return start(input, options, replaced);
}

/**
 * Whether the log goes on behind the checkpoint, or begins behind it and waits for a snapshot. If
 * not, a snapshot was installed before the log could be reset: of the log only term and vote count.
 */
export function goesOnBehind(
  log: Pick<RecoveredLog, 'start' | 'terms'>,
  checkpoint: EntryId,
): boolean {
  return log.start.index > checkpoint.index || log.terms.at(checkpoint.index) === checkpoint.term;
}

/** What a log that does not go on behind its checkpoint starts with. */
export function hardStateAt(checkpoint: EntryId, hardState: HardState): HardState {
  // A snapshot fetched for a lost checkpoint may be of a term this member has not heard of.
  const isNewTerm = checkpoint.term > hardState.term;
  const {term, vote} = isNewTerm ? {term: checkpoint.term, vote: null} : hardState;
  return {term, vote, commit: checkpoint.index};
}

function start(input: OpenLogInput, options: WalOptions, log: RecoveredLog): OpenedLog {
  const store = new WalLogStore(input, options, log);
  const warnings = [...log.warnings];
  const checkpointIndex = input.checkpoint?.index ?? noIndex;
  const needsSnapshot = log.start.index > checkpointIndex;
  if (needsSnapshot) {
    warnings.push(`entries up to ${log.start.index} are neither in the log nor in a checkpoint`);
  }
  const applied = maxIndex(checkpointIndex, log.start.index);
  const commit = minIndex(maxIndex(log.hardState.commit, applied), log.last.index);
  const hardState = {...log.hardState, commit};
  const memberships = membershipsFrom(log.memberships, applied);
  return {store, hardState, memberships, warnings, needsSnapshot};
}

function missingLogError(directory: string): StorageError {
  return new StorageError(`${directory} holds no log, but this member has taken part before`, {
    path: directory,
    advice:
      'its vote is lost: in a cluster, move the data directory away and start with -rejoin; ' +
      'a single node must restore a backup',
  });
}

export class WalLogStore implements LogStore {
  readonly #wal: Wal;
  readonly #options: WalOptions;
  readonly #clock: Clock;
  readonly #index: WalIndex;
  #terms: TermRuns;
  readonly #tail: LogTail;
  /** In force at the start of the log, then every later membership entry. */
  #memberships: MembershipRecord[];
  /** The entry before the first one. */
  #start: EntryId;
  #last: EntryId;
  /** Every entry up to here is durable, inclusive. */
  #durableIndex: LogIndex;
  /** As noteNeeds() said last. */
  #needs: LogNeeds = {applied: noIndex, sent: []};
  /** Rises with every write that supersedes entries. */
  #generation = 0;
  /** The smallest index that a superseding write on its way to the disk begins with. */
  #supersededFrom: LogIndex | null = null;
  /** Rises with every reset: callbacks of writes before it say nothing about the log after it. */
  #epoch = 0;

  constructor(input: OpenLogInput, options: WalOptions, log: RecoveredLog) {
    this.#options = options;
    this.#clock = input.clock;
    this.#index = log.index;
    // How old they are nobody knows: no older than this start, as far as retention goes.
    for (const segment of log.segments) segment.closedAtMs = input.clock.monotonicMs();
    this.#terms = log.terms;
    this.#memberships = [...log.memberships];
    this.#start = log.start;
    this.#last = log.last;
    this.#durableIndex = log.last.index;
    this.#tail = new LogTail(indexAfter(log.last.index), options.tailSizeBytesMax);
    this.#wal = new Wal({
      disk: input.disk,
      directory: input.directory,
      clock: input.clock,
      options,
      identity: input.identity,
      segments: log.segments,
      prepared: log.prepared,
      hardState: log.hardState,
      last: log.last,
      memberships: log.memberships,
      contents: log.contents,
      onSync: input.onSync ?? (() => undefined),
      onBatch: batch => this.#index.note(batch),
    });
  }

  firstIndex(): LogIndex {
    return indexAfter(this.#start.index);
  }

  lastIndex(): LogIndex {
    return this.#last.index;
  }

  term(index: LogIndex): Term | undefined {
    return this.#terms.at(index);
  }

  entries(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[] {
    const {from, to, sizeBytesMax} = range;
    assert(from > this.#start.index, 'entry % is before %', from, this.firstIndex());
    assert(to <= this.#last.index, 'entry % is behind %', to, this.#last.index);
    if (from > to) return [];
    if (from < this.#tail.first) {
      const end = minIndex(to, indexBefore(this.#tail.first));
      const log = {segments: this.#wal.segments, index: this.#index};
      return readEntries(log, {from, to: end, sizeBytesMax});
    }
    const entries: Entry[] = [];
    let sizeBytes = 0;
    for (let index = from; index <= to; index = indexAfter(index)) {
      const entry = this.#tail.get(index);
      sizeBytes += entrySizeBytes(entry);
      if (sizeBytes > sizeBytesMax && entries.length > 0) break;
      entries.push(entry);
    }
    return entries;
  }

  append(write: LogWrite, callback: (error: Error | null) => void): void {
    const {entries, hardState} = write;
    const first = entries[0];
    if (first !== undefined) this.#take(first.index, entries);
    const last = this.#last.index;
    const epoch = this.#epoch;
    const generation = this.#generation;
    this.#wal.append(hardState, entries, error => {
      const isCurrent = first !== undefined && epoch === this.#epoch;
      if (error === null && isCurrent) this.#onDurable(last, generation);
      callback(error);
    });
  }

  failure(): Error | null {
    return this.#wal.failure;
  }

  isFull(): boolean {
    return this.#wal.isFull;
  }

  pendingSizeBytes(): number {
    return this.#wal.pendingSizeBytes;
  }

  pendingForMs(): number {
    return this.#wal.pendingForMs;
  }

  noteCommit(commit: LogIndex): void {
    this.#wal.noteCommit(commit);
  }

  noteNeeds(needs: LogNeeds): void {
    this.#needs = needs;
    this.#tail.trim(this.#durableIndex, needs);
  }

  release(release: LogRelease): void {
    const {segments} = this.#wal;
    const nowMs = this.#clock.monotonicMs();
    const retained = segments.map(segment => ({
      previousIndex: must(segment.previous, 'a header').index,
      sizeBytes: segment.end,
      ageMs: nowMs - segment.closedAtMs,
      isCleanStart: segment.isCleanStart,
    }));
    const dropped = releasedCount(retained, release, this.#options);
    if (dropped === 0) return;
    const oldest = segmentAt(segments, dropped);
    this.#start = must(oldest.previous, 'a header');
    assert(this.#start.index <= this.#last.index, 'release within the log');
    assert(this.#terms.at(this.#start.index) === this.#start.term, 'a clean start');
    this.#terms.dropBefore(this.#start.index);
    this.#memberships = membershipsFrom(this.#memberships, this.#start.index);
    this.#index.dropBefore(oldest.sequence);
    this.#wal.dropSegments(dropped);
  }

  reset(meta: SnapshotMeta, hardState: HardState): void {
    this.#wal.reset(meta, hardState);
    this.#epoch++;
    this.#supersededFrom = null;
    this.#start = {index: meta.index, term: meta.term};
    this.#last = this.#start;
    this.#durableIndex = meta.index;
    this.#terms = new TermRuns(this.#start);
    this.#memberships = [{index: meta.index, membership: meta.membership}];
    this.#index.clear();
    this.#tail.clear(indexAfter(meta.index));
  }

  size(): {readonly entryCount: number; readonly sizeBytes: number} {
    const entryCount = this.#last.index - this.#start.index;
    return {entryCount, sizeBytes: this.#wal.sizeBytes};
  }

  /** Names the cluster in later segments, once it is formed. */
  setIdentity(identity: WalIdentity): void {
    this.#wal.setIdentity(identity);
  }

  close(callback: () => void): void {
    this.#wal.close(callback);
  }

  #take(first: LogIndex, entries: readonly Entry[]): void {
    assert(first > this.#start.index, "entry % is before the log's start", first);
    assert(first <= this.#last.index + 1, 'entry % leaves a gap after %', first, this.#last.index);
    if (first <= this.#last.index) this.#supersede(first);
    for (const entry of entries) {
      this.#terms.push(entry);
      this.#tail.push(entry);
      if (entry.type === 'membership') {
        this.#memberships.push({index: entry.index, membership: decodeMembership(entry.data)});
      }
    }
    const last = must(entries.at(-1), 'an entry');
    this.#last = {index: last.index, term: last.term};
  }

  #onDurable(last: LogIndex, generation: number): void {
    if (generation === this.#generation) this.#supersededFrom = null;
    // What a later write on its way supersedes is not durable in its new form.
    const from = this.#supersededFrom;
    this.#durableIndex = from === null ? last : minIndex(last, indexBefore(from));
    this.#tail.trim(this.#durableIndex, this.#needs);
  }

  #supersede(first: LogIndex): void {
    this.#generation++;
    this.#supersededFrom = minIndex(this.#supersededFrom ?? first, first);
    const last = indexBefore(first);
    this.#terms.truncateAfter(last);
    this.#tail.truncateFrom(first);
    this.#durableIndex = minIndex(this.#durableIndex, last);
    while (must(this.#memberships.at(-1), 'a membership').index >= first) this.#memberships.pop();
  }
}

function segmentAt<T>(segments: readonly T[], position: number): T {
  return must(segments[position], 'segment %', position);
}
