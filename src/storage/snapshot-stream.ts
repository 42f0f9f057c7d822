/**
 * Rows as a stream of checksummed blocks, and back. Both sides hold one block and one row at a time
 * at most. A stream that broke off goes on in another one, which begins behind the last whole row
 * that arrived. Format: docs/formats.md, "Snapshot stream".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {
  asBuffer,
  ByteReader,
  ByteWriter,
  compareBytes,
  MalformedBytesError,
} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
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

/** Turns rows into blocks. Take blocks until `isFull` is false, then add rows, then `end`. */
export class SnapshotEncoder {
  /** Row bytes that are in no block yet. */
  readonly #pending = new ByteWriter(limits.snapshotBlockSizeBytesMax * 2);
  /** Bytes of the row stream in one full block, next to the frame and the kind. */
  readonly #pieceSizeBytesMax = limits.snapshotBlockSizeBytesMax - frameSizeBytes - 1;
  #taken = 0;
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
    writer.u8(headerKind);
    writer.u32(magic);
    writer.u8(formatVersion);
    writer.u64(this.#rowCount);
    writer.u32(this.#checksum);
    writer.raw(encodeMeta(meta));
    return block(writer.contentView());
  }

  /** Whether a full block waits to be taken. */
  isFull(): boolean {
    return this.#pending.length - this.#taken >= this.#pieceSizeBytesMax;
  }

  addRow(rowKey: Uint8Array, value: Uint8Array): void {
    assert(!this.isFull(), 'the block is not taken');
    this.#pending.bytes(rowKey);
    this.#pending.bytes(value);
    this.#rowCount += 1;
  }

  /** The next block of rows, not full only at the end; null when no row bytes wait. */
  takeRows(): Uint8Array | null {
    const pending = this.#pending.contentView().subarray(this.#taken);
    if (pending.length === 0) return null;
    const piece = pending.subarray(0, this.#pieceSizeBytesMax);
    this.#checksum = checksum(piece, this.#checksum);
    const payload = Buffer.allocUnsafe(1 + piece.length);
    payload[0] = rowsKind;
    payload.set(piece, 1);
    this.#taken += piece.length;
    this.#compact();
    return block(payload);
  }

  end(): Uint8Array {
    assert(this.#pending.length === this.#taken, 'row bytes left');
    const writer = new ByteWriter();
    writer.u8(endKind);
    writer.u64(this.#rowCount);
    writer.u32(this.#checksum);
    return block(writer.contentView());
  }

  /** Moves what is left to the front once most has been taken. */
  #compact(): void {
    const rest = this.#pending.contentView().subarray(this.#taken);
    if (rest.length > this.#taken && rest.length > 0) return;
    const copy = new Uint8Array(rest);
    this.#pending.reset();
    this.#pending.raw(copy);
    this.#taken = 0;
  }
}

/** Takes blocks in order and hands out rows; every deviation is a MalformedBytesError. */
export class SnapshotDecoder {
  readonly #meta: CheckpointMeta;
  readonly #visitRow: (rowKeyView: Uint8Array, valueView: Uint8Array) => void;
  /** The beginning of a row whose end has not come yet. */
  #partial: Buffer = Buffer.alloc(0);
  #lastKey: Uint8Array | null = null;
  #state: 'header' | 'rows' | 'done' = 'header';
  #rowCount = 0;
  /** Of all whole rows; at the end of the stream there are no others. */
  #checksum = 0;

  /** `meta`: what the header must say. */
  constructor(
    meta: CheckpointMeta,
    visitRow: (rowKeyView: Uint8Array, valueView: Uint8Array) => void,
  ) {
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
    const lastKey = this.#lastKey;
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
    // A view so far: of all keys of a block only the last one is worth a copy.
    if (this.#lastKey !== null) this.#lastKey = new Uint8Array(this.#lastKey);
    this.#partial = Buffer.from(bytes.subarray(offset));
  }

  /** Hands out the row at `offset` and returns its end; `offset` when it is not complete. */
  #takeRow(bytes: Buffer, offset: number): number {
    const keySize = readVarint(bytes, offset);
    if (keySize === null) return offset;
    const valueSize = readVarint(bytes, keySize.end + keySize.value);
    if (valueSize === null) return offset;
    const end = valueSize.end + valueSize.value;
    if (end > bytes.length) return offset;
    const rowKey = bytes.subarray(keySize.end, keySize.end + keySize.value);
    if (this.#lastKey !== null && compareBytes(this.#lastKey, rowKey) >= 0) {
      throw new MalformedBytesError('rows out of order');
    }
    this.#visitRow(rowKey, bytes.subarray(valueSize.end, end));
    this.#rowCount += 1;
    this.#lastKey = rowKey;
    return end;
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

function block(payload: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(payload.length + frameSizeBytes);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.set(payload, 4);
  bytes.writeUInt32LE(checksum(payload), 4 + payload.length);
  assert(bytes.length <= limits.snapshotBlockSizeBytesMax, 'block of % bytes', bytes.length);
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

/** Enough for `rowSizeBytesMax`. */
const varintSizeBytesMax = 5;

/** Null: the bytes end before the number does. */
function readVarint(
  bytes: Buffer,
  offset: number,
): {readonly value: number; readonly end: number} | null {
  let value = 0;
  let scale = 1;
  for (let at = offset; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    const isTooLong = at - offset >= varintSizeBytesMax;
    if (isTooLong || value > rowSizeBytesMax) throw new MalformedBytesError('row too large');
    if (byte < 0x80) return {value, end: at + 1};
    scale *= 0x80;
  }
  return null;
}
