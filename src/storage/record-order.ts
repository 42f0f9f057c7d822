/**
 * Record numbers in the byte order of their keys, found out only when somebody asks and then kept
 * up: numbers that came since the last question are sorted by themselves and woven in.
 */
import {assert} from '../base/assert.ts';
import type {PackedRecords} from './packed-records.ts';

export class RecordOrder {
  readonly #records: PackedRecords;
  /** The first #count are in key order. */
  #sorted = new Uint32Array(64);
  #count = 0;
  /** Added since the last `update`. */
  #pending: number[] = [];

  constructor(records: PackedRecords) {
    this.#records = records;
  }

  /** Each record once. */
  add(id: number): void {
    this.#pending.push(id);
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  /** Sorts in what has been added since the last call. */
  update(): void {
    const fresh = this.#pending;
    const [first] = fresh;
    if (first === undefined) return;
    const records = this.#records;
    fresh.sort((a, b) => records.compare(a, b));
    this.#reserve(this.#count + fresh.length);
    this.#weave(fresh);
    this.#count += fresh.length;
    this.#pending = [];
  }

  /** The record numbers in key order: a view, valid until the next `update` with news. */
  sortedView(): Uint32Array {
    assert(this.#pending.length === 0, 'the order is not up to date');
    return this.#sorted.subarray(0, this.#count);
  }

  /** Valid after `update`: the first position whose key is not below `key`. */
  lowerBound(key: Uint8Array): number {
    assert(this.#pending.length === 0, 'the order is not up to date');
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.#records.compareToKey(this.#sorted[middle] as number, key);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** From the largest fresh record down, moves the sorted ones above it to their final place. */
  #weave(fresh: readonly number[]): void {
    const sorted = this.#sorted;
    let end = this.#count;
    for (let i = fresh.length - 1; i >= 0; i--) {
      const id = fresh[i] as number;
      const position = this.#positionBelow(id, end);
      if (position < end) sorted.copyWithin(position + i + 1, position, end);
      sorted[position + i] = id;
      end = position;
    }
  }

  /** Number of records among the first `end` sorted ones with a key below that of `id`. */
  #positionBelow(id: number, end: number): number {
    let low = 0;
    let high = end;
    // Rows with growing keys all belong at the end.
    if (end > 0 && this.#records.compare(this.#sorted[end - 1] as number, id) < 0) return end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.#records.compare(this.#sorted[middle] as number, id);
      if (order === 0) assert(false, `record ${id} exists twice`);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #reserve(count: number): void {
    if (count <= this.#sorted.length) return;
    const grown = new Uint32Array(Math.max(count, this.#sorted.length * 2));
    grown.set(this.#sorted);
    this.#sorted = grown;
  }
}
