/**
 * From the files of the log to what it says: finds the segments that belong to it, checks every
 * batch and every entry that may still be needed to restart, and tells a torn tail from corruption.
 * Damage below the largest position that any batch or header calls synced is corruption and throws;
 * damage above it is what a crash leaves behind and is cut off. What stays is rewritten where it
 * may be in the page cache only, and synced: after a failed fdatasync and a restart it could be
 * readable and still not be on the disk.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {compareBytes} from '../base/bytes.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import {initialHardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import {minIndex} from '../raft/ids.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {ContentsCollector} from './segment-contents.ts';
import {encodeContents} from './segment-contents.ts';
import {damagedBatchError, WalCorruptionError} from './storage-error.ts';
import type {TermRuns} from './term-runs.ts';
import {keepBrokenBytes} from './wal-broken-file.ts';
import type {SegmentCandidate, WalDirectory} from './wal-directory.ts';
import {openCandidates} from './wal-directory.ts';
import type {WalIndex} from './wal-index.ts';
import {WalOutline} from './wal-outline.ts';
import type {BatchHeader, WalPosition} from './wal-record.ts';
import {
  areCommandsIntact,
  batchFixedSizeBytes,
  claimedSizeBytes,
  commandTerm,
  comparePositions,
  decodeBatchHeader,
  visitEntries,
} from './wal-record.ts';
import {findBatch, hasNeedle, scanRemains} from './wal-remains.ts';
import type {SegmentHeader, WalSegment} from './wal-segment.ts';
import {segmentHeaderAlignment} from './wal-segment.ts';
import {WalWindow} from './wal-window.ts';

export interface RecoveredLog {
  /** Oldest first; the last one is continued. */
  readonly segments: readonly WalSegment[];
  readonly prepared: readonly WalSegment[];
  /** The entry before the first one. */
  readonly start: EntryId;
  readonly last: EntryId;
  readonly hardState: HardState;
  /** In force at `start`, then every membership entry. */
  readonly memberships: readonly MembershipRecord[];
  readonly terms: TermRuns;
  readonly index: WalIndex;
  /** Of the last segment as far as it goes. */
  readonly contents: ContentsCollector;
  readonly warnings: readonly string[];
}

interface BatchPlace {
  /** In the bytes at hand. */
  readonly at: number;
  /** In the file. */
  readonly offset: number;
  readonly header: BatchHeader;
}

/** Bytes at the start of a segment without a valid header that are searched for batches. */
const preparedProbeSizeBytes = 1024 * 1024;
const preparedCountMax = 2;

/**
 * Null: there is no log; files without a valid header stay where they are. A closed segment that
 * ends at or below `trustedIndex`, and whose contents the next header states, is not read; nor is
 * the data of commands up to there in other closed ones. Whoever reads an entry checks it then.
 */
export function recoverLog(
  input: WalDirectory,
  checkpointIndex: LogIndex,
  trustedIndex = checkpointIndex,
): RecoveredLog | null {
  const candidates = openCandidates(input);
  try {
    return new Recovery(input, candidates, {checkpointIndex, trustedIndex}).run();
  } catch (error) {
    for (const {segment} of candidates) if (!segment.isClosing) segment.close();
    throw error;
  }
}

class Recovery {
  readonly #input: WalDirectory;
  readonly #candidates: readonly SegmentCandidate[];
  readonly #checkpointIndex: LogIndex;
  readonly #trustedIndex: LogIndex;
  readonly #warnings: string[] = [];
  readonly #outline = new WalOutline();
  #maxSynced: WalPosition = {sequence: 0, offset: 0};
  #hardState: HardState = initialHardState;
  readonly #window = new WalWindow();

  constructor(
    input: WalDirectory,
    candidates: readonly SegmentCandidate[],
    indices: {readonly checkpointIndex: LogIndex; readonly trustedIndex: LogIndex},
  ) {
    this.#input = input;
    this.#candidates = candidates;
    this.#checkpointIndex = indices.checkpointIndex;
    this.#trustedIndex = indices.trustedIndex;
  }

  run(): RecoveredLog | null {
    const newest = this.#candidates.findLastIndex(candidate => candidate.header !== null);
    this.#probeUnused(newest + 1);
    if (newest < 0) {
      for (const {segment} of this.#candidates) segment.close();
      return null;
    }
    let {oldest, hasGap} = this.#findOldest(newest);
    while (!this.#recoverRun(this.#candidates.slice(oldest, newest + 1))) {
      // Dropped segments of which a crash left the newest ones: the log starts behind them.
      oldest++;
      hasGap = true;
    }
    const {segments, start, last, memberships, terms, index, contents} = this.#outline;
    const isIncomplete = hasGap && start.index > this.#checkpointIndex;
    if (isIncomplete && this.#checkpointIndex > 0) {
      // Before anything is removed: the next start must find the gap too.
      const {path} = must(segments[0], 'a segment');
      throw new WalCorruptionError('the segment before it is missing', {path, offset: 0});
    }
    // Before anything is removed: what was read here may be in memory only, in the place of what is
    // removed, and a power cut would take both.
    for (const segment of segments) segment.syncSync();
    for (const {segment} of this.#candidates.slice(0, oldest)) {
      // Until a snapshot has made up for the lost checkpoint and the gap, nothing goes away.
      if (isIncomplete) segment.close();
      else this.#remove(segment);
    }
    const prepared = this.#keepPrepared(newest);
    this.#input.disk.syncDirectorySync(this.#input.directory);
    return {
      segments,
      prepared,
      start,
      last,
      hardState: {...this.#hardState, commit: minIndex(this.#hardState.commit, last.index)},
      memberships,
      terms,
      index,
      contents,
      warnings: this.#warnings,
    };
  }

  /** The segments that belong together end at `newest` and begin here. */
  #findOldest(newest: number): {oldest: number; hasGap: boolean} {
    for (let i = newest; ; i--) {
      const candidate = must(this.#candidates[i], 'a segment');
      const {header, sequence} = candidate;
      if (header === null) {
        throw new WalCorruptionError('its header is not valid', {
          path: candidate.segment.path,
          offset: 0,
        });
      }
      if (header.isStart) return {oldest: i, hasGap: false};
      const before = this.#candidates[i - 1];
      if (before === undefined) return {oldest: i, hasGap: false};
      if (before.sequence !== sequence - 1) return {oldest: i, hasGap: true};
    }
  }

  /** A segment whose header is not valid must not hold batches: they follow a durable header. */
  #probeUnused(from: number): void {
    for (const {segment} of this.#candidates.slice(from)) {
      const size = Math.min(segment.filled, preparedProbeSizeBytes);
      const bytes = this.#read(segment, 0, size);
      const found = findBatch(bytes, segment, {from: segmentHeaderAlignment, start: 0});
      if (found === null) continue;
      throw new WalCorruptionError('its header is not valid, but batches follow', {
        path: segment.path,
        offset: 0,
      });
    }
  }

  /**
   * False when the log cannot start with the first of these segments: a later record supersedes
   * what was before it, and that is gone.
   */
  #recoverRun(run: readonly SegmentCandidate[]): boolean {
    const first = must(run[0], 'a segment');
    const firstHeader = must(first.header, 'the first header');
    this.#outline.begin(firstHeader, run.length > 1 && !firstHeader.isStart);
    for (let i = 0; i < run.length; i++) {
      if (!this.#recoverSegment(run, i)) return false;
    }
    return true;
  }

  /** False: see `recoverRun`. */
  #recoverSegment(run: readonly SegmentCandidate[], position: number): boolean {
    const {segment, header, headerSizeBytes} = must(run[position], 'a segment');
    const next = run[position + 1];
    assert(header !== null, 'a segment in use has a header');
    this.#checkChain(segment, header, position);
    this.#hardState = header.hardState;
    this.#outline.beginSegment(segment);
    const nextHeader = next === undefined ? null : must(next.header, 'a header');
    if (nextHeader !== null && this.#takeUnread(segment, nextHeader)) return true;
    const claimedEnd = nextHeader === null ? segment.filled : nextHeader.previousEnd;
    // The file may have been cut since then: no batch reaches beyond what is there.
    const limit = Math.min(claimedEnd, segment.filled);
    const isClosed = nextHeader !== null;
    const end = this.#readBatches(segment, {from: headerSizeBytes, limit, isClosed});
    segment.end = end;
    if (this.#outline.isCutInside) return false;
    if (nextHeader !== null) {
      // The next header was written when everything before it was durable.
      if (end !== claimedEnd) throw damagedBatchError(segment.path, end);
      this.#checkContents(segment, nextHeader);
      segment.limit = segment.filled;
    } else {
      this.#recoverTail(segment);
    }
    return true;
  }

  /** Of a closed segment that was read: the next start may not read it. */
  #checkContents({path, end}: WalSegment, {preceding}: SegmentHeader): void {
    if (preceding === null) return;
    const found = encodeContents(this.#outline.contents.contents());
    if (compareBytes(encodeContents(preceding), found) === 0) return;
    throw new WalCorruptionError('the next segment states other contents', {path, offset: end});
  }

  /** Of a closed segment whose entries the checkpoint holds: what the next header says of it. */
  #takeUnread(segment: WalSegment, next: SegmentHeader): boolean {
    const {preceding, previous, previousEnd} = next;
    // Who trusts nothing reads segments without entries too.
    const isHeld = this.#trustedIndex > 0 && previous.index <= this.#trustedIndex;
    const mayTrust = isHeld && previousEnd <= segment.filled;
    if (!mayTrust || preceding === null) return false;
    if (!this.#outline.takeContents(segment, preceding, next)) return false;
    segment.end = previousEnd;
    segment.limit = segment.filled;
    return true;
  }

  /** The last segment: what follows its last good batch is nothing, a torn tail, or corruption. */
  #recoverTail(segment: WalSegment): void {
    const {end} = segment;
    const hasRemains = hasNeedle(segment, this.#window, end);
    const tail = hasRemains ? this.#read(segment, end, segment.filled) : null;
    if (tail !== null) {
      scanRemains(segment, tail, end, position => this.#noteSynced(position));
    }
    if (comparePositions({sequence: segment.sequence, offset: end}, this.#maxSynced) < 0) {
      throw damagedBatchError(segment.path, end);
    }
    if (tail !== null) {
      const isKept = keepBrokenBytes(this.#input, segment, tail);
      this.#warnings.push(
        `${segment.path}: cut at byte ${end}, where a write was interrupted; the bytes behind it ` +
          'were never acknowledged and ' +
          (isKept ? 'are kept in the .broken file' : 'are not kept: there is no space for them'),
      );
      segment.truncateSync(end);
    }
    const isInside = this.#maxSynced.sequence === segment.sequence;
    const rewriteFrom = isInside ? this.#maxSynced.offset : 0;
    if (rewriteFrom < end) {
      segment.writeSync(this.#read(segment, rewriteFrom, end), rewriteFrom);
    }
    segment.limit = Math.max(this.#input.options.segmentSizeBytes, end);
    segment.filled = Math.max(Math.min(segment.filled, segment.limit), end);
  }

  #checkChain(segment: WalSegment, header: SegmentHeader, position: number): void {
    if (position === 0) return;
    const {last} = this.#outline;
    const isNext = header.previous.index === last.index && header.previous.term === last.term;
    if (!isNext) {
      throw new WalCorruptionError(
        `it continues after entry ${header.previous.index}, the log ends at ${last.index}`,
        {path: segment.path, offset: 33},
      );
    }
  }

  /** Returns the end of the last good batch. `isClosed`: every batch to the limit was durable. */
  #readBatches(
    segment: WalSegment,
    range: {readonly from: number; readonly limit: number; readonly isClosed: boolean},
  ): number {
    let offset = range.from;
    while (offset < range.limit) {
      const bytes = this.#holdBatch(segment, offset, range.limit - offset);
      const at = this.#window.at(offset);
      // The file may have been cut since it was opened.
      const available = Math.min(range.limit - offset, bytes.length - at);
      const place = {at, offset, segmentId: segment.id, available};
      const header = decodeBatchHeader(bytes, place);
      if (header === null) return offset;
      // What the checkpoint holds already, nobody but a follower will ask for, and never unchecked.
      const last = header.firstIndex + header.entryCount - 1;
      const mayTrust = range.isClosed && last <= this.#trustedIndex;
      if (!this.#takeBatch(segment, bytes, {at, offset, header, mayTrust})) return offset;
      offset += header.sizeBytes;
    }
    return offset;
  }

  /** Brings the batch at `offset` into the window: as much as it says it is, and there is. */
  #holdBatch(segment: WalSegment, offset: number, available: number): Buffer {
    const window = this.#window;
    window.hold(segment, offset, Math.min(batchFixedSizeBytes, available));
    const sizeBytes = claimedSizeBytes(window.bytes, window.at(offset), segment.id);
    window.hold(segment, offset, Math.min(sizeBytes, available));
    return window.bytes;
  }

  #takeBatch(
    segment: WalSegment,
    bytes: Buffer,
    batch: BatchPlace & {readonly mayTrust: boolean},
  ): boolean {
    const {at, offset, header, mayTrust} = batch;
    this.#noteSynced(header.synced);
    if (header.entryCount > 0) {
      const term = commandTerm(bytes, at, header);
      if (term === null) {
        if (!this.#takeEntries(segment, bytes, batch)) return false;
      } else {
        if (!mayTrust && !areCommandsIntact(bytes, at, header, term)) return false;
        // Commands of one term, intact or held by the checkpoint.
        const {firstIndex, entryCount} = header;
        if (!this.#outline.takeRun(segment, offset, {firstIndex, entryCount, term})) return false;
      }
    }
    this.#hardState = header.hardState;
    return true;
  }

  #takeEntries(segment: WalSegment, bytes: Buffer, {at, offset, header}: BatchPlace): boolean {
    const entries: Entry[] = [];
    if (!visitEntries(bytes, at, header, entry => entries.push(entry))) return false;
    return this.#outline.takeEntries(segment, offset, entries);
  }

  #noteSynced(position: WalPosition): void {
    if (comparePositions(position, this.#maxSynced) > 0) this.#maxSynced = position;
  }

  #keepPrepared(newest: number): WalSegment[] {
    const prepared: WalSegment[] = [];
    let sequence = must(this.#candidates[newest], 'a segment').sequence;
    for (const {segment} of this.#candidates.slice(newest + 1)) {
      const isNext = segment.sequence === sequence + 1;
      if (!isNext || prepared.length === preparedCountMax) {
        this.#remove(segment);
        continue;
      }
      sequence++;
      segment.limit = this.#input.options.segmentSizeBytes;
      segment.filled = Math.min(segment.filled, segment.limit);
      prepared.push(segment);
    }
    return prepared;
  }

  #remove(segment: WalSegment): void {
    segment.close();
    this.#input.disk.removeSync(segment.path);
  }

  #read(segment: WalSegment, from: number, to: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(to - from);
    return bytes.subarray(0, segment.readSync(bytes, from));
  }
}
