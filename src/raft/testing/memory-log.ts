/**
 * A log in memory with the two states a disk has: what was written and what would survive a crash.
 * For tests and scenarios; the core sees it as a LogReader.
 */
import {assert, must} from '../../base/assert.ts';
import type {Entry, EntryId} from '../entry.ts';
import {entrySizeBytes} from '../entry.ts';
import type {HardState} from '../hard-state.ts';
import {initialHardState} from '../hard-state.ts';
import type {LogIndex, Term} from '../ids.ts';
import {indexAfter, logIndex, noIndex, noTerm} from '../ids.ts';
import type {LogReader} from '../log-reader.ts';
import type {Membership} from '../membership.ts';
import {decodeMembership} from '../membership.ts';
import type {MembershipRecord} from '../options.ts';
import type {Ready} from '../ready.ts';

interface Contents {
  readonly hardState: HardState;
  /** The entry before the first one: the last that was compacted or covered by a snapshot. */
  readonly base: EntryId;
  readonly baseMembership: Membership;
  readonly entries: readonly Entry[];
}

export class MemoryLog implements LogReader {
  #written: Contents;
  #durable: Contents;
  #queue: {readonly sequence: number; readonly ready: Ready}[] = [];

  constructor(membership: Membership) {
    const base = {term: noTerm, index: noIndex};
    this.#durable = {hardState: initialHardState, base, baseMembership: membership, entries: []};
    this.#written = this.#durable;
  }

  get hardState(): HardState {
    return this.#written.hardState;
  }

  get durableLastIndex(): LogIndex {
    return logIndex(this.#durable.base.index + this.#durable.entries.length);
  }

  get base(): EntryId {
    return this.#written.base;
  }

  get pendingCount(): number {
    return this.#queue.length;
  }

  firstIndex(): LogIndex {
    return indexAfter(this.#written.base.index);
  }

  lastIndex(): LogIndex {
    return logIndex(this.#written.base.index + this.#written.entries.length);
  }

  term(index: LogIndex): Term | undefined {
    const {base, entries} = this.#written;
    if (index === base.index) return base.term;
    return entries[index - base.index - 1]?.term;
  }

  entries(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[] {
    const {base, entries} = this.#written;
    assert(range.from > base.index && range.to <= this.lastIndex(), 'read outside of the log');
    const result: Entry[] = [];
    let sizeBytes = 0;
    for (const entry of entries.slice(range.from - base.index - 1, range.to - base.index)) {
      sizeBytes += entrySizeBytes(entry);
      if (sizeBytes > range.sizeBytesMax && result.length > 0) break;
      result.push(entry);
    }
    return result;
  }

  allEntries(): readonly Entry[] {
    return this.#written.entries;
  }

  /** What a node starting from this log is told; the first is in force at the base. */
  memberships(): MembershipRecord[] {
    const {base, baseMembership, entries} = this.#written;
    const records = [{index: base.index, membership: baseMembership}];
    for (const entry of entries) {
      if (entry.type !== 'membership') continue;
      records.push({index: entry.index, membership: decodeMembership(entry.data)});
    }
    return records;
  }

  /** Takes effect for reads at once, survives a crash after `persist`. */
  write(ready: Ready): void {
    assert(ready.mustPersist, 'nothing to write');
    this.#written = written(this.#written, ready);
    this.#queue.push({sequence: ready.sequence, ready});
  }

  /** Makes writes up to `sequence` durable; null: nothing was waiting. */
  persist(sequence = Infinity): number | null {
    let last: number | null = null;
    while (this.#queue.length > 0) {
      const next = must(this.#queue[0], 'a write waits');
      if (next.sequence > sequence) break;
      this.#durable = written(this.#durable, next.ready);
      last = next.sequence;
      this.#queue.shift();
    }
    return last;
  }

  crash(): void {
    this.#written = this.#durable;
    this.#queue = [];
  }

  /** Drops entries up to and including `index`, which must be durable and applied. */
  compact(index: LogIndex, membership: Membership): void {
    assert(index <= this.durableLastIndex, `compact ${index} beyond the durable log`);
    this.#written = compacted(this.#written, index, membership);
    this.#durable = compacted(this.#durable, index, membership);
  }
}

function written(contents: Contents, ready: Ready): Contents {
  const hardState = ready.hardState ?? contents.hardState;
  let {base, baseMembership, entries} = contents;
  if (ready.snapshot !== null) {
    base = {term: ready.snapshot.term, index: ready.snapshot.index};
    baseMembership = ready.snapshot.membership;
    entries = [];
  }
  const first = ready.entries[0];
  if (first !== undefined) {
    assert(first.index > base.index, `write ${first.index} at base ${base.index}`);
    const keep = first.index - base.index - 1;
    assert(keep <= entries.length, `a gap before ${first.index}`);
    entries = [...entries.slice(0, keep), ...ready.entries];
  }
  return {hardState, base, baseMembership, entries};
}

function compacted(contents: Contents, index: LogIndex, membership: Membership): Contents {
  const {hardState, base, entries} = contents;
  if (index <= base.index) return contents;
  const last = must(entries[index - base.index - 1], `no entry ${index} to compact to`);
  return {
    hardState,
    base: {term: last.term, index},
    baseMembership: membership,
    entries: entries.slice(index - base.index),
  };
}
