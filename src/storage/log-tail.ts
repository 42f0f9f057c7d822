/**
 * The newest entries of the log in memory, for apply and for members that keep up. An entry goes
 * when it is durable and nobody needs it, a few milliseconds after it came: the collector frees
 * young objects all at once, but copies and later looks for each that it meets twice. For a member
 * that cannot be sent any entries are kept until there are too many bytes; from then on it is not
 * waited for, since the file is read for it anyway. What was sent and got lost is read again.
 * Entries that are not durable yet are never dropped.
 */
import {assert, must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {indexAfter, minIndex} from '../raft/ids.ts';
import type {LogNeeds} from './log-store.ts';

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

  /** Drops the oldest entries: what nobody needs, and more while there are too many bytes. */
  trim(durable: LogIndex, needs: LogNeeds): void {
    const unneeded = this.#unneeded(needs);
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

  #unneeded({applied, sent}: LogNeeds): LogIndex {
    let unneeded = applied;
    for (const index of sent) {
      if (indexAfter(index) >= this.#first) unneeded = minIndex(unneeded, index);
    }
    return unneeded;
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
