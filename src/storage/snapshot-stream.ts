/**
 * Rows as a stream of checksummed blocks, and back. Both sides hold one block and one row at a time
 * at most. A stream that broke off goes on in another one, which begins behind the last whole row
 * that arrived. Format: docs/formats.md, "Snapshot stream".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {asBuffer, ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
import {AscendingKeys} from './ascending-keys.ts';
import {decodeMeta, encodeMeta, rowSizeBytesMax} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import type {SnapshotPosition} from './snapshot-position.ts';

const magic = 0x504e5352;
const formatVersion = 2;
const headerKind = 1;
const rowsKind = 2;
const endKind = 3;
/** Payload size before and checksum behind the payload. */
const frameSizeBytes = 8;
/** Enough for `rowSizeBytesMax`. */
const varintSizeBytesMax = 5;

/** Turns rows into blocks. Take blocks until `isFull` is false, then add rows, then `end`. */
export class SnapshotEncoder {
  /** Row bytes; from `#taken` up to `#length` they are in no block yet. */
  #pending: Buffer = Buffer.allocUnsafeSlow(limits.snapshotBlockSizeBytesMax * 2);
  #taken = 0;
  #length = 0;
  /** Bytes of the row stream in one full block, next to the frame and the kind. */
  readonly #pieceSizeBytesMax = limits.snapshotBlockSizeBytesMax - frameSizeBytes - 1;
  #rowCount: number;
  #checksum: number;

  /** `after`: what the receiver holds; the first row added is the one behind it. */
  constructor(after: SnapshotPosition | null = null) {
    this.#rowCount = after?.rowCount ?? 0;
    this.#checksum = after?.checksum ?? 0;
  }

  /** Of the whole snapshot up to here, rows that the receiver held before included. */
  get rowCount(): number {
    return this.#rowCount;
  }

  /** Before the first row. */
  header(meta: CheckpointMeta): Uint8Array {
    const writer = new ByteWriter();
    writer.u32(magic);
    writer.u8(formatVersion);
    writer.u64(this.#rowCount);
    writer.u32(this.#checksum);
    writer.raw(encodeMeta(meta));
    return block(headerKind, writer.contentView());
  }

  /** Whether a full block waits to be taken. */
  isFull(): boolean {
    return this.#length - this.#taken >= this.#pieceSizeBytesMax;
  }

  /** `row`: the key, and the value behind it. */
  addRow(row: Uint8Array, keySizeBytes: number): void {
    assert(!this.isFull(), 'the block is not taken');
    const valueSizeBytes = row.length - keySizeBytes;
    const wanted = this.#length + row.length + 2 * varintSizeBytesMax;
    if (wanted > this.#pending.length) this.#grow(wanted);
    const bytes = this.#pending;
    const keyAt = writeVarint(bytes, keySizeBytes, this.#length);
    // At once to where the value belongs; then the key moves in front of the value's size.
    const gap = varintSizeBytes(valueSizeBytes);
    bytes.set(row, keyAt + gap);
    bytes.copyWithin(keyAt, keyAt + gap, keyAt + gap + keySizeBytes);
    writeVarint(bytes, valueSizeBytes, keyAt + keySizeBytes);
    this.#length = keyAt + gap + row.length;
    this.#rowCount += 1;
  }

  /** The next block of rows, not full only at the end; null when no row bytes wait. */
  takeRows(): Uint8Array | null {
    const size = Math.min(this.#length - this.#taken, this.#pieceSizeBytesMax);
    if (size === 0) return null;
    const piece = this.#pending.subarray(this.#taken, this.#taken + size);
    this.#checksum = checksum(piece, this.#checksum);
    this.#taken += size;
    const bytes = block(rowsKind, piece);
    this.#compact();
    return bytes;
  }

  end(): Uint8Array {
    assert(this.#length === this.#taken, 'row bytes left');
    const writer = new ByteWriter();
    writer.u64(this.#rowCount);
    writer.u32(this.#checksum);
    return block(endKind, writer.contentView());
  }

  /** Moves what is left to the front once most has been taken. */
  #compact(): void {
    const rest = this.#length - this.#taken;
    if (rest > this.#taken) return;
    this.#pending.copyWithin(0, this.#taken, this.#length);
    this.#length = rest;
    this.#taken = 0;
  }

  #grow(sizeBytes: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(sizeBytes, this.#pending.length * 2));
    grown.set(this.#pending.subarray(0, this.#length));
    this.#pending = grown;
  }
}

/**
 * What a decoder hands a row to: the key lies from `keyStart` up to `keyEnd` of `bytes`, the value
 * behind it from `valueStart` up to `valueEnd`. The bytes are valid during the visit.
 */
export type RowVisitor = (
  bytes: Buffer,
  keyStart: number,
  keyEnd: number,
  valueStart: number,
  valueEnd: number,
) => void;

/** For who takes key and value as views. */
export function visitViews(
  visitRow: (rowKeyView: Uint8Array, valueView: Uint8Array) => void,
): RowVisitor {
  return (bytes, keyStart, keyEnd, valueStart, valueEnd) => {
    visitRow(bytes.subarray(keyStart, keyEnd), bytes.subarray(valueStart, valueEnd));
  };
}

/** Takes blocks in order and hands out rows; every deviation is a MalformedBytesError. */
export class SnapshotDecoder {
  readonly #meta: CheckpointMeta;
  readonly #visitRow: RowVisitor;
  /** The beginning of a row whose end has not come yet. */
  #partial: Buffer = Buffer.alloc(0);
  readonly #keys = new AscendingKeys();
  /** Behind the number that was read last. */
  #numberEnd = 0;
  #state: 'header' | 'rows' | 'done' = 'header';
  #rowCount = 0;
  /** Of all whole rows; at the end of the stream there are no others. */
  #checksum = 0;

  /** `meta`: what the header must say. */
  constructor(meta: CheckpointMeta, visitRow: RowVisitor) {
    this.#meta = meta;
    this.#visitRow = visitRow;
  }

  get isComplete(): boolean {
    return this.#state === 'done';
  }

  /**
   * Another stream of the same snapshot begins, with the row behind the position that is returned.
   * Part of a row that has arrived is forgotten. All of it may be here already, and the connection
   * broke before the sender heard so: then only the end comes again.
   */
  begin(): SnapshotPosition | null {
    this.#state = 'header';
    this.#partial = Buffer.alloc(0);
    const lastKey = this.#keys.last();
    if (lastKey === null) return null;
    return {lastKey, rowCount: this.#rowCount, checksum: this.#checksum};
  }

  takeBlock(bytes: Uint8Array): void {
    const payload = openBlock(bytes);
    const content = payload.subarray(1);
    const kind = payload[0];
    const expectsHeader = this.#state === 'header';
    if (this.#state === 'done') throw new MalformedBytesError('a block after the end');
    if (expectsHeader !== (kind === headerKind)) throw new MalformedBytesError(`block ${kind}`);
    if (kind === headerKind) this.#takeHeader(content);
    else if (kind === rowsKind) this.#takeRows(content);
    else if (kind === endKind) this.#takeEnd(content);
    else throw new MalformedBytesError(`block of kind ${kind}`);
  }

  #takeHeader(content: Buffer): void {
    const reader = new ByteReader(content);
    if (reader.u32() !== magic) throw new MalformedBytesError('not a snapshot');
    const version = reader.u8();
    if (version !== formatVersion) throw new MalformedBytesError(`snapshot version ${version}`);
    const rowCount = reader.u64();
    if (rowCount !== this.#rowCount || reader.u32() !== this.#checksum) {
      throw new MalformedBytesError(`goes on after ${rowCount} rows, not ${this.#rowCount}`);
    }
    const meta = decodeMeta(reader.rawView(reader.remaining));
    if (meta.index !== this.#meta.index || meta.term !== this.#meta.term) {
      throw new MalformedBytesError(
        `snapshot of ${meta.index} in term ${meta.term}, announced ${this.#meta.index}`,
      );
    }
    this.#state = 'rows';
  }

  #takeRows(content: Buffer): void {
    const bytes = this.#partial.length === 0 ? content : Buffer.concat([this.#partial, content]);
    let offset = 0;
    for (;;) {
      const next = this.#takeRow(bytes, offset);
      if (next === offset) break;
      offset = next;
    }
    if (bytes.length - offset > rowSizeBytesMax) throw new MalformedBytesError('row too large');
    this.#checksum = checksum(bytes.subarray(0, offset), this.#checksum);
    this.#partial = Buffer.from(bytes.subarray(offset));
  }

  /** Hands out the row at `offset` and returns its end; `offset` when it is not complete. */
  #takeRow(bytes: Buffer, offset: number): number {
    const keySize = this.#readVarint(bytes, offset);
    if (keySize < 0) return offset;
    const keyStart = this.#numberEnd;
    const keyEnd = keyStart + keySize;
    const valueSize = this.#readVarint(bytes, keyEnd);
    if (valueSize < 0) return offset;
    const valueStart = this.#numberEnd;
    const valueEnd = valueStart + valueSize;
    if (valueEnd > bytes.length) return offset;
    if (!this.#keys.take(bytes, keyStart, keyEnd)) {
      throw new MalformedBytesError('rows out of order');
    }
    this.#visitRow(bytes, keyStart, keyEnd, valueStart, valueEnd);
    this.#rowCount += 1;
    return valueEnd;
  }

  /** -1: the bytes end before the number does. */
  #readVarint(bytes: Buffer, offset: number): number {
    let value = 0;
    let scale = 1;
    for (let at = offset; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      value += (byte & 0x7f) * scale;
      const isTooLong = at - offset >= varintSizeBytesMax;
      if (isTooLong || value > rowSizeBytesMax) throw new MalformedBytesError('row too large');
      if (byte < 0x80) {
        this.#numberEnd = at + 1;
        return value;
      }
      scale *= 0x80;
    }
    return -1;
  }

  #takeEnd(content: Buffer): void {
    const reader = new ByteReader(content);
    const rowCount = reader.u64();
    const sum = reader.u32();
    reader.end();
    if (this.#partial.length > 0) throw new MalformedBytesError('the last row is not complete');
    if (rowCount !== this.#rowCount) {
      throw new MalformedBytesError(`${this.#rowCount} rows of ${rowCount}`);
    }
    if (sum !== this.#checksum) throw new MalformedBytesError('checksum of the snapshot');
    this.#state = 'done';
  }
}

function block(kind: number, content: Uint8Array): Uint8Array {
  const payloadSizeBytes = 1 + content.length;
  const bytes = Buffer.allocUnsafeSlow(payloadSizeBytes + frameSizeBytes);
  assert(bytes.length <= limits.snapshotBlockSizeBytesMax, 'block of % bytes', bytes.length);
  bytes.writeUInt32LE(payloadSizeBytes, 0);
  bytes[4] = kind;
  bytes.set(content, 5);
  const end = 4 + payloadSizeBytes;
  bytes.writeUInt32LE(checksum(bytes.subarray(4, end)), end);
  return bytes;
}

function openBlock(bytes: Uint8Array): Buffer {
  const buffer = asBuffer(bytes);
  if (buffer.length <= frameSizeBytes) throw new MalformedBytesError('block too short');
  const size = buffer.readUInt32LE(0);
  if (size + frameSizeBytes !== buffer.length) throw new MalformedBytesError('block length');
  const payload = buffer.subarray(4, 4 + size);
  if (checksum(payload) !== buffer.readUInt32LE(4 + size)) {
    throw new MalformedBytesError('block checksum');
  }
  return payload;
}

/** Returns the offset behind it. */
function writeVarint(bytes: Buffer, value: number, at: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}

function varintSizeBytes(value: number): number {
  let size = 1;
  for (; value >= 0x80; value >>>= 7) size += 1;
  return size;
}
