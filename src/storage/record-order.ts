/**
 * Record numbers in the byte order of their keys, found out only when somebody asks and then kept
 * up. A few new numbers are woven into the others; many are sorted first (record-sort.ts), piece by
 * piece or, when somebody cannot wait, at one stretch.
 */
import {assert} from '../base/assert.ts';
import type {PackedRecords} from './packed-records.ts';
import {RecordSort, runLengthMax} from './record-sort.ts';

/** Of one piece of sorting: some tenths of a millisecond. */
const pieceCost = 300_000;

/**
 * So many are woven in at a time: also some tenths of a millisecond. Several times a run, or
 * sorting would never catch up with additions that are followed by one piece of work each.
 */
const wovenCountMax = 512;

/** New numbers that are this part of the others, or more, are merged with them instead. */
const mergedPart = 1 / 8;

export class RecordOrder {
  readonly #records: PackedRecords;
  /** The first #count are in key order. */
  #sorted: Uint32Array = new Uint32Array(64);
  #count = 0;
  /** Added since; all runs but the last, #run, are full. */
  #runs: Uint32Array[] = [];
  #run = new Uint32Array(runLengthMax);
  #runLength = 0;
  /** Of what was pending when it began; `isOfAll`: of the sorted numbers too. */
  #sort: {readonly sort: RecordSort; readonly isOfAll: boolean} | null = null;
  /** In key order; to be woven in, from its end. */
  #fresh: Uint32Array = new Uint32Array(0);

  constructor(records: PackedRecords) {
    this.#records = records;
  }

  /** Each record once. True now and then: a moment to `tend` to an order that is to be kept. */
  add(id: number): boolean {
    this.#run[this.#runLength++] = id;
    if (this.#runLength < runLengthMax) return false;
    this.#runs.push(this.#run);
    this.#run = new Uint32Array(runLengthMax);
    this.#runLength = 0;
    return true;
  }

  /** Whether `update` would be short. */
  isNearlySorted(): boolean {
    const isBusy = this.#sort !== null || this.#fresh.length > 0;
    return !isBusy && this.#pendingCount() <= wovenCountMax;
  }

  /** One piece of work, if there is enough of it. Called after additions it keeps the order. */
  tend(): void {
    if (!this.isNearlySorted()) this.#advance(pieceCost);
    else if (this.#pendingCount() === wovenCountMax) this.update();
  }

  /** Sorts in what has been added since the last call, at one stretch. */
  update(): void {
    while (!this.#isSorted()) this.#advance(Infinity);
  }

  /** The record numbers in key order: a view, valid until the next `update` with news. */
  sortedView(): Uint32Array {
    assert(this.#isSorted(), 'the order is not up to date');
    return this.#sorted.subarray(0, this.#count);
  }

  /** Valid after `update`: the first position whose key is not below `key`. */
  lowerBound(key: Uint8Array): number {
    assert(this.#isSorted(), 'the order is not up to date');
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

  #isSorted(): boolean {
    return this.#sort === null && this.#fresh.length === 0 && this.#pendingCount() === 0;
  }

  #pendingCount(): number {
    return this.#runs.length * runLengthMax + this.#runLength;
  }

  #advance(costMax: number): void {
    if (this.#fresh.length > 0) {
      this.#weaveSome();
      return;
    }
    this.#sort ??= this.#beginSort();
    const sorted = this.#sort.sort.run(costMax);
    if (sorted === null) return;
    if (this.#sort.isOfAll) {
      this.#sorted = sorted;
      this.#count = sorted.length;
    } else {
      this.#fresh = sorted;
    }
    this.#sort = null;
  }

  #beginSort(): {readonly sort: RecordSort; readonly isOfAll: boolean} {
    // Weaving a few into many is much shorter than a merge of both: only thus sorting catches up
    // with additions that go on meanwhile.
    const isOfAll = this.#pendingCount() >= this.#count * mergedPart;
    const base = this.#sorted.subarray(0, isOfAll ? this.#count : 0);
    return {sort: new RecordSort(this.#records, this.#takePending(), base), isOfAll};
  }

  #weaveSome(): void {
    const rest = Math.max(0, this.#fresh.length - wovenCountMax);
    const some = this.#fresh.subarray(rest);
    this.#fresh = this.#fresh.subarray(0, rest);
    this.#reserve(this.#count + some.length);
    this.#weave(some);
    this.#count += some.length;
  }

  #takePending(): Uint32Array[] {
    const runs = this.#runs;
    if (this.#runLength > 0) runs.push(this.#run.slice(0, this.#runLength));
    this.#runs = [];
    this.#runLength = 0;
    return runs;
  }

  /** From the largest fresh record down, moves the sorted ones above it to their final place. */
  #weave(fresh: Uint32Array): void {
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
      assert(order !== 0, 'record % exists twice', id);
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
