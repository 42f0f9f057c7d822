/**
 * One change of one key, as the table `history` keeps it: docs/formats.md, "Store rows". The row
 * key says revision and sub. Never rewritten; removed once compaction made it unreachable.
 *
 * An event whose key was changed long before carries what it replaced, the before image (Haerder,
 * Reuter: Principles of Transaction-Oriented Database Recovery, 1983). So old events are needed by
 * nobody who reads at a later revision, and the oldest part of the history goes as a whole, page by
 * page, instead of row by row from among those that stay (kv/history-pruner.ts). Where the event
 * before is near, it is read itself. Large values are not written twice: their events stay until
 * the key has another one.
 */
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {noAnchor, readAnchor, writeAnchor} from './record-row.ts';
import type {Anchor, RecordRow} from './record-row.ts';

/** What a key that existed was before an event; its modRevision is the event's previousRevision. */
export interface BeforeImage {
  readonly createRevision: number;
  readonly version: number;
  readonly leaseId: number;
  readonly value: Uint8Array;
}

export interface EventRow {
  readonly isTombstone: boolean;
  /** Its value is too large for a before image, so the event stays until it is replaced. */
  readonly isLarge: boolean;
  readonly createRevision: number;
  readonly version: number;
  readonly leaseId: number;
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
  /** A view, valid until the next call of the row store; so is `value`. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Null: the event before says it, or there was none, or a tombstone. */
  readonly beforeImage: BeforeImage | null;
  /** The event before is of a version without before images, and goes with this one. */
  readonly replacesOlder: boolean;
}

const flags = {
  tombstone: 1,
  lease: 2,
  previous: 4,
  jump: 8,
  beforeImage: 16,
  large: 32,
  replacesOlder: 64,
} as const;
/** Flags, createRevision, version and depth, which every event has; behind them what flags tell. */
const fixedSizeBytes = 1 + 8 + 8 + 4;
const leaseSizeBytes = 8;
const previousSizeBytes = 8 + 4;

/** Of a before image: createRevision, version, leaseId. Its value follows. */
const imageHeadSizeBytes = 8 + 8 + 8;

const writer = new ByteWriter(4096);

/** Whether the event at `revision` reads what it replaced, at `previousRevision`, in its place. */
export function isNear(revision: number, previousRevision: number): boolean {
  return revision - previousRevision <= limits.nearRevisionCount;
}

/** The event that made `row` the newest of `key`. The result is valid until the next call. */
export function encodeEventRowView(
  key: Uint8Array,
  row: RecordRow,
  {beforeImage, replacesOlder}: Pick<EventRow, 'beforeImage' | 'replacesOlder'>,
): Uint8Array {
  writer.reset();
  writer.u8(
    (row.isTombstone ? flags.tombstone : 0) |
      (row.leaseId === 0 ? 0 : flags.lease) |
      (row.previousRevision === 0 ? 0 : flags.previous) |
      (row.jump.revision === 0 ? 0 : flags.jump) |
      (beforeImage === null ? 0 : flags.beforeImage) |
      (row.isLarge ? flags.large : 0) |
      (replacesOlder ? flags.replacesOlder : 0),
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
  if (beforeImage !== null) writer.u16(imageHeadSizeBytes + beforeImage.value.length);
  writer.u16(key.length);
  writer.raw(key);
  writer.raw(row.value);
  if (beforeImage !== null) {
    writer.u64(beforeImage.createRevision);
    writer.u64(beforeImage.version);
    writer.u64(beforeImage.leaseId);
    writer.raw(beforeImage.value);
  }
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

/** Of an encoded event, without the rest: whether it may simply go with the events around it. */
export function isPlain(bytes: Uint8Array): boolean {
  return ((bytes[0] ?? 0) & (flags.tombstone | flags.large | flags.replacesOlder)) === 0;
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
  const imageSizeBytes = (flag & flags.beforeImage) === 0 ? 0 : reader.u16();
  const key = reader.rawView(reader.u16());
  if (reader.remaining < imageSizeBytes) throw new MalformedBytesError('no room for the image');
  const value = reader.rawView(reader.remaining - imageSizeBytes);
  return {
    isTombstone: (flag & flags.tombstone) !== 0,
    isLarge: (flag & flags.large) !== 0,
    createRevision,
    version,
    leaseId,
    previousRevision,
    previousSub,
    jump,
    key,
    value,
    beforeImage: (flag & flags.beforeImage) === 0 ? null : readBeforeImage(reader),
    replacesOlder: (flag & flags.replacesOlder) !== 0,
  };
}

function readBeforeImage(reader: ByteReader): BeforeImage {
  return {
    createRevision: reader.u64(),
    version: reader.u64(),
    leaseId: reader.u64(),
    value: reader.rawView(reader.remaining),
  };
}
