/**
 * The newest entries of the log in memory, for apply and for followers that keep up. An entry goes
 * as soon as neither needs it, a few milliseconds after it came: the collector frees young objects
 * all at once, but copies and later looks for each that it meets twice. Bounded by bytes; entries
 * that are not durable yet are never dropped.
 */
import {assert, must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {indexAfter} from '../raft/ids.ts';

/** What an entry takes in memory beside its data: its object, its view, its place in the array. */
const entryObjectSizeBytes = 280;

export class LogTail {
  readonly #sizeBytesMax: number;
  /** Consecutive; those before `#head` are dropped and wait for compaction of the array. */
  #entries: (Entry | null)[] = [];
  #head = 0;
  #sizeBytes = 0;
  #first: LogIndex;

  constructor(first: LogIndex, sizeBytesMax: number) {
    this.#first = first;
    this.#sizeBytesMax = sizeBytesMax;
  }

  /** Index of the first entry held; one behind the last when none is. */
  get first(): LogIndex {
    return this.#first;
  }

  push(entry: Entry): void {
    assert(entry.index === this.#first + this.#entries.length - this.#head, 'tail without a gap');
    this.#entries.push(entry);
    this.#sizeBytes += heldSizeBytes(entry);
  }

  get(index: LogIndex): Entry {
    return must(this.#entries[this.#head + index - this.#first], 'entry % of the tail', index);
  }

  /** Drops entries from `index` on; the next one pushed has this index. */
  truncateFrom(index: LogIndex): void {
    if (index <= this.#first) {
      this.clear(index);
      return;
    }
    const length = this.#head + index - this.#first;
    for (let i = length; i < this.#entries.length; i++) {
      this.#sizeBytes -= heldSizeBytes(must(this.#entries[i], 'an entry of the tail'));
    }
    this.#entries.length = length;
  }

  /**
   * Drops the oldest entries: those up to `unneeded`, and more while there are too many bytes, but
   * only up to `durable`. Both inclusive.
   */
  trim(durable: LogIndex, unneeded: LogIndex): void {
    while (this.#first <= durable) {
      if (this.#first > unneeded && this.#sizeBytes <= this.#sizeBytesMax) break;
      const entry = this.#entries[this.#head];
      if (entry === undefined || entry === null) break;
      this.#entries[this.#head] = null;
      this.#head++;
      this.#sizeBytes -= heldSizeBytes(entry);
      this.#first = indexAfter(this.#first);
    }
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Holds nothing; the next entry has index `next`. */
  clear(next: LogIndex): void {
    this.#entries = [];
    this.#head = 0;
    this.#sizeBytes = 0;
    this.#first = next;
  }
}

function heldSizeBytes(entry: Entry): number {
  return entryObjectSizeBytes + entry.data.length;
}
