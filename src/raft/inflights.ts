/**
 * The appends sent to one follower and not acknowledged, oldest first: a ring of the last index and
 * the size of each. Bounds how much a slow follower can hold in buffers along the way.
 */
import {assert} from '../base/assert.ts';
import type {LogIndex} from './ids.ts';

export class Inflights {
  readonly #countMax: number;
  readonly #sizeBytesMax: number;
  /** Last index of each append. Invariant: increasing from #start over #count places. */
  readonly #lastIndexes: Float64Array;
  readonly #sizes: Float64Array;
  #start = 0;
  #count = 0;
  #sizeBytes = 0;

  constructor(bounds: {readonly countMax: number; readonly sizeBytesMax: number}) {
    assert(bounds.countMax > 0, 'the window holds at least one append');
    assert(bounds.sizeBytesMax > 0, 'the window holds at least one byte');
    this.#countMax = bounds.countMax;
    this.#sizeBytesMax = bounds.sizeBytesMax;
    this.#lastIndexes = new Float64Array(bounds.countMax);
    this.#sizes = new Float64Array(bounds.countMax);
  }

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The last append may overshoot the byte bound: an entry is never split. */
  isFull(): boolean {
    return this.#count === this.#countMax || this.#sizeBytes >= this.#sizeBytesMax;
  }

  add(append: {readonly lastIndex: LogIndex; readonly sizeBytes: number}): void {
    assert(!this.isFull(), 'append beyond the window');
    const place = (this.#start + this.#count) % this.#countMax;
    this.#lastIndexes[place] = append.lastIndex;
    this.#sizes[place] = append.sizeBytes;
    this.#count++;
    this.#sizeBytes += append.sizeBytes;
  }

  /** Forgets every append that ends at or below `index`. */
  freeTo(index: LogIndex): void {
    while (this.#count > 0 && (this.#lastIndexes[this.#start] as number) <= index) {
      this.#sizeBytes -= this.#sizes[this.#start] as number;
      this.#start = (this.#start + 1) % this.#countMax;
      this.#count--;
    }
    assert(this.#sizeBytes >= 0, 'window of % bytes', this.#sizeBytes);
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#sizeBytes = 0;
  }
}
