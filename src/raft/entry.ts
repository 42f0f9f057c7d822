/**
 * One record of the replicated log. Immutable once made: leader, WAL, peers and apply all share
 * the same object and the same data bytes.
 *
 * `checksum` is the CRC-32 of the 25-byte header (term u64, index u64, proposedAtMs u64, type u8,
 * little-endian) followed by `data`. It is computed once, by the leader that makes the entry;
 * every receiver and every recovery verifies it, and nobody recomputes it.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {emptyBytes, writeU64} from '../base/bytes.ts';
import {checksum, rangeChecksum} from '../base/checksum.ts';
import type {LogIndex, Term} from './ids.ts';

/**
 * `noop`: no data, the first entry of a leader's term (Raft §8). `command`: opaque to raft.
 * `membership`: data is an encoded Membership, in force from the moment it is appended.
 */
export type EntryType = 'noop' | 'command' | 'membership';

export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly type: EntryType;
  /** Leader's wall clock, milliseconds; never decreases along the log. The state machine's time. */
  readonly proposedAtMs: number;
  readonly data: Uint8Array;
  /** Unsigned 32-bit. */
  readonly checksum: number;
}

/** What the checksum covers, beside the data. */
export type EntryHead = Pick<Entry, 'term' | 'index' | 'type' | 'proposedAtMs'>;

/** A (term, index) pair names one entry of one history (Log Matching, Raft §5.3). */
export interface EntryId {
  readonly term: Term;
  readonly index: LogIndex;
}

/** Fixed per-entry cost used wherever entries are counted in bytes. */
export const entryOverheadSizeBytes = 32;

const headerSizeBytes = 25;
const header = Buffer.alloc(headerSizeBytes);
const typeCodes: Readonly<Record<EntryType, number>> = {noop: 0, command: 1, membership: 2};
const typesByCode: readonly EntryType[] = ['noop', 'command', 'membership'];

export function entryTypeCode(type: EntryType): number {
  return typeCodes[type];
}

/** Undefined for a code nobody writes. */
export function entryTypeFromCode(code: number): EntryType | undefined {
  return typesByCode[code];
}

export function makeEntry(fields: {
  readonly term: Term;
  readonly index: LogIndex;
  readonly type: EntryType;
  readonly proposedAtMs: number;
  readonly data?: Uint8Array;
}): Entry {
  assert(fields.index > 0, 'an entry has an index above 0');
  const data = fields.data ?? emptyBytes;
  const {term, index, type, proposedAtMs} = fields;
  const sum = checksum(data, headChecksum(fields));
  return {term, index, type, proposedAtMs, data, checksum: sum};
}

export function isEntryIntact(entry: Entry): boolean {
  return checksum(entry.data, headChecksum(entry)) === entry.checksum;
}

/** The checksum of an entry with this head whose data are `bytes[from … to)`. */
export function entryChecksum(
  head: EntryHead,
  bytes: Uint8Array,
  from: number,
  to: number,
): number {
  return rangeChecksum(bytes, from, to, headChecksum(head));
}

export function entrySizeBytes(entry: Entry): number {
  return entryOverheadSizeBytes + entry.data.length;
}

function headChecksum({term, index, type, proposedAtMs}: EntryHead): number {
  writeU64(header, term, 0);
  writeU64(header, index, 8);
  writeU64(header, proposedAtMs, 16);
  header[24] = typeCodes[type];
  return checksum(header);
}
