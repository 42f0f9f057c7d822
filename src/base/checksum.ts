/**
 * The one checksum of the house: CRC-32 (IEEE), computed natively. `seed` is the checksum of the
 * bytes that come before, so `checksum(b, checksum(a))` equals the checksum of a followed by b.
 */
import {crc32} from 'node:zlib';

export function checksum(bytes: Uint8Array, seed = 0): number {
  // zlib answers 0 for a null pointer, which is what an empty array may have, instead of the seed.
  return bytes.length === 0 ? seed : crc32(bytes, seed);
}
