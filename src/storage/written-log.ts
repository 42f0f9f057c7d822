/**
 * What the log has written, superseded entries left out: it is what the header of the next segment
 * states. Of entries that wait the header knows nothing: they may be of another branch, and a crash
 * may take them away.
 */
import {must} from '../base/assert.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {ContentsCollector} from './segment-contents.ts';
import type {WalStart} from './wal-start.ts';
import type {SegmentHeader} from './wal-segment.ts';
import {WrittenMemberships} from './written-memberships.ts';

/** What the log knows of a segment's header before the segment. */
export type HeaderFields = Omit<SegmentHeader, 'sequence' | 'identity'>;

export class WrittenLog {
  /** The last entry in batches written so far. */
  #last: EntryId;
  /** Of the last batch. */
  hardState: HardState;
  readonly #memberships: WrittenMemberships;
  /** Of the current segment. */
  readonly #contents: ContentsCollector;

  constructor(start: Pick<WalStart, 'last' | 'hardState' | 'memberships' | 'contents'>) {
    this.#last = start.last;
    this.hardState = start.hardState;
    this.#memberships = new WrittenMemberships(start.memberships);
    this.#contents = start.contents;
  }

  get last(): EntryId {
    return this.#last;
  }

  /** A batch that begins at `offset` is written; the first of `groups` has an entry. */
  noteBatch(offset: number, groups: readonly (readonly Entry[])[]): void {
    const firstIndex = must(groups[0]?.[0], 'the first entry').index;
    const last = must(groups.at(-1)?.at(-1), 'the last entry');
    this.#contents.noteBatch({firstIndex, lastIndex: this.#last.index, offset});
    for (const entries of groups) this.#contents.noteEntries(entries);
    this.#memberships.noteBatch(firstIndex, groups);
    this.#last = {index: last.index, term: last.term};
  }

  /** The current segment is another one. */
  beginSegment(): void {
    this.#contents.begin();
  }

  /** Of the segment that goes on where the current one ends. */
  nextHeader(previousEnd: number): HeaderFields {
    return {
      isStart: false,
      previous: this.#last,
      previousEnd,
      hardState: this.hardState,
      membership: this.#memberships.last,
      preceding: this.#contents.contents(),
    };
  }

  /** The log begins anew after `meta`: in a segment with this header. */
  reset(meta: SnapshotMeta, hardState: HardState): HeaderFields {
    const previous: EntryId = {index: meta.index, term: meta.term};
    const membership = {index: meta.index, membership: meta.membership};
    this.#last = previous;
    this.hardState = hardState;
    this.#memberships.reset(membership);
    return {isStart: true, previous, previousEnd: 0, hardState, membership, preceding: null};
  }

  /** The log starts with a segment of this header from now on. */
  dropBefore({previous}: {readonly previous: EntryId | null}): void {
    this.#memberships.dropBefore(must(previous, 'a header').index);
  }
}
