/**
 * Keeps room ahead of the log: fills the current segment with zeros some steps ahead of the writes
 * and holds the next one ready, so that an fdatasync never has to allocate blocks. Released
 * segments are renamed and used again. Works in the background, one step at a time; without space
 * it says so and tries again by itself.
 */
import {assert} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import type {Disk} from './disk.ts';
import {isOutOfSpace} from './storage-error.ts';
import type {WalOptions} from './wal-options.ts';
import {WalSegment, segmentFileName} from './wal-segment.ts';

/** Prepared segments kept at most, recycled ones included. */
const preparedCountMax = 2;
const fillStepsAhead = 8;

export class WalSegmentPool {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #options: WalOptions;
  readonly #incarnation: string;
  readonly #onProgress: () => void;
  readonly #onFailure: (error: Error) => void;
  readonly #zeros: Uint8Array;
  /** Consecutive sequence numbers behind the current segment's. */
  readonly #prepared: WalSegment[];
  #current: WalSegment;
  #isFilling = false;
  #isFull = false;
  #isStopped = false;
  #mustPrepare = false;
  /** The highest sequence number any file had. */
  #lastSequence: number;
  #retryTimer: Timer | null = null;

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
    this.#directory = fields.directory;
    this.#clock = fields.clock;
    this.#options = fields.options;
    this.#incarnation = fields.incarnation;
    this.#current = fields.current;
    this.#prepared = [...fields.prepared];
    this.#lastSequence = (fields.prepared.at(-1) ?? fields.current).sequence;
    this.#onProgress = fields.onProgress;
    this.#onFailure = fields.onFailure;
    this.#zeros = new Uint8Array(fields.options.fillStepSizeBytes);
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

  /** As `take`, but makes the segment here and now if none is ready. Throws without space. */
  takeSync(headerSizeBytes: number): WalSegment {
    for (;;) {
      const next = this.#prepared[0];
      if (next === undefined) {
        this.#create();
        continue;
      }
      if (next.filled >= headerSizeBytes || next.isIdle) return this.#use(next);
      // Its first zeros are on their way; they end in a file without a name.
      this.#prepared.shift();
      next.close();
      this.#disk.removeSync(next.path);
    }
  }

  #use(next: WalSegment): WalSegment {
    assert(this.#prepared[0] === next, `segment ${next.sequence} out of order`);
    assert(next.sequence > this.#current.sequence, 'sequence numbers rise');
    this.#prepared.shift();
    this.#current = next;
    this.#mustPrepare = false;
    return next;
  }

  /** Starts a step of work if there is any and none is running. */
  maybeWork(): void {
    if (this.#isFilling || this.#isStopped || this.#retryTimer !== null) return;
    try {
      if (this.#wantsPrepared() && this.#prepared.length === 0) {
        this.#create();
        this.#isFull = false;
        // The caller may be in the middle of a write.
        this.#clock.afterPoll(() => {
          if (this.#isStopped) return;
          this.#onProgress();
          this.maybeWork();
        });
        return;
      }
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const segment = this.#segmentToFill();
    if (segment !== null) this.#fillStep(segment);
  }

  /**
   * Takes a closed segment that is not needed any more: renamed for later use, or removed. The
   * caller syncs the directory before anything else is written.
   */
  recycle(segment: WalSegment): void {
    const canReuse =
      !this.#isStopped &&
      segment.isIdle &&
      this.#prepared.length < preparedCountMax &&
      segment.filled === this.#options.segmentSizeBytes;
    segment.close();
    if (!canReuse) {
      this.#disk.removeSync(segment.path);
      return;
    }
    const sequence = this.#lastSequence + 1;
    const target = `${this.#directory}/${segmentFileName(sequence)}`;
    this.#disk.renameSync(segment.path, target);
    this.#lastSequence = sequence;
    this.#prepared.push(this.#open(target, sequence, 'open', segment.filled));
    this.#isFull = false;
  }

  stop(): void {
    this.#isStopped = true;
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
  }

  /** Stops, and closes the prepared segments. The current one belongs to the log. */
  close(): void {
    this.stop();
    for (const segment of this.#prepared) segment.close();
    this.#prepared.length = 0;
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
    return next !== undefined && next.filled < next.limit ? next : null;
  }

  #create(): void {
    const sequence = this.#lastSequence + 1;
    const file = `${this.#directory}/${segmentFileName(sequence)}`;
    const segment = this.#open(file, sequence, 'create', 0);
    this.#lastSequence = sequence;
    this.#disk.syncDirectorySync(this.#directory);
    this.#prepared.push(segment);
  }

  #open(file: string, sequence: number, mode: 'create' | 'open', filled: number): WalSegment {
    return new WalSegment(this.#directory, sequence, {
      file: this.#disk.openSync(file, mode),
      incarnation: this.#incarnation,
      filled,
      limit: this.#options.segmentSizeBytes,
    });
  }

  #fillStep(segment: WalSegment): void {
    const from = segment.filled;
    const size = Math.min(this.#zeros.length, segment.limit - from);
    assert(size > 0, `nothing to fill in ${segment.path}`);
    assert(from >= segment.end, `zeros at ${from} would overwrite the log to ${segment.end}`);
    this.#isFilling = true;
    segment.write(this.#zeros.subarray(0, size), from, writeError => {
      if (writeError !== null || this.#isStopped || segment.isClosing) {
        this.#isFilling = false;
        if (writeError !== null) this.#onError(writeError);
        else this.maybeWork();
        return;
      }
      segment.sync(syncError => {
        this.#isFilling = false;
        if (this.#isStopped) return;
        if (syncError !== null) {
          // It may have been the log's own bytes that did not reach the disk.
          this.#onFailure(syncError);
          return;
        }
        segment.filled = from + size;
        this.#isFull = false;
        this.#onProgress();
        this.maybeWork();
      });
    });
  }

  #onError(error: Error): void {
    if (this.#isStopped) return;
    if (!isOutOfSpace(error)) {
      this.#onFailure(error);
      return;
    }
    this.#isFull = true;
    // Who closes must learn that there is no space.
    this.#clock.afterPoll(() => {
      if (!this.#isStopped) this.#onProgress();
    });
    this.#retryTimer = this.#clock.setTimer(this.#options.retryDelayMs, () => {
      this.#retryTimer = null;
      this.maybeWork();
    });
  }
}
