/**
 * What the segments of a log say about its entries, taken up in file order by recovery: where they
 * begin and end, their terms, their memberships and where to find them. Later batches supersede
 * what earlier ones said of the same indices.
 */
import {must} from '../base/assert.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {LogIndex, Term} from '../raft/ids.ts';
import {indexBefore, logIndex, noIndex, noTerm} from '../raft/ids.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {SegmentContents} from './segment-contents.ts';
import {ContentsCollector, isPossible} from './segment-contents.ts';
import {TermRuns} from './term-runs.ts';
import {WalIndex} from './wal-index.ts';
import type {SegmentHeader, WalSegment} from './wal-segment.ts';
import {noteSuperseded} from './wal-segment.ts';

const nothing: EntryId = {index: noIndex, term: noTerm};

export class WalOutline {
  readonly index = new WalIndex();
  /** Of the segment that was begun last. */
  readonly contents = new ContentsCollector();
  #segments: WalSegment[] = [];
  #memberships: MembershipRecord[] = [];
  #terms = new TermRuns(nothing);
  #start: EntryId = nothing;
  #last: EntryId = nothing;
  /** There are segments before the first one, or there were, and others behind it. */
  #mayStartLater = false;
  #isCutInside = false;

  get segments(): readonly WalSegment[] {
    return this.#segments;
  }

  /** In force at `start`, then every later one. */
  get memberships(): readonly MembershipRecord[] {
    return this.#memberships;
  }

  get terms(): TermRuns {
    return this.#terms;
  }

  /** The entry before the first one. */
  get start(): EntryId {
    return this.#start;
  }

  get last(): EntryId {
    return this.#last;
  }

  /** A record supersedes what is before the start: the log cannot begin there. */
  get isCutInside(): boolean {
    return this.#isCutInside;
  }

  /** Forgets everything; a log is taken up that begins with a segment of this header. */
  begin(header: SegmentHeader, mayStartLater: boolean): void {
    this.#start = header.previous;
    this.#last = header.previous;
    this.#terms = new TermRuns(this.#start);
    this.#memberships = [header.membership];
    this.#segments = [];
    this.#mayStartLater = mayStartLater;
    this.#isCutInside = false;
    this.index.clear();
  }

  beginSegment(segment: WalSegment): void {
    this.#segments.push(segment);
    this.contents.begin();
  }

  /**
   * All entries of a segment, as the header of the next one states them; that header follows entry
   * `next.previous`. False: it does not, or they cannot be of this segment.
   */
  takeContents(segment: WalSegment, contents: SegmentContents, next: SegmentHeader): boolean {
    const {previous: last, previousEnd: end} = next;
    if (!isPossible(contents, {previous: this.#last, last, end})) return false;
    const {places, terms, memberships} = contents;
    for (const {firstIndex, offset} of places) {
      this.index.note({firstIndex, lastIndex: indexBefore(firstIndex), segment, offset});
    }
    for (const [i, run] of terms.entries()) {
      const following = terms[i + 1];
      this.#terms.pushRun(run, following === undefined ? last.index : indexBefore(following.index));
    }
    this.#memberships.push(...memberships);
    this.#last = last;
    return true;
  }

  /** The entries of a batch at `offset`, of any kind. False: they cannot follow. */
  takeEntries(segment: WalSegment, offset: number, entries: readonly Entry[]): boolean {
    if (!this.#follows(entries)) return false;
    this.#noteBatch(segment, offset, must(entries[0], 'an entry').index);
    this.contents.noteEntries(entries);
    for (const entry of entries) this.#terms.push(entry);
    const {index, term} = must(entries.at(-1), 'an entry');
    this.#last = {index, term};
    for (const entry of entries) {
      if (entry.type !== 'membership') continue;
      this.#memberships.push({index: entry.index, membership: decodeMembership(entry.data)});
    }
    return true;
  }

  /** So many commands of one term in a batch at `offset`. False: they cannot follow. */
  takeRun(
    segment: WalSegment,
    offset: number,
    run: {readonly firstIndex: LogIndex; readonly entryCount: number; readonly term: Term},
  ): boolean {
    const first = {index: run.firstIndex, term: run.term};
    if (!this.#follows([first])) return false;
    this.#noteBatch(segment, offset, first.index);
    this.contents.noteRun(first);
    const lastIndex = logIndex(first.index + run.entryCount - 1);
    this.#terms.pushRun(first, lastIndex);
    this.#last = {index: lastIndex, term: run.term};
    return true;
  }

  /** Whether the entries can stand in the log: no gap, terms that do not fall. */
  #follows(entries: readonly EntryId[]): boolean {
    const first = must(entries[0], 'an entry');
    if (first.index <= this.#start.index) {
      this.#isCutInside = this.#mayStartLater;
      return false;
    }
    if (first.index > this.#last.index + 1) return false;
    let term = must(this.#terms.at(indexBefore(first.index)), 'a term');
    for (const entry of entries) {
      if (entry.term < term) return false;
      term = entry.term;
    }
    return true;
  }

  /** What it supersedes is forgotten. */
  #noteBatch(segment: WalSegment, offset: number, firstIndex: LogIndex): void {
    const lastIndex = this.#last.index;
    this.index.note({firstIndex, lastIndex, segment, offset});
    this.contents.noteBatch({firstIndex, lastIndex, offset});
    noteSuperseded(this.#segments, firstIndex);
    this.#terms.truncateAfter(indexBefore(firstIndex));
    while (must(this.#memberships.at(-1), 'a membership').index >= firstIndex) {
      this.#memberships.pop();
    }
  }
}
