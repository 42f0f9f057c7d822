/**
 * Rows as a stream of checksummed blocks, and back. Both sides hold one block and one row at a time
 * at most; whole leaves of a checkpoint go as they are. A stream that broke off goes on in another
 * one, which begins behind the last whole row that arrived. Format: docs/formats.md, "Snapshot
 * stream".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {checksum, checksumBefore, joinChecksums} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
import {AscendingKeys} from './ascending-keys.ts';
import {nodeHeaderSizeBytes, nodeKeyEnd} from './checkpoint-page.ts';
import {decodeMeta, encodeMeta, rowSizeBytesMax} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {
  block,
  blockContentSizeBytesMax,
  endKind,
  headerKind,
  leavesKind,
  openBlock,
  rowsKind,
  smallBlock,
} from './snapshot-block.ts';
import type {LeafPacker, LeafTaker} from './snapshot-leaves.ts';
import {LeafReader, valueEndOf} from './snapshot-leaves.ts';
import type {SnapshotPosition} from './snapshot-position.ts';

const magic = 0x504e5352;
/** 4 since events carry before images: who cannot read such rows is not to take them. */
const formatVersion = 4;
/** Has no leaves. */
const oldestFormatVersion = 2;
/** Of a block, to complete the row that began in the one before it. */
const firstPieceSizeBytes = 1024;
/** Enough for `rowSizeBytesMax`. */
const varintSizeBytesMax = 5;

/** Turns rows into blocks. Take blocks until `isFull` is false, then add rows, then `end`. */
export class SnapshotEncoder {
  /** Row bytes; from `#taken` up to `#length` they are in no block yet. */
  #pending: Buffer = Buffer.allocUnsafeSlow(limits.snapshotBlockSizeBytesMax * 2);
  #taken = 0;
  #length = 0;
  readonly #pieceSizeBytesMax = blockContentSizeBytesMax();
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
    return smallBlock(headerKind, writer.contentView());
  }

  /** Whether row bytes wait to be taken. */
  hasRows(): boolean {
    return this.#length > this.#taken;
  }

  /** Whether a block that ends here is not much too small: half full at least, or empty. */
  mayEndBlock(): boolean {
    const size = this.#length - this.#taken;
    return size === 0 || 2 * size >= this.#pieceSizeBytesMax;
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

  /**
   * The next block of rows, not full only before leaves and at the end; null when no row bytes
   * wait. It is made in `memory`, which has room for the largest block, or in its own.
   */
  takeRows(memory: ArrayBuffer | null = null): Uint8Array | null {
    const size = Math.min(this.#length - this.#taken, this.#pieceSizeBytesMax);
    if (size === 0) return null;
    const piece = this.#pending.subarray(this.#taken, this.#taken + size);
    const sum = checksum(piece);
    this.#checksum = joinChecksums(this.#checksum, sum, size);
    this.#taken += size;
    const bytes = block(rowsKind, piece, sum, memory);
    this.#compact();
    return bytes;
  }

  /** A block of whole leaves, made as `takeRows` does; the rows before them have been taken. */
  takeLeaves(leaves: LeafPacker, memory: ArrayBuffer | null = null): Uint8Array {
    assert(!this.hasRows(), 'row bytes left');
    const content = leaves.contentView();
    const sum = leaves.checksum;
    this.#checksum = joinChecksums(this.#checksum, sum, content.length);
    this.#rowCount += leaves.rowCount;
    const bytes = block(leavesKind, content, sum, memory);
    leaves.clear();
    return bytes;
  }

  end(): Uint8Array {
    assert(!this.hasRows(), 'row bytes left');
    const writer = new ByteWriter();
    writer.u64(this.#rowCount);
    writer.u32(this.#checksum);
    return smallBlock(endKind, writer.contentView());
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
  readonly #leaves: LeafReader;
  readonly #takesLeaves: LeafTaker | null;
  /** The beginning of a row whose end has not come yet. */
  #partial: Buffer = Buffer.alloc(0);
  readonly #keys = new AscendingKeys();
  /** Behind the number that was read last. */
  #numberEnd = 0;
  #state: 'header' | 'rows' | 'done' = 'header';
  #version = formatVersion;
  #rowCount = 0;
  /** Of all whole rows; at the end of the stream there are no others. */
  #checksum = 0;
  /** The same with what is there of the next one. */
  #arrivedChecksum = 0;

  /**
   * `meta`: what the header must say. Leaves are handed out row by row, but to who takes them whole
   * and has pages of their size.
   */
  constructor(meta: CheckpointMeta, visitRow: RowVisitor, takesLeaves: LeafTaker | null = null) {
    this.#meta = meta;
    this.#visitRow = visitRow;
    this.#takesLeaves = takesLeaves;
    this.#leaves = new LeafReader((page, nodes) => this.#takeLeaf(page, nodes));
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
    this.#arrivedChecksum = this.#checksum;
    const lastKey = this.#keys.last();
    if (lastKey === null) return null;
    return {lastKey, rowCount: this.#rowCount, checksum: this.#checksum};
  }

  takeBlock(bytes: Uint8Array): void {
    const {kind, content, contentChecksum} = openBlock(bytes);
    const expectsHeader = this.#state === 'header';
    if (this.#state === 'done') throw new MalformedBytesError('a block after the end');
    if (expectsHeader !== (kind === headerKind)) throw new MalformedBytesError(`block ${kind}`);
    if (kind === headerKind) this.#takeHeader(content);
    else if (kind === rowsKind) this.#takeRows(content, contentChecksum);
    else if (kind === leavesKind) this.#takeLeaves(content, contentChecksum);
    else if (kind === endKind) this.#takeEnd(content);
    else throw new MalformedBytesError(`block of kind ${kind}`);
  }

  #takeHeader(content: Buffer): void {
    const reader = new ByteReader(content);
    if (reader.u32() !== magic) throw new MalformedBytesError('not a snapshot');
    const version = reader.u8();
    if (version < oldestFormatVersion || version > formatVersion) {
      throw new MalformedBytesError(`snapshot version ${version}`);
    }
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
    this.#version = version;
    this.#state = 'rows';
  }

  #takeRows(content: Buffer, contentChecksum: number): void {
    const {length} = content;
    this.#arrivedChecksum = joinChecksums(this.#arrivedChecksum, contentChecksum, length);
    let offset = this.#finishPartial(content);
    if (offset < 0) {
      this.#keepPartial(Buffer.concat([this.#partial, content]));
      return;
    }
    for (;;) {
      const next = this.#takeRow(content, offset);
      if (next === offset) break;
      offset = next;
    }
    const rest = Buffer.from(content.subarray(offset));
    this.#checksum = checksumBefore(this.#arrivedChecksum, checksum(rest), rest.length);
    this.#keepPartial(rest);
  }

  #takeLeaves(content: Buffer, contentChecksum: number): void {
    if (this.#partial.length > 0) throw new MalformedBytesError('leaves within a row');
    if (this.#version === oldestFormatVersion) throw new MalformedBytesError('leaves in version 2');
    this.#leaves.take(content);
    this.#checksum = joinChecksums(this.#checksum, contentChecksum, content.length);
    this.#arrivedChecksum = this.#checksum;
  }

  #takeLeaf(page: Buffer, nodes: readonly number[]): void {
    const taker = this.#takesLeaves;
    const isTaken = taker?.pageSizeBytes === page.length;
    for (const node of nodes) {
      const keyStart = node + nodeHeaderSizeBytes;
      const keyEnd = nodeKeyEnd(page, node);
      if (keyEnd === keyStart) throw new MalformedBytesError('a row without a key');
      if (!this.#keys.take(page, keyStart, keyEnd)) {
        throw new MalformedBytesError('rows out of order');
      }
      if (!isTaken) this.#visitRow(page, keyStart, keyEnd, keyEnd, valueEndOf(page, node));
    }
    if (isTaken) taker.take(page, nodes);
    this.#rowCount += nodes.length;
  }

  #keepPartial(partial: Buffer): void {
    if (partial.length > rowSizeBytesMax) throw new MalformedBytesError('row too large');
    this.#partial = partial;
  }

  /** Where the first row begins that does not lie in two blocks; -1: there is none. */
  #finishPartial(content: Buffer): number {
    const partial = this.#partial;
    if (partial.length === 0) return 0;
    // At least as much as there is: what is large is not copied again and again.
    for (let size = Math.max(firstPieceSizeBytes, partial.length); ; size *= 4) {
      const piece = content.subarray(0, size);
      const end = this.#takeRow(Buffer.concat([partial, piece]), 0);
      if (end > 0) return end - partial.length;
      if (piece.length === content.length) return -1;
    }
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
