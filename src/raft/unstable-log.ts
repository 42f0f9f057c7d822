/**
 * The end of the log that is not known to be durable: entries and at most one snapshot. Some are
 * still to be handed to storage, others are on their way to the disk under a sequence number.
 *
 * The ABA race that this file prevents (the disk is asynchronous, so acknowledgements are late):
 *   1. Entry (term 1, index 5) goes to the disk as sequence 7.
 *   2. A new leader truncates at 5 and sends (term 2, index 5): sequence 8.
 *   3. A third one truncates again and sends (term 3, index 5): sequence 9.
 *   4. Sequence 8 is reported durable. If index alone counted, (term 3, index 5) would be
 *      acknowledged although it is not on the disk.
 * So truncation at i clamps every outstanding write to i - 1.
 *
 * Invariants: entries are consecutive from firstIndex; stableIndex < firstIndex; without a pending
 * snapshot stableIndex = firstIndex - 1; writes increase in sequence and do not decrease in index.
 */
import {assert} from '../base/assert.ts';
import type {Entry} from './entry.ts';
import {entrySizeBytes} from './entry.ts';
import type {LogIndex, Term} from './ids.ts';
import {indexAfter, indexBefore, logIndex, maxIndex, minIndex} from './ids.ts';
import type {SnapshotMeta} from './snapshot.ts';

interface OutstandingWrite {
  readonly sequence: number;
  /** What becomes durable with this write and those before it, inclusive. */
  lastIndex: LogIndex;
}

export class UnstableLog {
  #entries: Entry[] = [];
  #firstIndex: LogIndex;
  #stableIndex: LogIndex;
  /** Last index handed to storage; ≥ stableIndex unless a snapshot waits. */
  #handedIndex: LogIndex;
  #snapshot: SnapshotMeta | null = null;
  #isSnapshotHanded = false;
  readonly #writes: OutstandingWrite[] = [];

  constructor(stableIndex: LogIndex) {
    this.#stableIndex = stableIndex;
    this.#handedIndex = stableIndex;
    this.#firstIndex = indexAfter(stableIndex);
  }

  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }

  get lastIndex(): LogIndex {
    return logIndex(this.#firstIndex + this.#entries.length - 1);
  }

  /** Durable up to here, inclusive. Falls only when the log is truncated or replaced. */
  get stableIndex(): LogIndex {
    return this.#stableIndex;
  }

  /** Received, not yet durable; the log before and at its index is gone. */
  get snapshot(): SnapshotMeta | null {
    return this.#snapshot;
  }

  term(index: LogIndex): Term | undefined {
    return this.#entries[index - this.#firstIndex]?.term;
  }

  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const {lastIndex} = this;
      assert(entry.index === lastIndex + 1, 'append % after %', entry.index, lastIndex);
      this.#entries.push(entry);
    }
  }

  /** Removes `index` and everything after it, durable or not. */
  truncateFrom(index: LogIndex): void {
    assert(index > 0 && index <= this.lastIndex, 'truncate at % of %', index, this.lastIndex);
    assert(this.#snapshot === null || index > this.#snapshot.index, 'truncate at %', index);
    const keep = indexBefore(index);
    if (index <= this.#firstIndex) {
      this.#entries = [];
      this.#firstIndex = index;
    } else {
      this.#entries.length = index - this.#firstIndex;
    }
    this.#clampTo(keep);
  }

  /** Replaces the whole log: it continues after the snapshot. */
  restore(meta: SnapshotMeta): void {
    this.#clampTo(minIndex(this.#stableIndex, indexBefore(meta.index)));
    this.#entries = [];
    this.#firstIndex = indexAfter(meta.index);
    this.#handedIndex = meta.index;
    this.#snapshot = meta;
    this.#isSnapshotHanded = false;
  }

  /** Entries from `from` to `to`, both held here, cut at `sizeBytesMax`; at least one. */
  slice(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[] {
    assert(range.from >= this.#firstIndex, 'slice from %', range.from);
    assert(range.to <= this.lastIndex, 'slice to %', range.to);
    const start = range.from - this.#firstIndex;
    const endMax = range.to - this.#firstIndex + 1;
    let end = start;
    let sizeBytes = 0;
    while (end < endMax) {
      sizeBytes += entrySizeBytes(this.#entries[end] as Entry);
      if (sizeBytes > range.sizeBytesMax && end > start) break;
      end++;
    }
    return this.#entries.slice(start, end);
  }

  hasUnhanded(): boolean {
    return (
      this.#handedIndex < this.lastIndex || (this.#snapshot !== null && !this.#isSnapshotHanded)
    );
  }

  /** Moves out what storage has not been given; `noteWrite` must follow. */
  takeUnhanded(): {readonly entries: readonly Entry[]; readonly snapshot: SnapshotMeta | null} {
    const start = this.#handedIndex + 1 - this.#firstIndex;
    assert(start >= 0, 'handed %, first %', this.#handedIndex, this.#firstIndex);
    const entries = start < this.#entries.length ? this.#entries.slice(start) : [];
    const snapshot = this.#isSnapshotHanded ? null : this.#snapshot;
    this.#handedIndex = this.lastIndex;
    this.#isSnapshotHanded = this.#snapshot !== null;
    return {entries, snapshot};
  }

  noteWrite(sequence: number): void {
    const last = this.#writes[this.#writes.length - 1];
    assert(last === undefined || last.sequence < sequence, 'write % out of order', sequence);
    this.#writes.push({sequence, lastIndex: this.#handedIndex});
  }

  /** Every write up to and including `sequence` is durable. */
  persisted(sequence: number): void {
    let stable = this.#stableIndex;
    let doneCount = 0;
    for (const write of this.#writes) {
      if (write.sequence > sequence) break;
      stable = maxIndex(stable, write.lastIndex);
      doneCount++;
    }
    this.#writes.splice(0, doneCount);
    this.#stableIndex = stable;
    if (this.#snapshot !== null && stable >= this.#snapshot.index) this.#snapshot = null;
    const drop = stable + 1 - this.#firstIndex;
    if (drop <= 0) return;
    this.#entries.splice(0, drop);
    this.#firstIndex = indexAfter(stable);
  }

  #clampTo(index: LogIndex): void {
    this.#stableIndex = minIndex(this.#stableIndex, index);
    this.#handedIndex = minIndex(this.#handedIndex, index);
    for (const write of this.#writes) write.lastIndex = minIndex(write.lastIndex, index);
  }
}
