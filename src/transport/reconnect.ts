/**
 * When to dial again: 20 ms doubling to 1 s, with jitter, counted from the start of the last
 * attempt. An attempt into a black hole therefore costs no extra wait when it is given up, and
 * after a partition heals the next attempt leaves within a second. Whoever waits after a failed
 * attempt leaves at once when the peer has come first (`OutgoingChannel.hurry`).
 */
import {limits} from '../base/limits.ts';
import type {Prng} from '../base/prng.ts';

export class Backoff {
  readonly #prng: Prng;
  #delayMs: number = limits.reconnectDelayMsMin;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** Between half of the current delay and all of it; the next one is twice as long. */
  nextMs(): number {
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(delayMs * 2, limits.reconnectDelayMsMax);
    return delayMs * (0.5 + 0.5 * this.#prng.float());
  }

  reset(): void {
    this.#delayMs = limits.reconnectDelayMsMin;
  }
}
