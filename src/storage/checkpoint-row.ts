/**
 * A row as the checkpoint stores it: the value, then a checksum of key and value. LMDB has none of
 * its own, and a page that is not what was written must never reach a reader. Format:
 * docs/formats.md, "Checkpoint".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {asBuffer, ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {logIndex, term} from '../raft/ids.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {StorageError} from './storage-error.ts';

const checkpointAdvice =
  'in a cluster the checkpoint is moved aside and fetched again from another member; ' +
  'a single node must restore a backup';

/** A file of the checkpoint is not what was written. The log and the vote are not affected. */
export class CheckpointDamagedError extends StorageError {
  override readonly name = 'CheckpointDamagedError';

  constructor(path: string, problem: string, cause?: unknown) {
    super(`${path} is damaged (${problem})`, {path, advice: checkpointAdvice, cause});
  }
}

export const formatRowKey: Uint8Array = Uint8Array.of(0, 1);

export const rowChecksumSizeBytes = 4;
const formatVersion = 1;

/** Largest row the checkpoint accepts, key and value: a full history row with much to spare. */
export const rowSizeBytesMax = 16 * 1024 * 1024;

/** The value with its checksum, in memory that the next call reuses. */
export class RowSealer {
  #buffer = Buffer.allocUnsafeSlow(64 * 1024);

  sealView(rowKey: Uint8Array, value: Uint8Array): Uint8Array {
    const size = value.length + rowChecksumSizeBytes;
    assert(rowKey.length + size <= rowSizeBytesMax, 'row of % bytes', size);
    if (size > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(size * 2);
    this.#buffer.set(value, 0);
    this.#buffer.writeUInt32LE(checksum(value, checksum(rowKey)), value.length);
    return this.#buffer.subarray(0, size);
  }
}

/** The value without its checksum, a view; null: it is not what was written. */
export function openRowView(rowKey: Uint8Array, stored: Uint8Array): Uint8Array | null {
  const size = stored.length - rowChecksumSizeBytes;
  if (size < 0) return null;
  const value = stored.subarray(0, size);
  const expected =
    ((stored[size] as number) |
      ((stored[size + 1] as number) << 8) |
      ((stored[size + 2] as number) << 16) |
      ((stored[size + 3] as number) << 24)) >>>
    0;
  return checksum(value, checksum(rowKey)) === expected ? value : null;
}

export function encodeMeta(meta: CheckpointMeta): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(formatVersion);
  writer.u64(meta.index);
  writer.u64(meta.term);
  writer.raw(encodeMembership(meta.membership));
  return writer.finish();
}

/** Throws MalformedBytesError. */
export function decodeMeta(bytes: Uint8Array): CheckpointMeta {
  const reader = new ByteReader(asBuffer(bytes));
  const version = reader.u8();
  if (version !== formatVersion) throw new MalformedBytesError(`checkpoint version ${version}`);
  const index = logIndex(reader.u64());
  const metaTerm = term(reader.u64());
  return {index, term: metaTerm, membership: decodeMembership(reader.rawView(reader.remaining))};
}
