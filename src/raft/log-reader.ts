/**
 * The stable part of the log as raft reads it. Implemented by storage; synchronous, because the
 * core is. Invariant: firstIndex ≤ lastIndex + 1.
 */
import type {Entry} from './entry.ts';
import type {LogIndex, Term} from './ids.ts';

export interface LogReader {
  /** The smallest index `entries` can return. The entry before it is known by term only. */
  firstIndex(): LogIndex;
  /** The largest index written (not necessarily durable); firstIndex - 1 when empty. */
  lastIndex(): LogIndex;
  /** Defined for firstIndex - 1 … lastIndex; undefined outside of it (compacted or absent). */
  term(index: LogIndex): Term | undefined;
  /**
   * Entries from `from` (≥ firstIndex) to at most `to` (≤ lastIndex), both inclusive, cut so that
   * they do not exceed `sizeBytesMax`, but always at least one. Throws on a read error: the node
   * stops, it never sends an entry it could not read.
   */
  entries(range: {
    readonly from: LogIndex;
    readonly to: LogIndex;
    readonly sizeBytesMax: number;
  }): readonly Entry[];
}
