/**
 * One change of one key, as the table `history` keeps it: docs/formats.md, "Store rows". The row
 * key says revision and sub. Never rewritten; removed once compaction made it unreachable.
 */
import {ByteReader, ByteWriter} from '../base/bytes.ts';
import {noAnchor, readAnchor, writeAnchor} from './record-row.ts';
import type {Anchor, RecordRow} from './record-row.ts';

interface EventRow {
  readonly isTombstone: boolean;
  readonly createRevision: number;
  readonly version: number;
  readonly leaseId: number;
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
  /** A view, valid until the next call of the row store; so is `value`. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const flags = {tombstone: 1, lease: 2, previous: 4, jump: 8} as const;
/** Flags, createRevision, version and depth, which every event has; behind them what flags tell. */
const fixedSizeBytes = 1 + 8 + 8 + 4;
const leaseSizeBytes = 8;
const previousSizeBytes = 8 + 4;

const writer = new ByteWriter(4096);

/** The event that made `row` the newest of `key`. The result is valid until the next call. */
export function encodeEventRowView(key: Uint8Array, row: RecordRow): Uint8Array {
  writer.reset();
  writer.u8(
    (row.isTombstone ? flags.tombstone : 0) |
      (row.leaseId === 0 ? 0 : flags.lease) |
      (row.previousRevision === 0 ? 0 : flags.previous) |
      (row.jump.revision === 0 ? 0 : flags.jump),
  );
  writer.u64(row.createRevision);
  writer.u64(row.version);
  writer.u32(row.depth);
  if (row.leaseId !== 0) writer.u64(row.leaseId);
  if (row.previousRevision !== 0) {
    writer.u64(row.previousRevision);
    writer.u32(row.previousSub);
  }
  writeAnchor(writer, row.jump);
  writer.u16(key.length);
  writer.raw(key);
  writer.raw(row.value);
  return writer.contentView();
}

/** The jump of an encoded event, without the rest. */
export function jumpOf(bytes: Uint8Array): Anchor {
  const flag = bytes[0] ?? 0;
  if ((flag & flags.jump) === 0) return noAnchor;
  const lease = (flag & flags.lease) === 0 ? 0 : leaseSizeBytes;
  const previous = (flag & flags.previous) === 0 ? 0 : previousSizeBytes;
  return readAnchor(new ByteReader(bytes, fixedSizeBytes + lease + previous));
}

export function decodeEventRow(bytes: Uint8Array): EventRow {
  const reader = new ByteReader(bytes);
  const flag = reader.u8();
  const createRevision = reader.u64();
  const version = reader.u64();
  // The depth serves whoever reads the raw rows; anchors elsewhere repeat it.
  reader.u32();
  const leaseId = (flag & flags.lease) === 0 ? 0 : reader.u64();
  const hasPrevious = (flag & flags.previous) !== 0;
  const previousRevision = hasPrevious ? reader.u64() : 0;
  const previousSub = hasPrevious ? reader.u32() : 0;
  const jump = (flag & flags.jump) === 0 ? noAnchor : readAnchor(reader);
  const key = reader.rawView(reader.u16());
  return {
    isTombstone: (flag & flags.tombstone) !== 0,
    createRevision,
    version,
    leaseId,
    previousRevision,
    previousSub,
    jump,
    key,
    value: reader.rawView(reader.remaining),
  };
}
