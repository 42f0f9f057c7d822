/**
 * Makes bytes durable in a segment: one positioned write, one fdatasync. Without space the same
 * bytes are written again at the same place until there is some; nothing was acknowledged, so
 * nothing is lost. Any other error is final, see wal.ts.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {isOutOfSpace} from './storage-error.ts';
import type {WalSegment} from './wal-segment.ts';

export class WalSegmentWriter {
  readonly #clock: Clock;
  readonly #retryDelayMs: number;
  readonly #onSync: (durationMs: number) => void;
  readonly #onSpaceMissing: () => void;
  readonly #onFailure: (error: Error) => void;
  #timer: Timer | null = null;
  #isSpaceMissing = false;
  #isStopped = false;

  constructor(fields: {
    readonly clock: Clock;
    readonly retryDelayMs: number;
    readonly onSync: (durationMs: number) => void;
    readonly onSpaceMissing: () => void;
    readonly onFailure: (error: Error) => void;
  }) {
    this.#clock = fields.clock;
    this.#retryDelayMs = fields.retryDelayMs;
    this.#onSync = fields.onSync;
    this.#onSpaceMissing = fields.onSpaceMissing;
    this.#onFailure = fields.onFailure;
  }

  /** What was to be written waits for space. */
  get isSpaceMissing(): boolean {
    return this.#isSpaceMissing;
  }

  /** Nothing is reported any more, nothing tried again. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Calls back when the bytes are durable. */
  write(segment: WalSegment, bytes: Uint8Array, offset: number, callback: () => void): void {
    segment.write(bytes, offset, writeError => {
      if (this.#isStopped) return;
      if (writeError !== null && isOutOfSpace(writeError)) {
        this.#waitForSpace(() => this.write(segment, bytes, offset, callback));
        return;
      }
      if (writeError !== null) {
        this.#onFailure(writeError);
        return;
      }
      const startedAtMs = this.#clock.monotonicMs();
      segment.sync(syncError => {
        this.#onSync(this.#clock.monotonicMs() - startedAtMs);
        if (this.#isStopped) return;
        if (syncError === null) callback();
        else this.#onFailure(syncError);
      });
    });
  }

  #waitForSpace(again: () => void): void {
    this.#isSpaceMissing = true;
    this.#timer = this.#clock.setTimer(this.#retryDelayMs, () => {
      this.#timer = null;
      this.#isSpaceMissing = false;
      again();
    });
    this.#onSpaceMissing();
  }
}
