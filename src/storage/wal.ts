/**
 * The write-ahead log as a writer: takes writes, merges those that wait into one batch, and makes
 * the batch durable with one positioned write and one fdatasync. One batch is in flight at a time.
 * Nothing is overwritten in place. An error of fdatasync, or of a write for another reason than
 * space, ends the log for ever: the pages may look clean and not be on the disk.
 */
import {assert, must} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import {maxIndex} from '../raft/ids.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {Disk} from './disk.ts';
import {isOutOfSpace} from './storage-error.ts';
import type {WalOptions} from './wal-options.ts';
import type {WalPosition} from './wal-record.ts';
import {batchSizeBytes, encodeBatch} from './wal-record.ts';
import {WalSegmentPool} from './wal-segment-pool.ts';
import type {SegmentHeader, WalIdentity, WalSegment} from './wal-segment.ts';
import {encodeSegmentHeader, noteSuperseded, segmentHeaderSizeBytesMax} from './wal-segment.ts';

type Callback = (error: Error | null) => void;

type HeaderFields = Omit<SegmentHeader, 'sequence' | 'identity'>;

/** A part of a write that fits into one batch; only the last part has the callback. */
interface QueuedPart {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
  readonly dataSizeBytes: number;
  readonly callback: Callback | null;
  readonly queuedAtMs: number;
}

export interface WalStart {
  readonly disk: Disk;
  readonly directory: string;
  readonly clock: Clock;
  readonly options: WalOptions;
  readonly identity: WalIdentity;
  /** Written and synced, oldest first; the last one is continued. */
  readonly segments: readonly WalSegment[];
  readonly prepared: readonly WalSegment[];
  readonly hardState: HardState;
  readonly last: EntryId;
  /** In force at `index`, for segment headers. */
  readonly membershipAt: (index: LogIndex) => MembershipRecord;
  /** A batch with entries begins at this place. */
  readonly onBatch: (batch: {
    readonly firstIndex: LogIndex;
    /** Last index of the batches before; not below firstIndex: this one supersedes. */
    readonly lastIndex: LogIndex;
    readonly segment: WalSegment;
    readonly offset: number;
  }) => void;
}

const keptBufferSizeBytesMax = 4 * 1024 * 1024;
/** A batch takes this much besides data and entry headers, at most. */
const batchOverheadSizeBytesMax = 64 + 64 + 8;

export class Wal {
  readonly #start: WalStart;
  readonly #clock: Clock;
  readonly #options: WalOptions;
  readonly #pool: WalSegmentPool;
  readonly #segments: WalSegment[];
  #current: WalSegment;
  #identity: WalIdentity;
  #queue: QueuedPart[] = [];
  #inFlight: QueuedPart[] = [];
  /** A write, a sync or a rotation is on its way. */
  #isBusy = false;
  /** Its header is being written; not yet one of the segments. */
  #rotatingTo: WalSegment | null = null;
  #error: Error | null = null;
  #closeCallback: (() => void) | null = null;
  #isClosed = false;
  #isSpaceMissing = false;
  #spaceTimer: Timer | null = null;
  #pendingSizeBytes = 0;
  #buffer = Buffer.allocUnsafe(256 * 1024);
  /** Everything before it is durable. */
  #synced: WalPosition;
  /** The last entry and the hard state in batches written so far. */
  #writtenLast: EntryId;
  #writtenHardState: HardState;
  #commit: LogIndex;
  /** Whether the durable log already says, in `synced`, that all its entries are durable. */
  #isMarked = false;
  #isMarkDue = false;
  #markTimer: Timer | null = null;
  /** Batches written; the mark timer looks whether it moves. */
  #batchCount = 0;

  constructor(start: WalStart) {
    this.#start = start;
    this.#clock = start.clock;
    this.#options = start.options;
    this.#identity = start.identity;
    this.#segments = [...start.segments];
    this.#current = must(this.#segments.at(-1), 'a log has a segment');
    this.#synced = {sequence: this.#current.sequence, offset: this.#current.end};
    this.#writtenLast = start.last;
    this.#writtenHardState = start.hardState;
    this.#commit = start.hardState.commit;
    this.#pool = new WalSegmentPool({
      disk: start.disk,
      directory: start.directory,
      clock: start.clock,
      options: start.options,
      incarnation: start.identity.incarnation,
      current: this.#current,
      prepared: start.prepared,
      onProgress: () => this.#pump(),
      onFailure: error => this.#fail(error),
    });
    this.#pool.maybeWork();
    this.#armMark();
  }

  /** Oldest first, the current one last. */
  get segments(): readonly WalSegment[] {
    return this.#segments;
  }

  get isFull(): boolean {
    return this.#pool.isFull || this.#isSpaceMissing;
  }

  get pendingSizeBytes(): number {
    return this.#pendingSizeBytes;
  }

  get pendingForMs(): number {
    const oldest = this.#inFlight[0] ?? this.#queue[0];
    return oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest.queuedAtMs;
  }

  get sizeBytes(): number {
    const written = this.#segments.reduce((sum, segment) => sum + segment.filled, 0);
    return written + this.#pool.preparedSizeBytes;
  }

  append(hardState: HardState, entries: readonly Entry[], callback: Callback): void {
    assert(this.#closeCallback === null && !this.#isClosed, 'append to a log that closes');
    if (this.#error !== null) {
      const error = this.#error;
      this.#clock.afterPoll(() => callback(error));
      return;
    }
    this.#enqueue(hardState, entries, callback);
    this.#pump();
  }

  noteCommit(commit: LogIndex): void {
    if (commit <= this.#commit) return;
    this.#commit = commit;
    this.#isMarked = false;
    this.#armMark();
  }

  /** Removes the `count` oldest segments; the log begins at the next one's start. */
  dropSegments(count: number): void {
    assert(count < this.#segments.length, `${count} of ${this.#segments.length} segments dropped`);
    for (const segment of this.#segments.splice(0, count)) this.#pool.recycle(segment);
    if (count > 0) this.#start.disk.syncDirectorySync(this.#start.directory);
  }

  /**
   * Continues after `meta` in a new segment and forgets what was before. Writes that wait are
   * superseded by it: their callbacks run without error.
   */
  reset(meta: SnapshotMeta, hardState: HardState): void {
    if (this.#error !== null) throw this.#error;
    assert(!this.#isClosed, 'reset of a closed log');
    const previous: EntryId = {index: meta.index, term: meta.term};
    const membership = {index: meta.index, membership: meta.membership};
    const header = {isStart: true, previous, previousEnd: 0, hardState, membership};
    const {segment, bytes} = this.#takeForReset(header);
    const old = this.#segments.splice(0);
    if (this.#rotatingTo !== null) old.push(this.#rotatingTo);
    this.#rotatingTo = null;
    this.#beginSegment(segment, previous, bytes.length);
    for (const dropped of old) {
      dropped.close();
      this.#start.disk.removeSync(dropped.path);
    }
    this.#start.disk.syncDirectorySync(this.#start.directory);
    this.#writtenLast = previous;
    this.#writtenHardState = hardState;
    this.#commit = maxIndex(hardState.commit, meta.index);
    this.#synced = {sequence: segment.sequence, offset: segment.end};
    const superseded = this.#queue;
    this.#queue = [];
    if (superseded.length > 0) this.#clock.afterPoll(() => this.#complete(superseded, null));
    this.#armMark();
    this.#pool.maybeWork();
  }

  /** The identity of later segment headers, once the cluster has an id. */
  setIdentity(identity: WalIdentity): void {
    assert(identity.incarnation === this.#identity.incarnation, 'the incarnation never changes');
    this.#identity = identity;
  }

  close(callback: () => void): void {
    assert(this.#closeCallback === null && !this.#isClosed, 'a log is closed once');
    this.#closeCallback = callback;
    this.#markTimer?.cancel();
    this.#markTimer = null;
    this.#isMarkDue = !this.#isMarked;
    if (this.#error !== null) this.#finishClose();
    else if (this.#isSpaceMissing) this.#abandonClose();
    else this.#pump();
  }

  #enqueue(hardState: HardState, entries: readonly Entry[], callback: Callback): void {
    const queuedAtMs = this.#clock.monotonicMs();
    let from = 0;
    let size = 0;
    for (let i = 0; i < entries.length; i++) {
      const length = must(entries[i], 'an entry').data.length;
      const count = i - from + 1;
      if (count > 1 && sizeOf(count, size + length) > this.#options.batchSizeBytesMax) {
        const part = entries.slice(from, i);
        this.#queue.push({
          hardState,
          entries: part,
          dataSizeBytes: size,
          callback: null,
          queuedAtMs,
        });
        from = i;
        this.#pendingSizeBytes += size;
        size = 0;
      }
      size += length;
    }
    const rest = from === 0 ? entries : entries.slice(from);
    this.#queue.push({hardState, entries: rest, dataSizeBytes: size, callback, queuedAtMs});
    this.#pendingSizeBytes += size;
  }

  /** Starts the next operation if none is running and there is something to do. */
  #pump(): void {
    if (this.#isBusy || this.#error !== null || this.#isClosed || this.#isSpaceMissing) return;
    if (this.#queue.length === 0 && !this.#isMarkDue) {
      if (this.#closeCallback !== null) this.#finishClose();
      return;
    }
    const segment = this.#current;
    const count = this.#gather(segment.limit - segment.end);
    if (count === null) {
      if (segment.end > segment.headerSizeBytes) {
        this.#rotate();
      } else {
        // Larger than a segment: it gets one of its own size.
        const part = must(this.#queue[0], 'only entries are large');
        segment.limit = segment.end + sizeOf(part.entries.length, part.dataSizeBytes);
        this.#pump();
        return;
      }
    } else if (!this.#writeBatch(segment, count)) {
      this.#pool.maybeWork();
    }
    this.#maybeAbandonClose();
  }

  /** How many queued parts go into the next batch; null when not even one fits into `room`. */
  #gather(room: number): number | null {
    const sizeMax = Math.min(room, this.#options.batchSizeBytesMax);
    let entryCount = 0;
    let size = 0;
    let nextIndex = 0;
    let count = 0;
    for (const part of this.#queue) {
      const first = part.entries[0];
      // A batch is one run of indices: what supersedes goes into a batch of its own.
      if (first !== undefined && entryCount > 0 && first.index !== nextIndex) break;
      const total = sizeOf(entryCount + part.entries.length, size + part.dataSizeBytes);
      // A single large entry may exceed the batch size, never the room.
      if (total > (count === 0 ? room : sizeMax)) break;
      entryCount += part.entries.length;
      size += part.dataSizeBytes;
      count++;
      if (first !== undefined) nextIndex = first.index + part.entries.length;
    }
    if (count === 0 && (this.#queue.length > 0 || sizeOf(0, 0) > room)) return null;
    return count;
  }

  /** False when the segment is not filled far enough yet. */
  #writeBatch(segment: WalSegment, count: number): boolean {
    let dataSizeBytes = 0;
    let entryCount = 0;
    const groups: (readonly Entry[])[] = [];
    let hardState = this.#writtenHardState;
    for (let i = 0; i < count; i++) {
      const part = must(this.#queue[i], 'a gathered part');
      dataSizeBytes += part.dataSizeBytes;
      entryCount += part.entries.length;
      hardState = part.hardState;
      if (part.entries.length > 0) groups.push(part.entries);
    }
    if (hardState.commit < this.#commit) hardState = {...hardState, commit: this.#commit};
    const voteLength = hardState.vote?.length ?? 0;
    const sizeBytes = batchSizeBytes({voteLength, entryCount, dataSizeBytes});
    const offset = segment.end;
    assert(offset + sizeBytes <= segment.limit, `batch to ${offset + sizeBytes}`);
    segment.wanted = offset + sizeBytes;
    if (segment.wanted > segment.filled) return false;
    const target = this.#bufferFor(sizeBytes);
    const {id: segmentId} = segment;
    const synced = this.#synced;
    encodeBatch(target, {
      segmentId,
      offset,
      sizeBytes,
      entryCount,
      hardState,
      synced,
      groups,
    });
    this.#inFlight = this.#queue.splice(0, count);
    this.#writtenHardState = hardState;
    this.#commit = maxIndex(this.#commit, hardState.commit);
    const firstEntry = groups[0]?.[0];
    if (firstEntry !== undefined) {
      const last = must(groups.at(-1)?.at(-1), 'the last entry');
      const firstIndex = firstEntry.index;
      this.#start.onBatch({firstIndex, lastIndex: this.#writtenLast.index, segment, offset});
      noteSuperseded(this.#segments, firstIndex);
      this.#writtenLast = {index: last.index, term: last.term};
    }
    segment.end = offset + sizeBytes;
    this.#isMarkDue = false;
    this.#isMarked = count === 0;
    this.#batchCount++;
    this.#isBusy = true;
    this.#writeAndSync(segment, target.subarray(0, sizeBytes), offset);
    return true;
  }

  #writeAndSync(segment: WalSegment, bytes: Uint8Array, offset: number): void {
    if (segment.isClosing) {
      this.#onDurable(null);
      return;
    }
    segment.write(bytes, offset, writeError => {
      if (this.#error !== null) return;
      if (segment.isClosing) {
        this.#onDurable(null);
        return;
      }
      if (writeError !== null && isOutOfSpace(writeError)) {
        // The same bytes again at the same place: nothing was acknowledged, nothing is lost.
        this.#waitForSpace(() => this.#writeAndSync(segment, bytes, offset));
        return;
      }
      if (writeError !== null) {
        this.#fail(writeError);
        return;
      }
      segment.sync(syncError => {
        if (this.#error !== null) return;
        if (syncError !== null) {
          this.#fail(syncError);
          return;
        }
        this.#onDurable(
          segment.isClosing ? null : {sequence: segment.sequence, offset: segment.end},
        );
      });
    });
  }

  /** `synced` null: the segment was dropped by a reset while the batch was on its way. */
  #onDurable(synced: WalPosition | null): void {
    if (synced !== null) this.#synced = synced;
    const done = this.#inFlight;
    this.#inFlight = [];
    this.#isBusy = false;
    if (this.#closeCallback !== null) {
      this.#complete(done, null);
      this.#pump();
      return;
    }
    // The disk works on the next batch while the callbacks run.
    this.#pump();
    this.#pool.maybeWork();
    this.#complete(done, null);
    this.#armMark();
  }

  #rotate(): void {
    const segment = this.#pool.take(segmentHeaderSizeBytesMax);
    if (segment === null) return;
    this.#isBusy = true;
    this.#rotatingTo = segment;
    const previous = this.#writtenLast;
    const bytes = this.#encodeHeader(segment, {
      isStart: false,
      previous,
      previousEnd: this.#current.end,
      hardState: this.#writtenHardState,
      membership: this.#start.membershipAt(previous.index),
    });
    this.#writeHeader(segment, bytes, previous);
  }

  #writeHeader(segment: WalSegment, bytes: Uint8Array, previous: EntryId): void {
    if (segment.isClosing) {
      this.#onDurable(null);
      return;
    }
    segment.write(bytes, 0, writeError => {
      if (this.#error !== null) return;
      if (writeError !== null && isOutOfSpace(writeError)) {
        this.#waitForSpace(() => this.#writeHeader(segment, bytes, previous));
        return;
      }
      if (writeError !== null) {
        this.#fail(writeError);
        return;
      }
      if (segment.isClosing) {
        this.#onDurable(null);
        return;
      }
      segment.sync(syncError => {
        if (this.#error !== null) return;
        if (syncError !== null) {
          this.#fail(syncError);
          return;
        }
        if (segment.isClosing) {
          this.#onDurable(null);
          return;
        }
        this.#isBusy = false;
        this.#rotatingTo = null;
        this.#beginSegment(segment, previous, bytes.length);
        this.#synced = {sequence: segment.sequence, offset: segment.end};
        this.#pump();
        this.#pool.maybeWork();
      });
    });
  }

  #beginSegment(segment: WalSegment, previous: EntryId, headerSizeBytes: number): void {
    segment.previous = previous;
    segment.headerSizeBytes = headerSizeBytes;
    segment.end = headerSizeBytes;
    segment.filled = Math.max(segment.filled, headerSizeBytes);
    this.#segments.push(segment);
    this.#current = segment;
  }

  #encodeHeader(segment: WalSegment, fields: HeaderFields): Uint8Array {
    const bytes = encodeSegmentHeader({
      ...fields,
      sequence: segment.sequence,
      identity: this.#identity,
    });
    assert(bytes.length < segment.limit, `a header of ${bytes.length} bytes`);
    return bytes;
  }

  #takeForReset(header: HeaderFields): {segment: WalSegment; bytes: Uint8Array} {
    try {
      const segment = this.#pool.takeSync(segmentHeaderSizeBytesMax);
      const bytes = this.#encodeHeader(segment, header);
      // A header alone: a crash before the sync leaves the old log as it is.
      segment.writeSync(bytes, 0);
      segment.syncSync();
      return {segment, bytes};
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  #waitForSpace(again: () => void): void {
    this.#isSpaceMissing = true;
    if (this.#closeCallback !== null) {
      this.#abandonClose();
      return;
    }
    this.#spaceTimer = this.#clock.setTimer(this.#options.retryDelayMs, () => {
      this.#spaceTimer = null;
      this.#isSpaceMissing = false;
      if (this.#error === null && !this.#isClosed) again();
    });
  }

  #bufferFor(sizeBytes: number): Buffer {
    if (sizeBytes <= this.#buffer.length) return this.#buffer;
    if (sizeBytes > keptBufferSizeBytesMax) return Buffer.allocUnsafe(sizeBytes);
    this.#buffer = Buffer.allocUnsafe(Math.max(sizeBytes, this.#buffer.length * 2));
    return this.#buffer;
  }

  /** Looks twice within the delay whether the log went quiet; if so, a sync mark is due. */
  #armMark(): void {
    if (this.#markTimer !== null || this.#isMarked || this.#closeCallback !== null) return;
    if (this.#error !== null || this.#isClosed) return;
    const batchCount = this.#batchCount;
    this.#markTimer = this.#clock.setTimer(this.#options.syncMarkDelayMs / 2, () => {
      this.#markTimer = null;
      const isQuiet = batchCount === this.#batchCount && this.#queue.length === 0 && !this.#isBusy;
      if (!isQuiet) {
        this.#armMark();
        return;
      }
      this.#isMarkDue = !this.#isMarked;
      this.#pump();
    });
  }

  #complete(parts: readonly QueuedPart[], error: Error | null): void {
    for (const part of parts) this.#pendingSizeBytes -= part.dataSizeBytes;
    assert(this.#pendingSizeBytes >= 0, `${this.#pendingSizeBytes} bytes pending`);
    for (const part of parts) part.callback?.(error);
  }

  #fail(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#pool.stop();
    this.#markTimer?.cancel();
    this.#markTimer = null;
    this.#spaceTimer?.cancel();
    this.#spaceTimer = null;
    const parts = [...this.#inFlight, ...this.#queue];
    this.#inFlight = [];
    this.#queue = [];
    this.#complete(parts, error);
    if (this.#closeCallback !== null) this.#finishClose();
  }

  #maybeAbandonClose(): void {
    if (this.#closeCallback !== null && this.isFull && !this.#isBusy) this.#abandonClose();
  }

  /** No space while closing: what waits cannot become durable, and nobody waits for space. */
  #abandonClose(): void {
    const parts = [...this.#inFlight, ...this.#queue];
    this.#inFlight = [];
    this.#queue = [];
    this.#isMarkDue = false;
    this.#spaceTimer?.cancel();
    this.#spaceTimer = null;
    const error = Object.assign(new Error('no space left for the log'), {code: 'ENOSPC'});
    this.#complete(parts, error);
    this.#finishClose();
  }

  #finishClose(): void {
    const callback = must(this.#closeCallback, 'somebody closes');
    this.#closeCallback = null;
    this.#isClosed = true;
    this.#pool.close();
    for (const segment of this.#segments) segment.close();
    this.#rotatingTo?.close();
    this.#rotatingTo = null;
    this.#clock.afterPoll(callback);
  }
}

/** Upper bound of a batch's size. */
function sizeOf(entryCount: number, dataSizeBytes: number): number {
  return batchOverheadSizeBytesMax + 28 * entryCount + dataSizeBytes + 8;
}
