/**
 * The write-ahead log as a writer: takes writes, merges those that wait into one batch, and makes
 * the batch durable with one positioned write and one fdatasync. One batch is in flight at a time.
 * Nothing is overwritten in place. An error of fdatasync, or of a write for another reason than
 * space, ends the log for ever: the pages may look clean and not be on the disk.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import {logIndex, maxIndex} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {QueuedPart, WriteCallback} from './wal-queue.ts';
import {WalQueue} from './wal-queue.ts';
import type {WalPosition} from './wal-record.ts';
import {alignUp, batchSizeBytes, encodeBatch} from './wal-record.ts';
import {WalSegmentPool} from './wal-segment-pool.ts';
import {WalSegmentWriter} from './wal-segment-writer.ts';
import type {WalIdentity, WalSegment} from './wal-segment.ts';
import {encodeSegmentHeader, noteSuperseded, segmentHeaderSizeBytesMax} from './wal-segment.ts';
import type {WalStart} from './wal-start.ts';
import {WalSyncMark} from './wal-sync-mark.ts';
import type {HeaderFields} from './written-log.ts';
import {WrittenLog} from './written-log.ts';

/** The log is to begin anew after `header.previous`. */
interface PendingReset {
  readonly header: HeaderFields;
  /** Writes that waited when it came, completed with it: their hard state is durable by then. */
  readonly superseded: QueuedPart[];
}

/** The usual one; where a system has larger pages, the last one of a write may be read first. */
const pageSizeBytes = 4096;
const keptBufferSizeBytesMax = 4 * 1024 * 1024;

export class Wal {
  readonly #start: WalStart;
  readonly #clock: Clock;
  readonly #pool: WalSegmentPool;
  readonly #queue: WalQueue;
  readonly #writer: WalSegmentWriter;
  readonly #mark: WalSyncMark;
  readonly #segments: WalSegment[];
  #current: WalSegment;
  #identity: WalIdentity;
  /** A write, a sync or a rotation is on its way. */
  #isBusy = false;
  /** Its header is being written; not yet one of the segments. */
  #rotatingTo: WalSegment | null = null;
  /** Until its segment's header is durable. Comes before everything that waits. */
  #reset: PendingReset | null = null;
  #error: Error | null = null;
  #closeCallback: (() => void) | null = null;
  #isClosed = false;
  #buffer = Buffer.allocUnsafe(256 * 1024);
  /** Everything before it is durable. */
  #synced: WalPosition;
  readonly #written: WrittenLog;
  #commit: LogIndex;

  constructor(start: WalStart) {
    this.#start = start;
    this.#clock = start.clock;
    this.#identity = start.identity;
    this.#segments = [...start.segments];
    this.#current = must(this.#segments.at(-1), 'a log has a segment');
    this.#synced = {sequence: this.#current.sequence, offset: this.#current.end};
    this.#written = new WrittenLog(start);
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
    this.#queue = new WalQueue(start.options.batchSizeBytesMax);
    this.#writer = new WalSegmentWriter({
      clock: start.clock,
      retryDelayMs: start.options.retryDelayMs,
      onSync: start.onSync,
      onSpaceMissing: () => this.#maybeAbandonClose(),
      onFailure: error => this.#fail(error),
    });
    this.#mark = new WalSyncMark({
      clock: start.clock,
      delayMs: start.options.syncMarkDelayMs,
      isIdle: () => this.#queue.isEmpty && !this.#isBusy && this.#reset === null,
      onDue: () => this.#pump(),
    });
    this.#pool.maybeWork();
    this.#mark.arm();
  }

  /** Oldest first, the current one last. None while a reset is on its way to the disk. */
  get segments(): readonly WalSegment[] {
    return this.#reset === null ? this.#segments : [];
  }

  get failure(): Error | null {
    return this.#error;
  }

  get isFull(): boolean {
    return this.#pool.isFull || this.#writer.isSpaceMissing;
  }

  get pendingSizeBytes(): number {
    return this.#queue.pendingSizeBytes;
  }

  get pendingForMs(): number {
    const sinceMs = this.#queue.oldestQueuedAtMs;
    return sinceMs === null ? 0 : this.#clock.monotonicMs() - sinceMs;
  }

  get sizeBytes(): number {
    const written = this.#segments.reduce((sum, segment) => sum + segment.filled, 0);
    return written + this.#pool.preparedSizeBytes;
  }

  append(hardState: HardState, entries: readonly Entry[], callback: WriteCallback): void {
    assert(this.#closeCallback === null && !this.#isClosed, 'append to a log that closes');
    if (this.#error !== null) {
      const error = this.#error;
      this.#clock.afterPoll(() => callback(error));
      return;
    }
    this.#queue.push(hardState, entries, callback, this.#clock.monotonicMs());
    this.#pump();
  }

  noteCommit(commit: LogIndex): void {
    if (commit <= this.#commit) return;
    this.#commit = commit;
    this.#mark.noteCommit();
  }

  /**
   * Gives up the `count` oldest segments; the log begins at the next one's start. Their entries are
   * in a durable checkpoint, so nothing waits for the names to change: a crash that brings some of
   * the segments back brings back more of the log, and recovery drops what does not belong to it.
   */
  dropSegments(count: number): void {
    assert(this.#reset === null, 'a log being reset has no segments');
    assert(count < this.#segments.length, '% of % segments dropped', count, this.#segments.length);
    for (const segment of this.#segments.splice(0, count)) this.#pool.recycle(segment);
    this.#written.dropBefore(must(this.#segments[0], 'a segment stays'));
  }

  /**
   * Continues after `meta` in a new segment and forgets what was before. Writes that wait are
   * superseded by it: their callbacks run without error when the new segment's header is durable.
   * Every later write is behind that header.
   */
  reset(meta: SnapshotMeta, hardState: HardState): void {
    if (this.#error !== null) throw this.#error;
    assert(!this.#isClosed, 'reset of a closed log');
    const superseded = [...(this.#reset?.superseded ?? []), ...this.#queue.takeWaiting()];
    // Nothing else is written before the new segment's header.
    this.#reset = {header: this.#written.reset(meta, hardState), superseded};
    this.#commit = maxIndex(hardState.commit, meta.index);
    this.#pump();
  }

  /** The identity of later segment headers, once the cluster has an id. */
  setIdentity(identity: WalIdentity): void {
    assert(identity.incarnation === this.#identity.incarnation, 'the incarnation never changes');
    this.#identity = identity;
  }

  close(callback: () => void): void {
    assert(this.#closeCallback === null && !this.#isClosed, 'a log is closed once');
    this.#closeCallback = callback;
    this.#mark.finish();
    if (this.#error !== null) this.#finishClose();
    else if (this.#writer.isSpaceMissing) this.#abandonClose();
    else this.#pump();
  }

  /** Starts the next operation if none is running and there is something to do. */
  #pump(): void {
    if (this.#isBusy || this.#error !== null || this.#isClosed) return;
    if (this.#reset !== null) {
      this.#advance(this.#reset.header);
      this.#maybeAbandonClose();
      return;
    }
    if (this.#queue.isEmpty && !this.#mark.isDue) {
      if (this.#closeCallback !== null) this.#finishClose();
      return;
    }
    const segment = this.#current;
    const count = this.#queue.countFor(segment.limit - segment.end);
    if (count === null) {
      if (segment.end > segment.headerSizeBytes) {
        this.#advance(this.#written.nextHeader(segment.end));
      } else {
        // Larger than a segment: it gets one of its own size.
        segment.limit = segment.end + this.#queue.oldestSizeBytesMax();
        this.#pump();
        return;
      }
    } else if (!this.#writeBatch(segment, count)) {
      this.#pool.maybeWork();
    }
    this.#maybeAbandonClose();
  }

  /** False when the segment is not filled far enough yet. */
  #writeBatch(segment: WalSegment, count: number): boolean {
    const {dataSizeBytes, entryCount, groups, hardState: newest} = this.#queue.gather(count);
    let hardState = newest ?? this.#written.hardState;
    // Entries that wait may replace entries below the commit index: until they are on the disk, the
    // index stands for what they replace, and a restart would apply that.
    const commit = Math.min(this.#commit, this.#queue.firstIndexBehind(count) - 1);
    if (hardState.commit < commit) hardState = {...hardState, commit: logIndex(commit)};
    const voteLength = hardState.vote?.length ?? 0;
    const sizeBytes = batchSizeBytes({voteLength, entryCount, dataSizeBytes});
    const offset = segment.end;
    assert(offset + sizeBytes <= segment.limit, 'batch to %', offset + sizeBytes);
    segment.wanted = offset + sizeBytes;
    if (segment.wanted > segment.filled) return false;
    const writtenSizeBytes = wholePagesEnd(offset + sizeBytes, segment.filled) - offset;
    const target = this.#bufferFor(writtenSizeBytes);
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
    target.fill(0, sizeBytes, writtenSizeBytes);
    this.#queue.depart(count);
    this.#written.hardState = hardState;
    this.#commit = maxIndex(this.#commit, hardState.commit);
    const firstEntry = groups[0]?.[0];
    if (firstEntry !== undefined) {
      const firstIndex = firstEntry.index;
      const lastIndex = this.#written.last.index;
      this.#start.onBatch({firstIndex, lastIndex, segment, offset});
      noteSuperseded(this.#segments, firstIndex);
      this.#written.noteBatch(offset, groups);
    }
    segment.end = offset + sizeBytes;
    this.#mark.noteBatch(count === 0);
    this.#isBusy = true;
    this.#writer.write(segment, target.subarray(0, writtenSizeBytes), offset, () => {
      this.#onDurable({sequence: segment.sequence, offset: segment.end});
    });
    return true;
  }

  #onDurable(synced: WalPosition): void {
    this.#synced = synced;
    const done = this.#queue.takeInFlight();
    this.#isBusy = false;
    if (this.#closeCallback !== null) {
      this.#queue.complete(done, null);
      this.#pump();
      return;
    }
    // The disk works on the next batch while the callbacks run.
    this.#pump();
    this.#pool.maybeWork();
    this.#queue.complete(done, null);
    this.#mark.arm();
  }

  /** The log goes on in a new segment once there is one and its header is durable. */
  #advance(header: HeaderFields): void {
    const segment = this.#pool.take(segmentHeaderSizeBytesMax);
    if (segment === null) return;
    this.#isBusy = true;
    this.#rotatingTo = segment;
    const bytes = this.#encodeHeader(segment, header);
    this.#writer.write(segment, bytes, 0, () => {
      this.#isBusy = false;
      this.#rotatingTo = null;
      const superseded = header.isStart ? this.#endReset(header) : [];
      this.#beginSegment(segment, header.previous, bytes.length);
      this.#synced = {sequence: segment.sequence, offset: segment.end};
      this.#pump();
      this.#pool.maybeWork();
      this.#queue.complete(superseded, null);
      if (header.isStart) this.#mark.arm();
    });
  }

  /** Nothing before the segment that begins is needed: a crash may bring all of it back. */
  #endReset(header: HeaderFields): readonly QueuedPart[] {
    for (const dropped of this.#segments.splice(0)) this.#pool.recycle(dropped);
    const reset = must(this.#reset, 'a reset under way');
    // Another one may have come meanwhile; what this one superseded belongs to that one too.
    if (reset.header !== header) return [];
    this.#reset = null;
    return reset.superseded;
  }

  #beginSegment(segment: WalSegment, previous: EntryId, headerSizeBytes: number): void {
    segment.previous = previous;
    segment.headerSizeBytes = headerSizeBytes;
    segment.end = headerSizeBytes;
    segment.filled = Math.max(segment.filled, headerSizeBytes);
    this.#current.closedAtMs = this.#clock.monotonicMs();
    this.#segments.push(segment);
    this.#current = segment;
    this.#written.beginSegment();
  }

  #encodeHeader(segment: WalSegment, fields: HeaderFields): Uint8Array {
    const bytes = encodeSegmentHeader({
      ...fields,
      sequence: segment.sequence,
      identity: this.#identity,
    });
    assert(bytes.length < segment.limit, 'a header of % bytes', bytes.length);
    return bytes;
  }

  #bufferFor(sizeBytes: number): Buffer {
    if (sizeBytes <= this.#buffer.length) return this.#buffer;
    if (sizeBytes > keptBufferSizeBytesMax) return Buffer.allocUnsafe(sizeBytes);
    this.#buffer = Buffer.allocUnsafe(Math.max(sizeBytes, this.#buffer.length * 2));
    return this.#buffer;
  }

  #fail(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#pool.stop();
    this.#mark.stop();
    this.#writer.stop();
    this.#completeAll(error);
    if (this.#closeCallback !== null) this.#finishClose();
  }

  #maybeAbandonClose(): void {
    const isWaiting = this.#writer.isSpaceMissing || (this.isFull && !this.#isBusy);
    if (this.#closeCallback !== null && isWaiting) this.#abandonClose();
  }

  /** No space while closing: what waits cannot become durable, and nobody waits for space. */
  #abandonClose(): void {
    this.#mark.stop();
    this.#writer.stop();
    this.#completeAll(Object.assign(new Error('no space left for the log'), {code: 'ENOSPC'}));
    this.#finishClose();
  }

  #completeAll(error: Error): void {
    const superseded = this.#reset?.superseded.splice(0) ?? [];
    const parts = [...this.#queue.takeInFlight(), ...superseded, ...this.#queue.takeWaiting()];
    this.#queue.complete(parts, error);
  }

  #finishClose(): void {
    const callback = must(this.#closeCallback, 'somebody closes');
    this.#closeCallback = null;
    this.#isClosed = true;
    this.#pool.close(() => {
      for (const segment of this.#segments) segment.close();
      this.#rotatingTo?.close();
      this.#rotatingTo = null;
      this.#clock.afterPoll(callback);
    });
  }
}

/**
 * Where a write ends: with the last page that it touches, so that no page is written in part only.
 * A segment that is used again was last touched long ago, and the system keeps such pages last of
 * all: to take a part of one it would first read it from the disk, while the event loop waits. What
 * is behind the log is of no use to anybody, and becomes zeros.
 */
function wholePagesEnd(end: number, filled: number): number {
  return Math.min(alignUp(end, pageSizeBytes), filled);
}
