/**
 * Where a range read goes on. A cursor holds all that the next page needs, on any node and after
 * any restart, and no server keeps a trace of it: base64url of
 *
 *   u8      version, 1
 *   u8      flags: 1 reverse, 2 keysOnly, 4 the rest has an end
 *   varint  revision the whole read is pinned to
 *   varint  limit, records per page
 *   bytes   start of the rest, inclusive
 *   bytes   end of the rest, exclusive; only with flag 4
 *   16 raw  hash of the range that was asked for
 *   u32     CRC-32 of everything before
 */
import {Buffer} from 'node:buffer';
import {createHash} from 'node:crypto';
import {ByteReader, ByteWriter, MalformedBytesError, equalBytes} from '../../base/bytes.ts';
import {checksum} from '../../base/checksum.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {KeyRange} from '../../kv/command.ts';

export interface Cursor {
  readonly rest: KeyRange;
  readonly revision: number;
  readonly limit: number;
  readonly isReverse: boolean;
  readonly keysOnly: boolean;
  /** Of the range of the first page: parameters beside the cursor are compared with it. */
  readonly rangeHash: Uint8Array;
}

const version = 1;
const flagReverse = 1;
const flagKeysOnly = 2;
const flagHasEnd = 4;
const rangeHashSizeBytes = 16;
const checksumSizeBytes = 4;

export function encodeCursor(cursor: Cursor): string {
  const {rest} = cursor;
  const writer = new ByteWriter();
  writer.u8(version);
  writer.u8(
    (cursor.isReverse ? flagReverse : 0) |
      (cursor.keysOnly ? flagKeysOnly : 0) |
      (rest.end === null ? 0 : flagHasEnd),
  );
  writer.varint(cursor.revision);
  writer.varint(cursor.limit);
  writer.bytes(rest.start);
  if (rest.end !== null) writer.bytes(rest.end);
  writer.raw(cursor.rangeHash);
  writer.u32(checksum(writer.contentView()));
  return Buffer.from(writer.contentView()).toString('base64url');
}

/** Throws INVALID_CURSOR. */
export function decodeCursor(text: string): Cursor {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < checksumSizeBytes || bytes.toString('base64url') !== text) throw damaged();
  const content = bytes.subarray(0, bytes.length - checksumSizeBytes);
  if (checksum(content) !== bytes.readUInt32LE(content.length)) throw damaged();
  try {
    return decodeContent(content);
  } catch (error) {
    if (error instanceof MalformedBytesError) throw damaged();
    throw error;
  }
}

export function hashRange(range: KeyRange): Uint8Array {
  const writer = new ByteWriter();
  writer.bytes(range.start);
  if (range.end !== null) writer.bytes(range.end);
  return createHash('sha256').update(writer.contentView()).digest().subarray(0, rangeHashSizeBytes);
}

export function isRangeOf(cursor: Cursor, range: KeyRange): boolean {
  return equalBytes(cursor.rangeHash, hashRange(range));
}

function decodeContent(content: Buffer): Cursor {
  const reader = new ByteReader(content);
  if (reader.u8() !== version) throw damaged();
  const flags = reader.u8();
  const revision = reader.varint();
  const limit = reader.varint();
  const start = reader.bytesView();
  const end = (flags & flagHasEnd) === 0 ? null : reader.bytesView();
  const rangeHash = reader.rawView(rangeHashSizeBytes);
  reader.end();
  const boundSizeBytesMax = limits.keySizeBytesMax + 1;
  const isPossible =
    flags <= (flagReverse | flagKeysOnly | flagHasEnd) &&
    revision >= 1 &&
    limit >= 1 &&
    limit <= limits.rangeLimitMax &&
    start.length <= boundSizeBytesMax &&
    (end === null || end.length <= boundSizeBytesMax);
  if (!isPossible) throw damaged();
  return {
    rest: {start, end},
    revision,
    limit,
    isReverse: (flags & flagReverse) !== 0,
    keysOnly: (flags & flagKeysOnly) !== 0,
    rangeHash,
  };
}

function damaged(): RosettaError {
  return new RosettaError('INVALID_CURSOR', 'the cursor is not one that this store has given out');
}
