/**
 * On a busy node new connections go before requests. libuv accepts one connection in each turn of
 * the event loop (since its version 1.45, pull request 3696), and a turn may take 10 ms and more:
 * of the hundreds that come at once, when a leader has died, the last one would wait for seconds.
 * Behind a turn that was long and brought a connection, requests are only received. They run when a
 * turn has brought none, or when they have waited for long enough.
 */
import type {Clock} from '../../base/clock.ts';

/** Where turns are shorter, accepting one at a time is fast enough. */
const longTurnMs = 2;
/** Turns that only accept and receive take tenths of a millisecond. */
const waitMsMax = 10;

export class Arrivals {
  readonly #clock: Clock;
  /** When the present turn began, about; null: the one before brought no connection. */
  #turnBeganMs: number | null = null;
  /** A connection, in the present turn. */
  #hasArrived = false;
  /** Since when requests have to wait; null: they run at once. */
  #waitingSinceMs: number | null = null;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether requests have to wait for them. */
  get goFirst(): boolean {
    return this.#waitingSinceMs !== null;
  }

  /** A connection was accepted. */
  note(): void {
    this.#hasArrived = true;
    if (this.#turnBeganMs !== null) return;
    this.#turnBeganMs = this.#clock.monotonicMs();
    this.#clock.afterPoll(() => this.#endTurn());
  }

  /** While they go first: runs `callback` when they no longer do. */
  defer(callback: () => void): void {
    this.#waiting.push(callback);
  }

  #endTurn(): void {
    const nowMs = this.#clock.monotonicMs();
    const turnMs = nowMs - (this.#turnBeganMs ?? nowMs);
    if (!this.#hasArrived) {
      this.#turnBeganMs = null;
      this.#runWaiting();
      return;
    }
    this.#hasArrived = false;
    this.#turnBeganMs = nowMs;
    this.#clock.afterPoll(() => this.#endTurn());
    if (this.#waitingSinceMs === null) {
      if (turnMs >= longTurnMs) this.#waitingSinceMs = nowMs;
    } else if (nowMs - this.#waitingSinceMs >= waitMsMax) {
      this.#runWaiting();
    }
  }

  #runWaiting(): void {
    this.#waitingSinceMs = null;
    for (const callback of this.#waiting.splice(0)) callback();
  }
}
