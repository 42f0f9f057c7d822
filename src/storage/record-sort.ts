/**
 * Sorts record numbers by the bytes of their keys, in pieces of bounded work: a merge sort of short
 * runs that can stop between any two comparisons. Runs that follow each other are joined without
 * one, so rows that came in key order cost little.
 */
import {assert} from '../base/assert.ts';
import type {PackedRecords} from './packed-records.ts';

/** Numbers in one of the runs that a sort begins with. */
export const runLengthMax = 128;
const runLengthLog = 7;
/** In so short a part of a run, insertion is the faster way to sort. */
const insertedCount = 8;

/** The cost of a comparison beside the bytes it looks at. The unit is about a nanosecond. */
const comparisonCost = 32;
const copiesPerCost = 4;

interface Merge {
  readonly left: Uint32Array;
  readonly right: Uint32Array;
  readonly merged: Uint32Array;
  leftPosition: number;
  rightPosition: number;
}

export class RecordSort {
  readonly #records: PackedRecords;
  /** Runs in no order; taken from the end. */
  readonly #unsorted: Uint32Array[];
  /** Each in order. The first two are merged next, and what they become goes to the end. */
  readonly #runs: Uint32Array[] = [];
  /** What was in order before. Takes part in the last merge only: it may be much larger. */
  #base: Uint32Array | null;
  #merge: Merge | null = null;

  /** `ownedRuns`: of at most runLengthMax numbers each. `base` is in order and is only read. */
  constructor(records: PackedRecords, ownedRuns: readonly Uint32Array[], base: Uint32Array) {
    assert(ownedRuns.length > 0, 'there is something to sort');
    this.#records = records;
    // From the end, hence reversed: runs meet the neighbours they were written next to.
    this.#unsorted = ownedRuns.toReversed();
    this.#base = base.length === 0 ? null : base;
  }

  /** Works for about `costMax`. All numbers in order when that is done, else null. */
  run(costMax: number): Uint32Array | null {
    let costLeft = costMax;
    while (costLeft > 0) {
      if (this.#merge !== null) {
        costLeft -= this.#continueMerge(this.#merge, costLeft);
        continue;
      }
      const unsorted = this.#unsorted.pop();
      if (unsorted !== undefined) {
        costLeft -= sortRun(this.#records, unsorted);
        this.#runs.push(unsorted);
        continue;
      }
      const left = this.#runs.shift();
      assert(left !== undefined, 'a sort that is done is not run again');
      const right = this.#runs.shift() ?? this.#base;
      if (right === null) return left;
      if (right === this.#base) this.#base = null;
      costLeft -= this.#beginMerge(left, right);
    }
    return null;
  }

  #beginMerge(left: Uint32Array, right: Uint32Array): number {
    const merged = new Uint32Array(left.length + right.length);
    const first = this.#isBefore(left, right) ? left : this.#isBefore(right, left) ? right : null;
    if (first === null) {
      this.#merge = {left, right, merged, leftPosition: 0, rightPosition: 0};
      return 2 * comparisonCost;
    }
    merged.set(first);
    merged.set(first === left ? right : left, first.length);
    this.#runs.push(merged);
    return 2 * comparisonCost + merged.length / copiesPerCost;
  }

  /** Every key of one run is below those of the other. */
  #isBefore(run: Uint32Array, other: Uint32Array): boolean {
    return this.#records.compare(run.at(-1) ?? 0, other[0] ?? 0) < 0;
  }

  /** Returns what it cost. */
  #continueMerge(merge: Merge, costMax: number): number {
    const records = this.#records;
    const {left, right, merged} = merge;
    let {leftPosition, rightPosition} = merge;
    let cost = 0;
    while (cost < costMax && leftPosition < left.length && rightPosition < right.length) {
      const leftId = left[leftPosition] as number;
      const rightId = right[rightPosition] as number;
      const order = records.compare(leftId, rightId);
      assert(order !== 0, 'records % and % have one key', leftId, rightId);
      cost += costOfComparing(records, leftId);
      if (order < 0) merged[leftPosition++ + rightPosition] = leftId;
      else merged[leftPosition + rightPosition++] = rightId;
    }
    merge.leftPosition = leftPosition;
    merge.rightPosition = rightPosition;
    if (leftPosition < left.length && rightPosition < right.length) return cost;
    merged.set(left.subarray(leftPosition), leftPosition + rightPosition);
    merged.set(right.subarray(rightPosition), left.length + rightPosition);
    this.#merge = null;
    this.#runs.push(merged);
    return cost + (merged.length - leftPosition - rightPosition) / copiesPerCost;
  }
}

/** In place; returns what it cost. */
function sortRun(records: PackedRecords, run: Uint32Array): number {
  const {length} = run;
  assert(length <= runLengthMax, 'a run of %', length);
  let cost = 0;
  for (const id of run) cost += costOfComparing(records, id);
  if (isInOrder(records, run)) return cost;
  for (let start = 0; start < length; start += insertedCount) {
    sortByInsertion(records, run, start, Math.min(start + insertedCount, length));
  }
  for (let width = insertedCount; width < length; width *= 2) {
    for (let start = 0; start + width < length; start += 2 * width) {
      mergeNeighbours(records, run, start, {
        middle: start + width,
        end: Math.min(start + 2 * width, length),
      });
    }
  }
  return cost * runLengthLog;
}

function isInOrder(records: PackedRecords, run: Uint32Array): boolean {
  for (let i = 1; i < run.length; i++) {
    if (records.compare(run[i - 1] as number, run[i] as number) > 0) return false;
  }
  return true;
}

function sortByInsertion(
  records: PackedRecords,
  run: Uint32Array,
  start: number,
  end: number,
): void {
  for (let i = start + 1; i < end; i++) {
    const id = run[i] as number;
    let position = i;
    while (position > start && records.compare(run[position - 1] as number, id) > 0) {
      run[position] = run[position - 1] as number;
      position--;
    }
    run[position] = id;
  }
}

const leftCopy = new Uint32Array(runLengthMax);

/** Merges [start, middle) and [middle, end), each in order. */
function mergeNeighbours(
  records: PackedRecords,
  run: Uint32Array,
  start: number,
  bounds: {readonly middle: number; readonly end: number},
): void {
  const {middle, end} = bounds;
  const leftCount = middle - start;
  for (let i = 0; i < leftCount; i++) leftCopy[i] = run[start + i] as number;
  let left = 0;
  let right = middle;
  let position = start;
  // What is left on the right side stands where it belongs.
  while (left < leftCount) {
    const leftId = leftCopy[left] as number;
    const rightId = run[right] as number;
    const isRightNext = right < end && records.compare(leftId, rightId) > 0;
    run[position++] = isRightNext ? rightId : leftId;
    if (isRightNext) right++;
    else left++;
  }
}

/** PackedRecords compares the beginnings byte by byte, and what is left of long keys faster. */
function costOfComparing(records: PackedRecords, id: number): number {
  return comparisonCost + (records.keySizeBytes(id) >>> 3);
}
