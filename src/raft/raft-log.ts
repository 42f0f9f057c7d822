/**
 * The log as the protocol sees it: the durable part behind LogReader and the unstable end behind
 * UnstableLog, as one sequence. The reader may still hold entries that were truncated here but not
 * yet superseded on disk; nothing above stableIndex is ever read from it.
 */
import {assert, must} from '../base/assert.ts';
import type {Entry, EntryId} from './entry.ts';
import {entrySizeBytes} from './entry.ts';
import type {LogIndex, Term} from './ids.ts';
import {indexAfter, indexBefore, logIndex, minIndex, noIndex, noTerm} from './ids.ts';
import type {LogReader} from './log-reader.ts';
import type {SnapshotMeta} from './snapshot.ts';
import {UnstableLog} from './unstable-log.ts';

export class RaftLog {
  readonly unstable: UnstableLog;
  readonly #reader: LogReader;

  constructor(reader: LogReader) {
    assert(reader.firstIndex() <= reader.lastIndex() + 1, 'the log reader has a gap');
    this.#reader = reader;
    this.unstable = new UnstableLog(reader.lastIndex());
  }

  /** The smallest index whose entry is available. */
  get firstIndex(): LogIndex {
    const snapshot = this.unstable.snapshot;
    return snapshot === null ? this.#reader.firstIndex() : indexAfter(snapshot.index);
  }

  get lastIndex(): LogIndex {
    return this.unstable.lastIndex;
  }

  get stableIndex(): LogIndex {
    return this.unstable.stableIndex;
  }

  lastId(): EntryId {
    const index = this.lastIndex;
    return {index, term: must(this.term(index), 'no term of the last entry %', index)};
  }

  /** Defined for firstIndex - 1 … lastIndex. */
  term(index: LogIndex): Term | undefined {
    if (index >= this.unstable.firstIndex) return this.unstable.term(index);
    const snapshot = this.unstable.snapshot;
    if (snapshot !== null) return index === snapshot.index ? snapshot.term : undefined;
    if (index === noIndex) return this.firstIndex === 1 ? noTerm : undefined;
    return this.#reader.term(index);
  }

  holds(id: EntryId): boolean {
    return this.term(id.index) === id.term;
  }

  /** Raft §5.4.1: the later last term wins, then the longer log. */
  isUpToDate(last: EntryId): boolean {
    const own = this.lastId();
    return last.term > own.term || (last.term === own.term && last.index >= own.index);
  }

  append(entries: readonly Entry[]): void {
    this.unstable.append(entries);
  }

  truncateFrom(index: LogIndex): void {
    this.unstable.truncateFrom(index);
  }

  restore(meta: SnapshotMeta): void {
    this.unstable.restore(meta);
  }

  /** Both ends inclusive and present; cut at `sizeBytesMax`, but at least one entry. */
  entries(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[] {
    assert(range.from >= this.firstIndex, 'entry % is compacted', range.from);
    assert(range.from <= range.to, 'empty range %..%', range.from, range.to);
    const boundary = this.unstable.firstIndex;
    if (range.from >= boundary) return this.unstable.slice(range);
    const stable = this.#reader.entries({
      from: range.from,
      to: minIndex(range.to, indexBefore(boundary)),
      sizeBytesMax: range.sizeBytesMax,
    });
    const last = must(stable[stable.length - 1], 'no entry read from %', range.from);
    assert(stable[0]?.index === range.from, 'read % for %', stable[0]?.index ?? 0, range.from);
    if (last.index !== boundary - 1 || range.to < boundary) return stable;
    let sizeBytes = 0;
    for (const entry of stable) sizeBytes += entrySizeBytes(entry);
    const left = range.sizeBytesMax - sizeBytes;
    if (left <= 0) return stable;
    const rest = this.unstable.slice({from: boundary, to: range.to, sizeBytesMax: left});
    // `slice` returns at least one entry even when it does not fit.
    const fits = rest.length > 1 || entrySizeBytes(rest[0] as Entry) <= left;
    return fits ? [...stable, ...rest] : stable;
  }

  /**
   * The last entry at or below `start.index` whose term is at most `start.term`, but not below
   * `floor`. Each side skips a whole term of the other's divergent tail with it (Raft §5.3).
   */
  lastAtOrBelow(start: EntryId, floor: LogIndex): EntryId {
    let index = minIndex(start.index, this.lastIndex);
    for (;;) {
      const term = this.term(index);
      if (term === undefined) return {index, term: noTerm};
      if (term <= start.term || index <= floor) return {index, term};
      index = logIndex(index - 1);
    }
  }
}
