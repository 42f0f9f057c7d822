/** LogStore in memory: durable one turn later. For tests of the rooms above storage. */
import {assert, must} from '../../src/base/assert.ts';
import type {Entry} from '../../src/raft/entry.ts';
import {entrySizeBytes} from '../../src/raft/entry.ts';
import type {EntryId} from '../../src/raft/entry.ts';
import type {HardState} from '../../src/raft/hard-state.ts';
import {initialHardState} from '../../src/raft/hard-state.ts';
import type {LogIndex, Term} from '../../src/raft/ids.ts';
import {indexAfter, maxIndex, noIndex, noTerm} from '../../src/raft/ids.ts';
import type {SnapshotMeta} from '../../src/raft/snapshot.ts';
import type {LogRelease} from '../../src/storage/log-retention.ts';
import type {LogNeeds, LogStore, LogWrite} from '../../src/storage/log-store.ts';

export class FakeLogStore implements LogStore {
  readonly #schedule: (operation: () => void) => void;
  #entries: Entry[] = [];
  #start: EntryId = {index: noIndex, term: noTerm};
  #pendingSizeBytes = 0;
  #commit: LogIndex = noIndex;
  /** What a restart would find. */
  hardState: HardState = initialHardState;
  full = false;
  /** As it was told last. */
  needs: LogNeeds = {applied: noIndex, sent: []};

  constructor(schedule: (operation: () => void) => void = setImmediate) {
    this.#schedule = schedule;
  }

  firstIndex(): LogIndex {
    return indexAfter(this.#start.index);
  }

  lastIndex(): LogIndex {
    return this.#entries.at(-1)?.index ?? this.#start.index;
  }

  term(index: LogIndex): Term | undefined {
    if (index === this.#start.index) return this.#start.term;
    return this.#entries[index - this.#start.index - 1]?.term;
  }

  entries(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[] {
    assert(range.from > this.#start.index && range.to <= this.lastIndex(), 'within the log');
    const found: Entry[] = [];
    let sizeBytes = 0;
    for (let index: number = range.from; index <= range.to; index++) {
      const entry = must(this.#entries[index - this.#start.index - 1], `entry ${index}`);
      sizeBytes += entrySizeBytes(entry);
      if (sizeBytes > range.sizeBytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  append(write: LogWrite, callback: (error: Error | null) => void): void {
    const first = write.entries[0];
    if (first !== undefined) {
      assert(first.index > this.#start.index && first.index <= this.lastIndex() + 1, 'no gap');
      this.#entries.length = first.index - this.#start.index - 1;
      this.#entries.push(...write.entries);
    }
    const sizeBytes = write.entries.reduce((sum, entry) => sum + entry.data.length, 0);
    this.#pendingSizeBytes += sizeBytes;
    this.#schedule(() => {
      this.#pendingSizeBytes -= sizeBytes;
      this.hardState = write.hardState;
      callback(null);
    });
  }

  failure(): Error | null {
    return null;
  }

  isFull(): boolean {
    return this.full;
  }

  pendingSizeBytes(): number {
    return this.#pendingSizeBytes;
  }

  pendingForMs(): number {
    return 0;
  }

  noteCommit(commit: LogIndex): void {
    this.#commit = maxIndex(this.#commit, commit);
  }

  /** Nothing goes: there is no file to read it from again. */
  noteNeeds(needs: LogNeeds): void {
    this.needs = needs;
  }

  release({upTo: index}: LogRelease): void {
    const term = this.term(index);
    if (term === undefined || index <= this.#start.index) return;
    this.#entries.splice(0, index - this.#start.index);
    this.#start = {index, term};
  }

  reset(meta: SnapshotMeta, hardState: HardState): void {
    this.#entries = [];
    this.#start = {index: meta.index, term: meta.term};
    this.hardState = hardState;
  }

  size(): {readonly entryCount: number; readonly sizeBytes: number} {
    const sizeBytes = this.#entries.reduce((sum, entry) => sum + entrySizeBytes(entry), 0);
    return {entryCount: this.#entries.length, sizeBytes};
  }

  close(callback: () => void): void {
    this.#schedule(callback);
  }
}
