/**
 * What a closed segment holds, in short: where some of its batches begin, and the terms and the
 * memberships of its entries. The header of the next segment states it, so that a start need not
 * read a segment whose entries the checkpoint holds. See docs/formats.md.
 */
import {assert} from '../base/assert.ts';
import {ByteReader, ByteWriter, emptyBytes, MalformedBytesError} from '../base/bytes.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {logIndex, term} from '../raft/ids.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';

export interface SegmentContents {
  /** The first batch with entries, and some of those behind it. */
  readonly places: readonly BatchStart[];
  /** The first entry, and every one whose term is not that of the entry before it. */
  readonly terms: readonly EntryId[];
  readonly memberships: readonly MembershipRecord[];
}

export interface BatchStart {
  readonly firstIndex: LogIndex;
  /** In the file. */
  readonly offset: number;
}

/** Bytes of log between two places. */
const strideSizeBytes = 64 * 1024;
/** A segment that takes more to describe is read at the start. */
const encodedSizeBytesMax = 7 * 1024;

/** Gathers the contents of the segment that is being written, or read at the start. */
export class ContentsCollector {
  #places: BatchStart[] = [];
  #terms: EntryId[] = [];
  #memberships: MembershipRecord[] = [];
  #isSuperseding = false;

  /** A segment begins. */
  begin(): void {
    this.#places = [];
    this.#terms = [];
    this.#memberships = [];
    this.#isSuperseding = false;
  }

  /** A batch with entries, in file order. `lastIndex`: the log's last index before it. */
  noteBatch(batch: BatchStart & {readonly lastIndex: LogIndex}): void {
    const {firstIndex, offset, lastIndex} = batch;
    if (firstIndex <= lastIndex) this.#isSuperseding = true;
    const before = this.#places.at(-1);
    if (before !== undefined && offset - before.offset < strideSizeBytes) return;
    this.#places.push({firstIndex, offset});
  }

  /** Entries of that batch. */
  noteEntries(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.noteRun(entry);
      if (entry.type !== 'membership') continue;
      const membership = decodeMembership(entry.data);
      this.#memberships.push({index: entry.index, membership});
    }
  }

  /** The first of some commands of one term. */
  noteRun({index, term: itsTerm}: EntryId): void {
    if (this.#terms.at(-1)?.term !== itsTerm) this.#terms.push({index, term: itsTerm});
  }

  /**
   * Of the segment as far as it goes. Null when it supersedes entries, be they its own: then the
   * order of its batches counts.
   */
  contents(): SegmentContents | null {
    if (this.#isSuperseding) return null;
    return {places: this.#places, terms: this.#terms, memberships: this.#memberships};
  }
}

/** No bytes for null, and for what would take too many. */
export function encodeContents(contents: SegmentContents | null): Uint8Array {
  if (contents === null) return emptyBytes;
  const {places, terms, memberships} = contents;
  const writer = new ByteWriter(1024);
  let before: BatchStart = {firstIndex: logIndex(0), offset: 0};
  writer.varint(places.length);
  for (const place of places) {
    writer.varint(place.firstIndex - before.firstIndex);
    writer.varint(place.offset - before.offset);
    before = place;
  }
  writer.varint(terms.length);
  for (const run of terms) {
    writer.u64(run.index);
    writer.u64(run.term);
  }
  writer.varint(memberships.length);
  for (const {index, membership} of memberships) {
    writer.u64(index);
    writer.bytes(encodeMembership(membership));
  }
  assert(writer.length > 0, 'three counts');
  return writer.length > encodedSizeBytesMax ? emptyBytes : writer.contentView();
}

/** Throws MalformedBytesError. */
export function decodeContents(bytes: Uint8Array): SegmentContents | null {
  if (bytes.length === 0) return null;
  const reader = new ByteReader(bytes);
  let firstIndex = 0;
  let offset = 0;
  const places = readList(reader, () => {
    firstIndex += reader.varint();
    offset += reader.varint();
    if (!Number.isSafeInteger(firstIndex)) throw new MalformedBytesError('an index out of range');
    return {firstIndex: logIndex(firstIndex), offset};
  });
  const terms = readList(reader, () => ({index: logIndex(reader.u64()), term: term(reader.u64())}));
  const memberships = readList(reader, () => ({
    index: logIndex(reader.u64()),
    membership: decodeMembership(reader.bytesView()),
  }));
  reader.end();
  return {places, terms, memberships};
}

/**
 * Whether a segment can hold this whose batches end at `end`, and whose entries are those behind
 * `previous` up to `last`.
 */
export function isPossible(
  {places, terms, memberships}: SegmentContents,
  range: {readonly previous: EntryId; readonly last: EntryId; readonly end: number},
): boolean {
  const {previous, last, end} = range;
  const [firstPlace] = places;
  const [firstRun] = terms;
  if (firstPlace === undefined || firstRun === undefined) {
    const isEmpty = places.length + terms.length + memberships.length === 0;
    return isEmpty && last.index === previous.index;
  }
  const first = previous.index + 1;
  const begins = firstPlace.firstIndex === first && firstRun.index === first;
  const isWithin = (index: number): boolean => index >= first && index <= last.index;
  return (
    begins &&
    firstRun.term >= previous.term &&
    terms.at(-1)?.term === last.term &&
    places.every(place => isWithin(place.firstIndex) && place.offset < end) &&
    terms.every(run => isWithin(run.index)) &&
    memberships.every(record => isWithin(record.index)) &&
    areRising(places.map(place => place.firstIndex)) &&
    areRising(places.map(place => place.offset)) &&
    areRising(terms.map(run => run.index)) &&
    areRising(terms.map(run => run.term)) &&
    areRising(memberships.map(record => record.index))
  );
}

function areRising(numbers: readonly number[]): boolean {
  return numbers.every((number, i) => i === 0 || number > (numbers[i - 1] ?? number));
}

/** A count and so many items; each takes a byte at least, so the bytes bound the list. */
function readList<Item>(reader: ByteReader, read: () => Item): Item[] {
  const count = reader.varint();
  if (count > reader.remaining) throw new MalformedBytesError(`${count} items in too few bytes`);
  return Array.from({length: count}, read);
}
