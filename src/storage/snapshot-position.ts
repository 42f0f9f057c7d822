/**
 * How far into a snapshot's rows somebody has come: what a receiver says it holds, so that a stream
 * goes on where the last one broke off. Format: docs/formats.md, "Snapshot stream".
 */
import {Buffer} from 'node:buffer';
import {asBuffer, ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';

export interface SnapshotPosition {
  /** Of the last row that is held whole; every row up to it is. */
  readonly lastKey: Uint8Array;
  /** At least 1. */
  readonly rowCount: number;
  /** CRC-32 of these rows as the row stream writes them. */
  readonly checksum: number;
}

/** Null: nothing is held. */
export function encodePosition(position: SnapshotPosition | null): Uint8Array {
  const writer = new ByteWriter();
  writer.u64(position?.rowCount ?? 0);
  writer.u32(position?.checksum ?? 0);
  if (position !== null) writer.raw(position.lastKey);
  return writer.finish();
}

/** Throws MalformedBytesError. */
export function decodePosition(bytes: Uint8Array): SnapshotPosition | null {
  const reader = new ByteReader(asBuffer(bytes));
  const rowCount = reader.u64();
  const sum = reader.u32();
  const lastKey = reader.rawView(reader.remaining);
  if ((rowCount === 0) !== (lastKey.length === 0)) {
    throw new MalformedBytesError(`a position after ${rowCount} rows and ${lastKey.length} bytes`);
  }
  if (rowCount === 0) {
    if (sum !== 0) throw new MalformedBytesError('a checksum of nothing');
    return null;
  }
  return {lastKey: Buffer.from(lastKey), rowCount, checksum: sum};
}
