/**
 * How fast snapshots leave this node, all streams together: evenly, at a rate that falls while the
 * event loop is late and comes back when it is not. A stream has time; the requests that share the
 * loop, the processors and the network with it have not. The loop of a busy leader is always late:
 * there the lowest rate holds, and holds in the mean, because what a late turn left out follows.
 */
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';

/** A timer that fires so much later than it should says that the loop has more to do. */
const latenessMsMax = 10;
/** Of the rate: what a late turn takes away, and what every other one gives back. */
const slowDownFactor = 0.5;
const speedUpFactor = 1.05;

export class SnapshotPacer {
  readonly #clock: Clock;
  /** The lowest at first: what streams need is not compiled yet, at either end. */
  #bytesPerMs: number = limits.snapshotBytesPerSecondMin / 1_000;
  /** When what was sent so far has had its time. */
  #freeAtMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is sent at the moment, while anything is. */
  get bytesPerSecond(): number {
    return this.#bytesPerMs * 1_000;
  }

  /**
   * Calls back when so many bytes may leave: before this returns when they are due, otherwise in a
   * later turn. Returns the cancellation.
   */
  take(sizeBytes: number, callback: () => void): () => void {
    const nowMs = this.#clock.monotonicMs();
    const earliestMs = nowMs - limits.snapshotBurstSizeBytesMax / this.#bytesPerMs;
    const dueAtMs = Math.max(earliestMs, this.#freeAtMs);
    this.#freeAtMs = dueAtMs + sizeBytes / this.#bytesPerMs;
    if (dueAtMs <= nowMs) {
      callback();
      return () => undefined;
    }
    const delayMs = Math.max(1, dueAtMs - nowMs);
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#adapt(this.#clock.monotonicMs() - (nowMs + delayMs) > latenessMsMax);
      callback();
    });
    return () => timer.cancel();
  }

  #adapt(isLate: boolean): void {
    const factor = isLate ? slowDownFactor : speedUpFactor;
    const lowest = limits.snapshotBytesPerSecondMin / 1_000;
    const highest = limits.snapshotBytesPerSecondMax / 1_000;
    this.#bytesPerMs = Math.min(highest, Math.max(lowest, this.#bytesPerMs * factor));
  }
}
