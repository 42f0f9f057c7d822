/**
 * The tables of the store and their row keys: docs/formats.md, "Store rows". Functions that end in
 * `View` return memory that the next call of the same function reuses; RowStore copies its keys.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';

export const tables = {
  meta: 1,
  latest: 2,
  history: 3,
  idempotency: 4,
  idempotencyQueue: 5,
  timeIndex: 6,
  leases: 7,
  leaseKeys: 8,
  replacedLarge: 9,
  sessions: 16,
  sessionAnswers: 17,
  sessionQueue: 18,
  endedSessions: 19,
} as const;

/** Names one event: the sub-th change of a revision. Revision 0: none. */
export interface EventPointer {
  readonly revision: number;
  readonly sub: number;
}

export const historyKeySizeBytes = 13;

const latestKey = Buffer.alloc(2 + limits.keySizeBytesMax);
/** By size; they are asked for several times per command. */
const latestKeyViews = Array.from({length: 1 + limits.keySizeBytesMax}, (_, size) =>
  latestKey.subarray(0, size + 1),
);
const historyKey = Buffer.alloc(historyKeySizeBytes);
const queueKey = Buffer.alloc(9);

export const metaKey: Uint8Array = Uint8Array.of(tables.meta);

export function latestKeyView(key: Uint8Array): Uint8Array {
  const size = key.length;
  assert(size > 0 && size <= limits.keySizeBytesMax, 'a key of % bytes', size);
  latestKey[0] = tables.latest;
  latestKey.set(key, 1);
  return must(latestKeyViews[size], 'a view of every size');
}

/** A bound of a range over latest rows; null: the end of the table. */
export function latestBound(bound: Uint8Array | null): Uint8Array {
  if (bound === null) return Uint8Array.of(tables.latest + 1);
  const rowKey = new Uint8Array(bound.length + 1);
  rowKey[0] = tables.latest;
  rowKey.set(bound, 1);
  return rowKey;
}

export function historyKeyView(revision: number, sub: number): Uint8Array {
  historyKey[0] = tables.history;
  writeU64BigEndian(historyKey, revision, 1);
  writeU32BigEndian(historyKey, sub, 9);
  return historyKey;
}

/** Fresh memory. */
export function historyRow(revision: number, sub: number): Uint8Array {
  return new Uint8Array(historyKeyView(revision, sub));
}

/** Of a row key of the history, or of the large events that were replaced. */
export function historyPointer(rowKey: Uint8Array): EventPointer {
  assert(rowKey.length === historyKeySizeBytes, 'a history key of % bytes', rowKey.length);
  const view = dataView(rowKey);
  return {revision: readU64BigEndian(view, 1), sub: view.getUint32(9)};
}

/** Of the event that replaced another. Fresh memory, as its value. */
export function replacedLargeKey(revision: number, sub: number): Uint8Array {
  const rowKey = historyRow(revision, sub);
  rowKey[0] = tables.replacedLarge;
  return rowKey;
}

/** The value of such a row: the event that was replaced. */
export function historyPointerValue(revision: number, sub: number): Uint8Array {
  const writer = new ByteWriter(12);
  writer.u64(revision);
  writer.u32(sub);
  return writer.contentView();
}

export function readPointerValue(value: Uint8Array): EventPointer {
  const reader = new ByteReader(value);
  return {revision: reader.u64(), sub: reader.u32()};
}

export function idempotencyKeyRow(key: string): Uint8Array {
  return textRow(tables.idempotency, key, 0);
}

export function idempotencyQueueKeyView(sequence: number): Uint8Array {
  queueKey[0] = tables.idempotencyQueue;
  writeU64BigEndian(queueKey, sequence, 1);
  return queueKey;
}

/** How far the queue of sessions goes; no session has an empty id. */
export const sessionMetaKey: Uint8Array = Uint8Array.of(tables.sessions);

export function sessionRow(id: string): Uint8Array {
  return textRow(tables.sessions, id, 0);
}

/** The session's rows lie side by side, by number. */
export function sessionAnswerRow(id: string, number: number): Uint8Array {
  const rowKey = textRow(tables.sessionAnswers, id, 8);
  writeU64BigEndian(rowKey, number, 1 + id.length);
  return rowKey;
}

export function sessionQueueRow(position: number): Uint8Array {
  return positionRow(tables.sessionQueue, position);
}

export function endedSessionRow(position: number): Uint8Array {
  return positionRow(tables.endedSessions, position);
}

function positionRow(table: number, position: number): Uint8Array {
  const rowKey = Buffer.alloc(9);
  rowKey[0] = table;
  writeU64BigEndian(rowKey, position, 1);
  return rowKey;
}

function textRow(table: number, text: string, restSizeBytes: number): Buffer {
  const rowKey = Buffer.alloc(1 + text.length + restSizeBytes);
  rowKey[0] = table;
  rowKey.write(text, 1, 'latin1');
  return rowKey;
}

/** Fresh memory: scans keep two of them. */
export function timeIndexKey(ms: number, revision: number): Uint8Array {
  const rowKey = Buffer.alloc(17);
  rowKey[0] = tables.timeIndex;
  writeU64BigEndian(rowKey, ms, 1);
  writeU64BigEndian(rowKey, revision, 9);
  return rowKey;
}

/** Beside the leases: no lease has the id 0, and none an id so short. */
export const leaseMetaKey: Uint8Array = Uint8Array.of(tables.leases);

export function leaseRow(id: number): Uint8Array {
  const rowKey = Buffer.alloc(9);
  rowKey[0] = tables.leases;
  writeU64BigEndian(rowKey, id, 1);
  return rowKey;
}

export function leaseIdOf(rowKey: Uint8Array): number {
  return readU64BigEndian(dataView(rowKey), 1);
}

/** The keys of a lease lie side by side. */
export function leaseKeyRow(id: number, key: Uint8Array): Uint8Array {
  const rowKey = Buffer.alloc(9 + key.length);
  rowKey[0] = tables.leaseKeys;
  writeU64BigEndian(rowKey, id, 1);
  rowKey.set(key, 9);
  return rowKey;
}

export function leaseKeyEnd(id: number): Uint8Array {
  return leaseKeyRow(id + 1, new Uint8Array(0));
}

/** A copy. */
export function leaseKeyOf(rowKey: Uint8Array): Uint8Array {
  return new Uint8Array(rowKey.subarray(9));
}

export function timeIndexSample(rowKey: Uint8Array): {
  readonly ms: number;
  readonly revision: number;
} {
  assert(rowKey.length === 17, 'a time index key of % bytes', rowKey.length);
  const view = dataView(rowKey);
  return {ms: readU64BigEndian(view, 1), revision: readU64BigEndian(view, 9)};
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function writeU64BigEndian(bytes: Uint8Array, value: number, offset: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'u64 of %', value);
  const low = value >>> 0;
  writeU32BigEndian(bytes, (value - low) / 0x1_0000_0000, offset);
  writeU32BigEndian(bytes, low, offset + 4);
}

/** Byte by byte, as in base/bytes.ts. */
function writeU32BigEndian(bytes: Uint8Array, value: number, offset: number): void {
  assert(value >>> 0 === value, 'u32 of %', value);
  assert(offset + 4 <= bytes.length, 'u32 at % of % bytes', offset, bytes.length);
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

function readU64BigEndian(view: DataView, offset: number): number {
  const high = view.getUint32(offset);
  if (high > 0x1f_ffff) throw new MalformedBytesError('u64 out of range');
  return high * 0x1_0000_0000 + view.getUint32(offset + 4);
}
