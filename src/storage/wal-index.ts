/**
 * Where the entries of the log are on disk, sparsely: for some batches, the index of their first
 * entry, their segment and offset. Reading goes forward from the nearest batch at or before the
 * wanted index.
 *
 * Invariant: first indices rise strictly. A batch that supersedes entries is always recorded, and
 * removes the records at or above its first index; so between two neighbours the first copy of an
 * index met in file order, below the next neighbour's first index, is the valid one.
 */
import {assert, must} from '../base/assert.ts';
import type {LogIndex} from '../raft/ids.ts';
import {logIndex} from '../raft/ids.ts';
import type {WalSegment} from './wal-segment.ts';

/** Bytes of log between two recorded batches of a segment. */
const strideSizeBytes = 16 * 1024;

export interface BatchPlace {
  readonly firstIndex: LogIndex;
  readonly sequence: number;
  readonly offset: number;
  /** First index of the next record: what this place does not cover. Infinity for the last. */
  readonly endIndex: number;
}

export class WalIndex {
  #firstIndices = new Float64Array(256);
  #sequences = new Float64Array(256);
  #offsets = new Uint32Array(256);
  #start = 0;
  #end = 0;

  /** Batches are noted in file order. `lastIndex`: the log's last index before this batch. */
  note(batch: {
    readonly firstIndex: LogIndex;
    readonly lastIndex: LogIndex;
    readonly segment: WalSegment;
    readonly offset: number;
  }): void {
    const {firstIndex, segment, offset} = batch;
    const isSuperseding = firstIndex <= batch.lastIndex;
    while (this.#end > this.#start && this.#firstAt(this.#end - 1) >= firstIndex) this.#end--;
    if (!isSuperseding && this.#end > this.#start) {
      const last = this.#end - 1;
      const isNear =
        this.#sequences[last] === segment.sequence &&
        offset - (this.#offsets[last] as number) < strideSizeBytes;
      if (isNear) return;
    }
    if (this.#end === this.#firstIndices.length) this.#makeRoom();
    this.#firstIndices[this.#end] = firstIndex;
    this.#sequences[this.#end] = segment.sequence;
    this.#offsets[this.#end] = offset;
    this.#end++;
  }

  /** The nearest recorded batch at or before `index`. */
  find(index: LogIndex): BatchPlace {
    let low = this.#start;
    let high = this.#end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#firstAt(middle) <= index) low = middle + 1;
      else high = middle;
    }
    const at = low - 1;
    assert(at >= this.#start, 'index % lies before every batch', index);
    return {
      firstIndex: logIndex(this.#firstAt(at)),
      sequence: must(this.#sequences[at], 'a sequence number'),
      offset: must(this.#offsets[at], 'an offset'),
      endIndex: at + 1 < this.#end ? this.#firstAt(at + 1) : Number.POSITIVE_INFINITY,
    };
  }

  /** Forgets the batches of segments before `sequence`. */
  dropBefore(sequence: number): void {
    while (this.#start < this.#end && (this.#sequences[this.#start] as number) < sequence) {
      this.#start++;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#end = 0;
  }

  #firstAt(at: number): number {
    return this.#firstIndices[at] as number;
  }

  /** Moves the records to the front, or doubles the arrays when they are more than half full. */
  #makeRoom(): void {
    const count = this.#end - this.#start;
    const capacity = this.#firstIndices.length;
    const size = count * 2 > capacity ? capacity * 2 : capacity;
    const move = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from.subarray(this.#start, this.#end));
      return to;
    };
    this.#firstIndices = move(this.#firstIndices, new Float64Array(size));
    this.#sequences = move(this.#sequences, new Float64Array(size));
    this.#offsets = move(this.#offsets, new Uint32Array(size));
    this.#start = 0;
    this.#end = count;
  }
}
