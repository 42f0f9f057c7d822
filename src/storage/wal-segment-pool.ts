/**
 * Keeps room ahead of the log: fills the current segment with zeros some steps ahead of the writes
 * and holds the next one ready, so that an fdatasync never has to allocate blocks. Released
 * segments are renamed and used again. Works in the background; without space it says so and tries
 * again by itself.
 */
import {assert, must} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import type {Disk} from './disk.ts';
import {isOutOfSpace} from './storage-error.ts';
import type {WalOptions} from './wal-options.ts';
import type {WalSegment} from './wal-segment.ts';
import {WalSegmentFiles} from './wal-segment-files.ts';

/** Prepared segments kept at most, recycled ones included. */
const preparedCountMax = 2;
const fillStepsAhead = 8;

export class WalSegmentPool {
  readonly #files: WalSegmentFiles;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #options: WalOptions;
  readonly #onProgress: () => void;
  readonly #onFailure: (error: Error) => void;
  readonly #zeros: Uint8Array;
  /** Consecutive sequence numbers behind the current segment's. */
  readonly #prepared: WalSegment[];
  #current: WalSegment;
  /** The segment that a step fills right now. */
  #filling: WalSegment | null = null;
  #isFull = false;
  #isStopped = false;
  #hasFailed = false;
  #mustPrepare = false;
  #retryTimer: Timer | null = null;
  #closeCallback: (() => void) | null = null;

  constructor(fields: {
    readonly disk: Disk;
    readonly directory: string;
    readonly clock: Clock;
    readonly options: WalOptions;
    readonly incarnation: string;
    readonly current: WalSegment;
    readonly prepared: readonly WalSegment[];
    /** Called after each step that made room, or failed to for lack of space. */
    readonly onProgress: () => void;
    readonly onFailure: (error: Error) => void;
  }) {
    this.#disk = fields.disk;
    this.#clock = fields.clock;
    this.#options = fields.options;
    this.#current = fields.current;
    this.#prepared = [...fields.prepared];
    this.#onProgress = fields.onProgress;
    this.#onFailure = fields.onFailure;
    this.#zeros = new Uint8Array(fields.options.fillStepSizeBytes);
    this.#files = new WalSegmentFiles({
      disk: fields.disk,
      directory: fields.directory,
      incarnation: fields.incarnation,
      segmentSizeBytes: fields.options.segmentSizeBytes,
      lastSequence: (fields.prepared.at(-1) ?? fields.current).sequence,
      onPrepared: segments => this.#onPrepared(segments),
      onSpaceMissing: () => this.#onSpaceMissing(),
      onFailure: fields.onFailure,
    });
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  get preparedSizeBytes(): number {
    return this.#prepared.reduce((sum, segment) => sum + segment.filled, 0);
  }

  /**
   * A segment to continue in, filled at least to `headerSizeBytes`, or null: `onProgress` will tell
   * when there is one. Zeros on their way to where the header goes would wipe it out.
   */
  take(headerSizeBytes: number): WalSegment | null {
    const next = this.#prepared[0];
    if (next === undefined || next.filled < headerSizeBytes) {
      this.#mustPrepare = true;
      if (next !== undefined) next.wanted = headerSizeBytes;
      this.maybeWork();
      return null;
    }
    return this.#use(next);
  }

  #use(next: WalSegment): WalSegment {
    assert(this.#prepared[0] === next, 'segment % out of order', next.sequence);
    assert(next.sequence > this.#current.sequence, 'sequence numbers rise');
    this.#prepared.shift();
    const left = this.#current;
    this.#current = next;
    if (this.#filling !== left) left.endFill();
    this.#mustPrepare = false;
    return next;
  }

  /** Starts what work there is and is not under way. */
  maybeWork(): void {
    if (this.#isStopped || this.#retryTimer !== null) return;
    const count = this.#prepared.length + this.#files.comingCount;
    if (this.#wantsPrepared() && count === 0) this.#files.create();
    if (this.#filling !== null) return;
    const segment = this.#segmentToFill();
    if (segment !== null) this.#fillStep(segment);
    else if (this.#isFull && !this.#isShort()) this.#noteRoom();
  }

  /**
   * Takes a segment that is not needed any more, because what replaces it is durable: it gets
   * another name and is used again, or is removed. Returns at once, see wal-segment-files.ts.
   */
  recycle(segment: WalSegment): void {
    const canReuse =
      this.#prepared.length + this.#files.comingCount < preparedCountMax &&
      segment.filled === this.#options.segmentSizeBytes;
    if (canReuse) this.#files.reuse(segment);
    else this.#files.remove(segment);
  }

  /** After an error: nothing more is begun. */
  stop(): void {
    this.#hasFailed = true;
    this.#beginStop();
    this.#files.stop();
    this.#maybeClosed();
  }

  /**
   * Closes the prepared segments when what is under way has ended, after an error at once. The
   * current segment belongs to the log.
   */
  close(callback: () => void): void {
    this.#beginStop();
    this.#files.finish(() => {
      this.#closeCallback = callback;
      this.#maybeClosed();
    });
  }

  #beginStop(): void {
    this.#isStopped = true;
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
  }

  #maybeClosed(): void {
    const callback = this.#closeCallback;
    if (callback === null || (this.#filling !== null && !this.#hasFailed)) return;
    this.#closeCallback = null;
    for (const segment of this.#prepared.splice(0)) segment.close();
    callback();
  }

  /** A segment is wanted that does not exist yet. */
  #isShort(): boolean {
    return this.#wantsPrepared() && this.#prepared.length === 0;
  }

  /** Full means that a step which is wanted failed: with none to take nobody would try again. */
  #noteRoom(): void {
    this.#isFull = false;
    this.#onProgress();
  }

  #wantsPrepared(): boolean {
    return this.#mustPrepare || this.#current.end * 2 > this.#current.limit;
  }

  #segmentToFill(): WalSegment | null {
    const current = this.#current;
    const ahead = current.end + fillStepsAhead * this.#options.fillStepSizeBytes;
    const target = Math.max(ahead, current.wanted);
    if (current.filled < Math.min(current.limit, target)) return current;
    const next = this.#prepared[0];
    if (next === undefined) return null;
    // Twice as fast as the log goes through the second half of the current one: all at once would
    // take disk and page cache away from the log itself.
    const paced =
      2 * current.end - current.limit + fillStepsAhead * this.#options.fillStepSizeBytes;
    return next.filled < Math.min(next.limit, Math.max(paced, next.wanted)) ? next : null;
  }

  #onPrepared(segments: readonly WalSegment[]): void {
    this.#prepared.push(...segments);
    if (this.#isStopped) return;
    this.#isFull = false;
    this.#onProgress();
    this.maybeWork();
  }

  #fillStep(segment: WalSegment): void {
    const from = segment.filled;
    const size = Math.min(this.#zeros.length, segment.limit - from);
    assert(size > 0, 'nothing to fill in %', segment.path);
    assert(from >= segment.end, 'zeros at % would overwrite the log to %', from, segment.end);
    this.#filling = segment;
    const unless =
      (next: () => void) =>
      (error: Error | null): void => {
        if (error === null && !this.#isStopped && !segment.isClosing) next();
        else this.#endStep(error);
      };
    const write = unless(() => segment.fill(this.#zeros.subarray(0, size), from, written));
    const written = unless(() =>
      segment.syncFill(error => this.#onFilled(segment, from + size, error)),
    );
    segment.prepareFill(this.#disk, write);
  }

  /** Before its sync. */
  #endStep(error: Error | null): void {
    this.#endFilling();
    if (error !== null) this.#onError(error);
    else this.maybeWork();
    this.#maybeClosed();
  }

  #onFilled(segment: WalSegment, filled: number, syncError: Error | null): void {
    this.#endFilling();
    if (syncError !== null && !this.#hasFailed) {
      // It may have been the log's own bytes that did not reach the disk.
      this.#onFailure(syncError);
      return;
    }
    if (this.#isStopped) {
      this.#maybeClosed();
      return;
    }
    segment.filled = filled;
    if (filled === segment.limit) segment.endFill();
    this.#isFull = false;
    this.#onProgress();
    this.maybeWork();
  }

  #endFilling(): void {
    const segment = must(this.#filling, 'a step is under way');
    this.#filling = null;
    // The log has gone on behind it meanwhile: no other step will follow.
    if (segment.sequence < this.#current.sequence) segment.endFill();
  }

  #onError(error: Error): void {
    if (this.#isStopped) return;
    if (!isOutOfSpace(error)) {
      this.#onFailure(error);
      return;
    }
    this.#onSpaceMissing();
  }

  #onSpaceMissing(): void {
    if (this.#isStopped) return;
    this.#isFull = true;
    // Who closes must learn that there is no space.
    this.#clock.afterPoll(() => {
      if (!this.#isStopped) this.#onProgress();
    });
    this.#retryTimer ??= this.#clock.setTimer(this.#options.retryDelayMs, () => {
      this.#retryTimer = null;
      this.maybeWork();
    });
  }
}
