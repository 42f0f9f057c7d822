/**
 * The blocks of a snapshot stream: each says how long it is and of which kind, and has a checksum.
 * Format: docs/formats.md, "Snapshot stream".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {asBuffer, MalformedBytesError, readU32, writeU32} from '../base/bytes.ts';
import {checksum, joinChecksums} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';

export const headerKind = 1;
export const rowsKind = 2;
export const endKind = 3;
export const leavesKind = 4;

/** Payload size before and checksum behind the payload. */
const frameSizeBytes = 8;

/** Bytes of one full block, next to the frame and the kind. The simulator changes limits. */
export function blockContentSizeBytesMax(): number {
  return limits.snapshotBlockSizeBytesMax - frameSizeBytes - 1;
}

/**
 * The checksum of a whole block, from what it says itself of its payload: a checksum of many blocks
 * does not read them a second time. Right for a block that is; one that is damaged shows as such.
 */
export function checksumOfBlock(bytes: Uint8Array): number {
  const payloadSizeBytes = bytes.length - frameSizeBytes;
  const end = 4 + payloadSizeBytes;
  const sum = joinChecksums(checksum(bytes.subarray(0, 4)), readU32(bytes, end), payloadSizeBytes);
  return checksum(bytes.subarray(end), sum);
}

/** In memory of its own. */
export function smallBlock(kind: number, content: Uint8Array): Uint8Array {
  return block(kind, content, checksum(content), null);
}

/** `memory`, if there is any, has room for the largest block. */
export function block(
  kind: number,
  content: Uint8Array,
  contentChecksum: number,
  memory: ArrayBuffer | null,
): Uint8Array {
  const payloadSizeBytes = 1 + content.length;
  const sizeBytes = payloadSizeBytes + frameSizeBytes;
  const bytes =
    memory === null ? Buffer.allocUnsafeSlow(sizeBytes) : Buffer.from(memory, 0, sizeBytes);
  assert(bytes.length <= limits.snapshotBlockSizeBytesMax, 'block of % bytes', bytes.length);
  writeU32(bytes, payloadSizeBytes, 0);
  bytes[4] = kind;
  bytes.set(content, 5);
  const kindChecksum = checksum(bytes.subarray(4, 5));
  const sum = joinChecksums(kindChecksum, contentChecksum, content.length);
  writeU32(bytes, sum, 4 + payloadSizeBytes);
  return bytes;
}

interface OpenedBlock {
  readonly kind: number;
  readonly content: Buffer;
  readonly contentChecksum: number;
}

/** Every deviation is a MalformedBytesError. */
export function openBlock(bytes: Uint8Array): OpenedBlock {
  const buffer = asBuffer(bytes);
  if (buffer.length <= frameSizeBytes) throw new MalformedBytesError('block too short');
  const size = buffer.readUInt32LE(0);
  if (size + frameSizeBytes !== buffer.length) throw new MalformedBytesError('block length');
  const content = buffer.subarray(5, 4 + size);
  const contentChecksum = checksum(content);
  const kindChecksum = checksum(buffer.subarray(4, 5));
  if (joinChecksums(kindChecksum, contentChecksum, content.length) !== readU32(buffer, 4 + size)) {
    throw new MalformedBytesError('block checksum');
  }
  return {kind: buffer[4] as number, content, contentChecksum};
}
