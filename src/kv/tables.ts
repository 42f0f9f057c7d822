/**
 * The tables of the store and their row keys: docs/formats.md, "Store rows". Functions that end in
 * `View` return memory that the next call of the same function reuses; RowStore copies its keys.
 */
import {assert} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';

export const tables = {
  meta: 1,
  latest: 2,
  history: 3,
  idempotency: 4,
  idempotencyQueue: 5,
  timeIndex: 6,
} as const;

/** Names one event: the sub-th change of a revision. Revision 0: none. */
export interface EventPointer {
  readonly revision: number;
  readonly sub: number;
}

export const historyKeySizeBytes = 13;

const latestKey = Buffer.alloc(2 + limits.keySizeBytesMax);
const historyKey = Buffer.alloc(historyKeySizeBytes);
const queueKey = Buffer.alloc(9);

export const metaKey: Uint8Array = Uint8Array.of(tables.meta);

export function latestKeyView(key: Uint8Array): Uint8Array {
  const size = key.length;
  assert(size > 0 && size <= limits.keySizeBytesMax, `a key of ${size} bytes`);
  latestKey[0] = tables.latest;
  latestKey.set(key, 1);
  return latestKey.subarray(0, size + 1);
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
  historyKey.writeUInt32BE(sub, 9);
  return historyKey;
}

export function historyPointer(rowKey: Uint8Array): EventPointer {
  assert(rowKey.length === historyKeySizeBytes, `a history key of ${rowKey.length} bytes`);
  const view = dataView(rowKey);
  return {revision: readU64BigEndian(view, 1), sub: view.getUint32(9)};
}

export function idempotencyKeyRow(key: string): Uint8Array {
  const rowKey = Buffer.alloc(1 + key.length);
  rowKey[0] = tables.idempotency;
  rowKey.write(key, 1, 'latin1');
  return rowKey;
}

export function idempotencyQueueKeyView(sequence: number): Uint8Array {
  queueKey[0] = tables.idempotencyQueue;
  writeU64BigEndian(queueKey, sequence, 1);
  return queueKey;
}

/** Fresh memory: scans keep two of them. */
export function timeIndexKey(ms: number, revision: number): Uint8Array {
  const rowKey = Buffer.alloc(17);
  rowKey[0] = tables.timeIndex;
  writeU64BigEndian(rowKey, ms, 1);
  writeU64BigEndian(rowKey, revision, 9);
  return rowKey;
}

export function timeIndexSample(rowKey: Uint8Array): {
  readonly ms: number;
  readonly revision: number;
} {
  assert(rowKey.length === 17, `a time index key of ${rowKey.length} bytes`);
  const view = dataView(rowKey);
  return {ms: readU64BigEndian(view, 1), revision: readU64BigEndian(view, 9)};
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function writeU64BigEndian(buffer: Buffer, value: number, offset: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, `u64 of ${value}`);
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset);
  buffer.writeUInt32BE(value % 0x1_0000_0000, offset + 4);
}

function readU64BigEndian(view: DataView, offset: number): number {
  const high = view.getUint32(offset);
  if (high > 0x1f_ffff) throw new MalformedBytesError('u64 out of range');
  return high * 0x1_0000_0000 + view.getUint32(offset + 4);
}
