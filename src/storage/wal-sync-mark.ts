/**
 * When the log goes quiet, an empty batch, the sync mark, says that everything before it is durable
 * and how far it is committed: without it, damage to the newest batch would pass for a torn write
 * at the next start. Here is the timer that finds out that the log is quiet and a mark is due.
 */
import type {Clock, Timer} from '../base/clock.ts';

export class WalSyncMark {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #isIdle: () => boolean;
  readonly #onDue: () => void;
  #timer: Timer | null = null;
  /** Whether the durable log already says that all its entries are durable. */
  #isWritten = false;
  #isDue = false;
  #isStopped = false;
  /** Batches written; the timer looks whether it moves. */
  #batchCount = 0;

  constructor(fields: {
    readonly clock: Clock;
    readonly delayMs: number;
    readonly isIdle: () => boolean;
    readonly onDue: () => void;
  }) {
    this.#clock = fields.clock;
    this.#delayMs = fields.delayMs;
    this.#isIdle = fields.isIdle;
    this.#onDue = fields.onDue;
  }

  get isDue(): boolean {
    return this.#isDue;
  }

  noteBatch(isMark: boolean): void {
    this.#isDue = false;
    this.#isWritten = isMark;
    this.#batchCount++;
  }

  noteCommit(): void {
    this.#isWritten = false;
    this.arm();
  }

  /** Looks twice within the delay whether the log went quiet; if so, a mark is due. */
  arm(): void {
    if (this.#timer !== null || this.#isWritten || this.#isStopped) return;
    const batchCount = this.#batchCount;
    this.#timer = this.#clock.setTimer(this.#delayMs / 2, () => {
      this.#timer = null;
      if (batchCount !== this.#batchCount || !this.#isIdle()) {
        this.arm();
        return;
      }
      this.#isDue = !this.#isWritten;
      this.#onDue();
    });
  }

  /** The log closes: one last mark, now, unless it has been written. */
  finish(): void {
    this.stop();
    this.#isDue = !this.#isWritten;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#isDue = false;
    this.#isStopped = true;
  }
}
