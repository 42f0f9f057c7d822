/**
 * Latencies of many requests in bounded memory: quantiles to within 2 %, and counts between 1, 2,
 * 5, 10, … for a picture.
 */
import {assert} from '../../base/assert.ts';

/** Fine buckets for each doubling: 2^(1/36) is 1.94 % more. */
const bucketsPerDoubling = 36;
/** From 1 µs to about 18 minutes. */
const doublingCount = 30;

/** Upper bounds in milliseconds, inclusive. */
const boundsMs: readonly number[] = [-2, -1, 0, 1, 2, 3, 4, 5].flatMap(power => {
  return [1, 2, 5].map(step => Number(`${step}e${power}`));
});

export interface Bar {
  /** Milliseconds, exclusive. */
  readonly overMs: number;
  /** Milliseconds, inclusive. */
  readonly upToMs: number;
  readonly count: number;
}

export class LatencyDistribution {
  readonly #fine = new Float64Array(bucketsPerDoubling * doublingCount);
  readonly #coarse = new Float64Array(boundsMs.length + 1);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  record(ms: number): void {
    assert(ms >= 0, 'a latency of % ms', ms);
    const bucket = Math.ceil(Math.log2(Math.max(ms * 1000, 1)) * bucketsPerDoubling);
    const fine = Math.min(bucket, this.#fine.length - 1);
    this.#fine[fine] = (this.#fine[fine] ?? 0) + 1;
    const at = boundsMs.findIndex(bound => ms <= bound);
    const coarse = at < 0 ? boundsMs.length : at;
    this.#coarse[coarse] = (this.#coarse[coarse] ?? 0) + 1;
    this.#count += 1;
    this.#sumMs += ms;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count;
  }

  /** Of which `share` (0 to 1) of all are not above; 0 without any. */
  quantileMs(share: number): number {
    let left = Math.max(Math.ceil(share * this.#count), 1);
    for (const [bucket, count] of this.#fine.entries()) {
      left -= count;
      if (left <= 0) return Math.min(2 ** (bucket / bucketsPerDoubling) / 1000, this.#maxMs);
    }
    return this.#maxMs;
  }

  /** From the lowest to the highest that hold anything. */
  bars(): readonly Bar[] {
    const counts = Array.from(this.#coarse);
    const first = counts.findIndex(count => count > 0);
    const last = counts.findLastIndex(count => count > 0);
    if (first < 0) return [];
    return counts.slice(first, last + 1).map((count, i) => {
      const at = first + i;
      return {overMs: boundsMs[at - 1] ?? 0, upToMs: boundsMs[at] ?? Infinity, count};
    });
  }
}
