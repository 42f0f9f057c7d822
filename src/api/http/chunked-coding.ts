/** The chunked transfer coding of RFC 9112 §7.1: how content of unknown size is delimited. */
import {Buffer} from 'node:buffer';
import {assert} from '../../base/assert.ts';

const lineEnd = '\r\n';

/** What stands behind the content of each chunk. */
export const chunkEnd: Uint8Array = Buffer.from(lineEnd, 'latin1');

/** What stands in front of it. A chunk without content would be the end of all content. */
export function chunkBeginning(sizeBytes: number): Buffer {
  assert(sizeBytes > 0, 'a chunk has content');
  return Buffer.from(sizeBytes.toString(16) + lineEnd, 'latin1');
}

/** A whole chunk: a copy of the content between what delimits it. */
export function chunkOf(content: Uint8Array | string): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return Buffer.concat([chunkBeginning(bytes.length), bytes, chunkEnd]);
}
