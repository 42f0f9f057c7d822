/**
 * The newest event of a key, as the table `latest` keeps it: docs/formats.md, "Store rows". Carries
 * what the key's next event needs for its links, so that a put reads one row and writes two.
 */
import {ByteReader, ByteWriter, copyBytes, emptyBytes} from '../base/bytes.ts';
import type {KeyRecord} from './result.ts';

/** An event and its depth in the list of its key's events. Revision 0: none. */
export interface Anchor {
  readonly revision: number;
  readonly sub: number;
  readonly depth: number;
}

export const noAnchor: Anchor = {revision: 0, sub: 0, depth: 0};

export interface RecordRow {
  readonly isTombstone: boolean;
  /** As its event's. */
  readonly isLarge: boolean;
  /** 0 for a tombstone, as are version and row hash. */
  readonly createRevision: number;
  readonly modRevision: number;
  readonly sub: number;
  readonly version: number;
  readonly leaseId: number;
  /** Of this event; counts modulo 2^32. */
  readonly depth: number;
  readonly hashLow: number;
  readonly hashHigh: number;
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
  /** The jump of the event that `jump` names. */
  readonly secondJump: Anchor;
  /** Of a decoded row: a view, valid until the next call of the row store. */
  readonly value: Uint8Array;
}

/** What the key's next event starts from. */
export type RecordHead = Omit<RecordRow, 'value'>;

const flags = {tombstone: 1, lease: 2, previous: 4, jump: 8, secondJump: 16, large: 32} as const;
/** Flags, createRevision, modRevision, sub, version, depth and the row hash. */
const fixedSizeBytes = 1 + 8 + 8 + 4 + 8 + 4 + 4 + 4;
const anchorSizeBytes = 8 + 4 + 4;

const writer = new ByteWriter(4096);

/** The result is valid until the next call. */
export function encodeRecordRowView(row: RecordRow): Uint8Array {
  writer.reset();
  writer.u8(
    (row.isTombstone ? flags.tombstone : 0) |
      (row.leaseId === 0 ? 0 : flags.lease) |
      (row.previousRevision === 0 ? 0 : flags.previous) |
      (row.jump.revision === 0 ? 0 : flags.jump) |
      (row.secondJump.revision === 0 ? 0 : flags.secondJump) |
      (row.isLarge ? flags.large : 0),
  );
  writer.u64(row.createRevision);
  writer.u64(row.modRevision);
  writer.u32(row.sub);
  writer.u64(row.version);
  writer.u32(row.depth);
  writer.u32(row.hashLow);
  writer.u32(row.hashHigh);
  if (row.leaseId !== 0) writer.u64(row.leaseId);
  if (row.previousRevision !== 0) {
    writer.u64(row.previousRevision);
    writer.u32(row.previousSub);
  }
  writeAnchor(writer, row.jump);
  writeAnchor(writer, row.secondJump);
  writer.raw(row.value);
  return writer.contentView();
}

export function decodeRecordRow(bytes: Uint8Array): RecordRow {
  return decode(bytes, {wantsValue: true});
}

/** As decodeRecordRow, without a view of the value. */
export function decodeRecordHead(bytes: Uint8Array): RecordHead {
  return decode(bytes, {wantsValue: false});
}

/** The value of an encoded row alone: a view, as that of decodeRecordRow. */
export function recordValueView(bytes: Uint8Array): Uint8Array {
  const flag = bytes[0] ?? 0;
  const offset =
    fixedSizeBytes +
    ((flag & flags.lease) === 0 ? 0 : 8) +
    ((flag & flags.previous) === 0 ? 0 : 12) +
    ((flag & flags.jump) === 0 ? 0 : anchorSizeBytes) +
    ((flag & flags.secondJump) === 0 ? 0 : anchorSizeBytes);
  return bytes.subarray(offset);
}

function decode(bytes: Uint8Array, options: {readonly wantsValue: boolean}): RecordRow {
  const reader = new ByteReader(bytes);
  const flag = reader.u8();
  const createRevision = reader.u64();
  const modRevision = reader.u64();
  const sub = reader.u32();
  const version = reader.u64();
  const depth = reader.u32();
  const hashLow = reader.u32();
  const hashHigh = reader.u32();
  const leaseId = (flag & flags.lease) === 0 ? 0 : reader.u64();
  const hasPrevious = (flag & flags.previous) !== 0;
  const previousRevision = hasPrevious ? reader.u64() : 0;
  const previousSub = hasPrevious ? reader.u32() : 0;
  const jump = (flag & flags.jump) === 0 ? noAnchor : readAnchor(reader);
  const secondJump = (flag & flags.secondJump) === 0 ? noAnchor : readAnchor(reader);
  return {
    isTombstone: (flag & flags.tombstone) !== 0,
    isLarge: (flag & flags.large) !== 0,
    createRevision,
    modRevision,
    sub,
    version,
    leaseId,
    depth,
    hashLow,
    hashHigh,
    previousRevision,
    previousSub,
    jump,
    secondJump,
    value: options.wantsValue ? reader.rawView(reader.remaining) : emptyBytes,
  };
}

/** A copy of a live row. */
export function toKeyRecord(
  key: Uint8Array,
  row: Pick<KeyRecord, 'value' | 'createRevision' | 'modRevision' | 'version' | 'leaseId'>,
  options: {readonly keysOnly: boolean},
): KeyRecord {
  return {
    key: copyBytes(key),
    value: options.keysOnly ? emptyBytes : copyBytes(row.value),
    createRevision: row.createRevision,
    modRevision: row.modRevision,
    version: row.version,
    leaseId: row.leaseId,
  };
}

/** Writes nothing for an absent anchor: the flags of the row say so. */
export function writeAnchor(target: ByteWriter, anchor: Anchor): void {
  if (anchor.revision === 0) return;
  target.u64(anchor.revision);
  target.u32(anchor.sub);
  target.u32(anchor.depth);
}

export function readAnchor(reader: ByteReader): Anchor {
  return {revision: reader.u64(), sub: reader.u32(), depth: reader.u32()};
}
