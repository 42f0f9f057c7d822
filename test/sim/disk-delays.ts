/**
 * How long the operations of a simulated disk take. Invariant: what was asked for before `repair`
 * ends within stuckMsMax, so that whoever waits as long has no failure of before ahead.
 */
import {assert} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import {exponential} from './sim-network.ts';

export const stuckMsMax = 4_000;
/** A checkpoint is more than one operation. */
const checkpointFactor = 2;
/** One operation of a slow disk. */
const slowMsMax = stuckMsMax / checkpointFactor;

export class DiskDelays {
  readonly #minMs: number;
  readonly #meanMs: number;
  readonly #prng: Prng;
  /** Factor of each operation. */
  slowness = 1;
  #stuckUntilMs = 0;

  constructor(
    {diskDelayMinMs, diskDelayMeanMs}: {diskDelayMinMs: number; diskDelayMeanMs: number},
    prng: Prng,
  ) {
    this.#minMs = diskDelayMinMs;
    this.#meanMs = diskDelayMeanMs;
    this.#prng = prng;
  }

  /** Nothing ends for so long, at most stuckMsMax. */
  stick(nowMs: number, durationMs: number): void {
    assert(durationMs <= stuckMsMax, 'a disk is stuck for % ms', durationMs);
    this.#stuckUntilMs = nowMs + durationMs;
  }

  repair(): void {
    this.slowness = 1;
    this.#stuckUntilMs = 0;
  }

  operationMs(nowMs: number): number {
    return this.#delayMs(nowMs, 1);
  }

  checkpointMs(nowMs: number): number {
    return this.#delayMs(nowMs, checkpointFactor);
  }

  /** Being stuck is over at one moment for all that was asked for. */
  #delayMs(nowMs: number, factor: number): number {
    const delayMs = (this.#minMs + exponential(this.#prng, this.#meanMs)) * this.slowness;
    return Math.max(Math.min(delayMs, slowMsMax) * factor, this.#stuckUntilMs - nowMs);
  }
}
