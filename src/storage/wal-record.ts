/**
 * One batch of the write-ahead log as bytes: what one write and one fdatasync make durable. The
 * table is in docs/formats.md, "Write-ahead log". Encoding writes into memory the caller reuses;
 * decoding never trusts a length it has not checked against the bytes at hand.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {readU32, readU64, writeU32, writeU64} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import type {Entry, EntryHead} from '../raft/entry.ts';
import {entryChecksum, entryTypeCode, entryTypeFromCode, isEntryIntact} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex, Term} from '../raft/ids.ts';
import {isNodeId, logIndex, noIndex, term} from '../raft/ids.ts';

/** A place in the log's bytes: positions order by segment, then by offset. */
export interface WalPosition {
  readonly sequence: number;
  readonly offset: number;
}

export interface BatchHeader {
  /** Whole batch, padding included. */
  readonly sizeBytes: number;
  readonly entryCount: number;
  readonly hardState: HardState;
  /** Everything before it was durable when the batch was written. */
  readonly synced: WalPosition;
  /** 0 when the batch has no entries. */
  readonly firstIndex: LogIndex;
  /** Relative to the batch. */
  readonly entryHeadersOffset: number;
  readonly dataOffset: number;
}

export const batchAlignment = 8;
export const entryHeaderSizeBytes = 28;
export const batchFixedSizeBytes = 64;

const magic = 0x31425752; // 'RWB1'
const crcStart = 12;
/** Term, commit index, synced sequence, first index. */
const u64Fields = [24, 32, 40, 56] as const;

export function comparePositions(a: WalPosition, b: WalPosition): number {
  return a.sequence - b.sequence || a.offset - b.offset;
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** The bytes every batch of a segment begins with: what to look for behind damage. */
export function batchNeedle(segmentId: number): Buffer {
  const needle = Buffer.alloc(8);
  needle.writeUInt32LE(magic, 0);
  needle.writeUInt32LE(segmentId, 4);
  return needle;
}

/** Bytes of a batch with this vote, entries and data bytes. */
export function batchSizeBytes(fields: {
  readonly voteLength: number;
  readonly entryCount: number;
  readonly dataSizeBytes: number;
}): number {
  const headers = entryHeadersOffset(fields.voteLength) + fields.entryCount * entryHeaderSizeBytes;
  return alignUp(headers + fields.dataSizeBytes, batchAlignment);
}

function entryHeadersOffset(voteLength: number): number {
  return batchFixedSizeBytes + alignUp(voteLength, 8);
}

/** Writes a batch to the start of `target`; `groups` are the entries in order. */
export function encodeBatch(
  target: Buffer,
  batch: {
    readonly segmentId: number;
    readonly offset: number;
    readonly sizeBytes: number;
    readonly entryCount: number;
    readonly hardState: HardState;
    readonly synced: WalPosition;
    readonly groups: readonly (readonly Entry[])[];
  },
): void {
  const {hardState, sizeBytes, entryCount} = batch;
  const vote = hardState.vote ?? '';
  const headersAt = entryHeadersOffset(vote.length);
  const dataAt = headersAt + entryCount * entryHeaderSizeBytes;
  assert(sizeBytes <= target.length, 'a batch of % bytes in %', sizeBytes, target.length);
  assert(sizeBytes % batchAlignment === 0, 'batch size %', sizeBytes);
  writeU32(target, magic, 0);
  writeU32(target, batch.segmentId, 4);
  writeU32(target, sizeBytes, 12);
  writeU32(target, entryCount, 16);
  writeU32(target, batch.offset, 20);
  writeU64(target, hardState.term, 24);
  writeU64(target, hardState.commit, 32);
  writeU64(target, batch.synced.sequence, 40);
  writeU32(target, batch.synced.offset, 48);
  writeU32(target, vote.length, 52);
  target.fill(0, batchFixedSizeBytes, headersAt);
  target.write(vote, batchFixedSizeBytes, 'latin1');
  let at = headersAt;
  let data = dataAt;
  let firstIndex: LogIndex = noIndex;
  for (const group of batch.groups) {
    for (const entry of group) {
      if (firstIndex === noIndex) firstIndex = entry.index;
      writeU64(target, entry.term, at);
      writeU64(target, entry.proposedAtMs, at + 8);
      writeU32(target, entry.data.length, at + 16);
      writeU32(target, entry.checksum, at + 20);
      writeU32(target, entryTypeCode(entry.type), at + 24);
      at += entryHeaderSizeBytes;
      target.set(entry.data, data);
      data += entry.data.length;
    }
  }
  assert(at === dataAt, '% entries announced, headers end at %', entryCount, at);
  assert(data <= sizeBytes && sizeBytes - data < batchAlignment, 'data end at %', data);
  target.fill(0, data, sizeBytes);
  writeU64(target, firstIndex, 56);
  writeU32(target, checksum(target.subarray(crcStart, dataAt), batch.segmentId), 8);
}

/**
 * The header at `bytes[at]`, which stands at `offset` of its file; null unless its checksum, which
 * covers the entry headers too, holds. `available`: bytes to the end of the file from `at`.
 */
export function decodeBatchHeader(
  bytes: Buffer,
  place: {
    readonly at: number;
    readonly offset: number;
    readonly segmentId: number;
    readonly available: number;
  },
): BatchHeader | null {
  const {at, segmentId} = place;
  if (at + batchFixedSizeBytes > bytes.length) return null;
  if (readU32(bytes, at) !== magic || readU32(bytes, at + 4) !== segmentId) return null;
  const sizeBytes = readU32(bytes, at + 12);
  const entryCount = readU32(bytes, at + 16);
  const voteLength = readU32(bytes, at + 52);
  if (sizeBytes > place.available || voteLength > 64) return null;
  const headersAt = entryHeadersOffset(voteLength);
  const dataAt = headersAt + entryCount * entryHeaderSizeBytes;
  if (dataAt > sizeBytes || at + dataAt > bytes.length) return null;
  const sum = checksum(bytes.subarray(at + crcStart, at + dataAt), segmentId);
  if (sum !== readU32(bytes, at + 8)) return null;
  // Behind a matching checksum a strange field is a write that went astray, not noise.
  if (readU32(bytes, at + 20) !== place.offset || sizeBytes % batchAlignment !== 0) return null;
  const vote = bytes.toString('latin1', at + 64, at + 64 + voteLength);
  if (vote !== '' && !isNodeId(vote)) return null;
  for (const field of u64Fields) if (!isSafeU64(bytes, at + field)) return null;
  if (!Number.isSafeInteger(readU64(bytes, at + 56) + entryCount)) return null;
  return {
    sizeBytes,
    entryCount,
    hardState: {
      term: term(readU64(bytes, at + 24)),
      vote: vote === '' ? null : vote,
      commit: logIndex(readU64(bytes, at + 32)),
    },
    synced: {sequence: readU64(bytes, at + 40), offset: readU32(bytes, at + 48)},
    firstIndex: logIndex(readU64(bytes, at + 56)),
    entryHeadersOffset: headersAt,
    dataOffset: dataAt,
  };
}

/** What the batch at `bytes[at]` says of its whole size, unchecked; 0 when none begins there. */
export function claimedSizeBytes(bytes: Buffer, at: number, segmentId: number): number {
  if (at + batchFixedSizeBytes > bytes.length) return 0;
  const isBatch = readU32(bytes, at) === magic && readU32(bytes, at + 4) === segmentId;
  return isBatch ? readU32(bytes, at + 12) : 0;
}

/** What the batch at `bytes[at]` says of the size of everything before its data, unchecked. */
export function batchHeadersSizeBytes(bytes: Buffer, at: number): number {
  const voteLength = readU32(bytes, at + 52);
  return entryHeadersOffset(voteLength) + readU32(bytes, at + 16) * entryHeaderSizeBytes;
}

/** Length of entry `ordinal`'s data. `at`: where the batch begins in `bytes`. */
export function entryDataLength(
  bytes: Buffer,
  at: number,
  header: BatchHeader,
  ordinal: number,
): number {
  return readU32(bytes, at + header.entryHeadersOffset + ordinal * entryHeaderSizeBytes + 16);
}

/**
 * The one term of all entries of the batch at `bytes[at]`, by their headers, without a look at the
 * data; null when there are several, or a membership among them, or what no entry has. A restart
 * comes here with every batch: nearly all are such a run.
 */
export function commandTerm(bytes: Buffer, at: number, header: BatchHeader): Term | null {
  let from = at + header.entryHeadersOffset;
  if (header.entryCount === 0 || !isSafeU64(bytes, from)) return null;
  const low = readU32(bytes, from);
  const high = readU32(bytes, from + 4);
  let dataEnd = header.dataOffset;
  for (let i = 0; i < header.entryCount; i++, from += entryHeaderSizeBytes) {
    const type = entryTypeFromCode(readU32(bytes, from + 24));
    if (type === undefined || type === 'membership') return null;
    if (readU32(bytes, from) !== low || readU32(bytes, from + 4) !== high) return null;
    dataEnd += readU32(bytes, from + 16);
  }
  return dataEnd <= header.sizeBytes ? term(high * 0x1_0000_0000 + low) : null;
}

/**
 * Whether every entry of the batch at `bytes[at]` is intact, as `visitEntries` would find; `common`
 * is its `commandTerm`. Makes no object for an entry: a restart looks at hundreds of thousands. The
 * whole batch must be in `bytes`.
 */
export function areCommandsIntact(
  bytes: Buffer,
  at: number,
  header: BatchHeader,
  common: Term,
): boolean {
  assert(at + header.sizeBytes <= bytes.length, 'a batch in one piece');
  const head: {-readonly [Field in keyof EntryHead]: EntryHead[Field]} = {
    term: common,
    index: header.firstIndex,
    type: 'command',
    proposedAtMs: 0,
  };
  let from = at + header.entryHeadersOffset;
  let data = at + header.dataOffset;
  for (let i = 0; i < header.entryCount; i++, from += entryHeaderSizeBytes) {
    const type = entryTypeFromCode(readU32(bytes, from + 24));
    if (type === undefined || !isSafeU64(bytes, from + 8)) return false;
    head.index = logIndex(header.firstIndex + i);
    head.type = type;
    head.proposedAtMs = readU64(bytes, from + 8);
    const dataEnd = data + readU32(bytes, from + 16);
    if (entryChecksum(head, bytes, data, dataEnd) !== readU32(bytes, from + 20)) return false;
    data = dataEnd;
  }
  return true;
}

/** Entry `ordinal` of the batch at `bytes[at]`, with `data`; null when it is not intact. */
export function decodeEntry(
  bytes: Buffer,
  at: number,
  header: BatchHeader,
  ordinal: number,
  data: Uint8Array,
): Entry | null {
  assert(ordinal < header.entryCount, 'entry % of %', ordinal, header.entryCount);
  const from = at + header.entryHeadersOffset + ordinal * entryHeaderSizeBytes;
  const type = entryTypeFromCode(readU32(bytes, from + 24));
  if (type === undefined || data.length !== readU32(bytes, from + 16)) return null;
  if (!isSafeU64(bytes, from) || !isSafeU64(bytes, from + 8)) return null;
  const entry: Entry = {
    term: term(readU64(bytes, from)),
    index: logIndex(header.firstIndex + ordinal),
    type,
    proposedAtMs: readU64(bytes, from + 8),
    data,
    checksum: readU32(bytes, from + 20),
  };
  return isEntryIntact(entry) ? entry : null;
}

/**
 * Calls `visit` for every entry of the batch at `bytes[at]`, data as views; false as soon as one
 * is damaged. The whole batch must be in `bytes`.
 */
export function visitEntries(
  bytes: Buffer,
  at: number,
  header: BatchHeader,
  visit: (entry: Entry) => void,
): boolean {
  assert(at + header.sizeBytes <= bytes.length, 'a batch in one piece');
  let data = at + header.dataOffset;
  const end = at + header.sizeBytes;
  const entries: Entry[] = [];
  for (let i = 0; i < header.entryCount; i++) {
    const length = entryDataLength(bytes, at, header, i);
    if (length > end - data) return false;
    const entry = decodeEntry(bytes, at, header, i, bytes.subarray(data, data + length));
    if (entry === null) return false;
    entries.push(entry);
    data += length;
  }
  for (let i = 0; i < entries.length; i++) visit(must(entries[i], 'an entry'));
  return true;
}

/** Whether the integer fits a number: at most 2^53 - 1, which no writer exceeds. */
function isSafeU64(bytes: Buffer, at: number): boolean {
  return readU32(bytes, at + 4) < 2 ** 21;
}
