/**
 * The one checksum of the house: CRC-32 (IEEE). `seed` is the checksum of the bytes that come
 * before, so `checksum(b, checksum(a))` equals the checksum of a followed by b. Long pieces are
 * computed natively, short ones here: the way into native code and back costs as much as a hundred
 * bytes, and a view to go there with costs that again.
 */
import {crc32} from 'node:zlib';

/** Up to so many bytes are computed here. */
const shortSizeBytesMax = 128;
/** The same where native code would need a view made for it. */
const shortRangeSizeBytesMax = 256;

/** Reflected, as the polynomial is in everybody's tables. */
const polynomial = 0xedb8_8320;

/**
 * The checksum of anything that is followed by its own checksum, little-endian: whatever it is,
 * always the same ("residue").
 */
export const sealedChecksum = 0x2144_df1c;

/** x^0, and the power from which on those of x repeat: the polynomial is primitive. */
const one = 0x8000_0000;
const orderOfX = 2 ** 32 - 1;

/** x^(2^i). x^(2^32) is x again. */
const squares = makeSquares();

/** x to the bits of so many bytes, of short pieces that were joined already; 0: not known yet. */
const shortPowers = new Int32Array(4096);

/** Eight tables of 256, one behind the other: what a byte does that n bytes follow, in table n. */
const tables = makeTables();

export function checksum(bytes: Uint8Array, seed = 0): number {
  const {length} = bytes;
  return length <= shortSizeBytesMax ? ownChecksum(bytes, 0, length, seed) : crc32(bytes, seed);
}

/** The checksum of `bytes[from … to)`. */
export function rangeChecksum(bytes: Uint8Array, from: number, to: number, seed = 0): number {
  if (to - from <= shortRangeSizeBytesMax) return ownChecksum(bytes, from, to, seed);
  return crc32(bytes.subarray(from, to), seed);
}

/**
 * The checksum of a followed by b, from theirs. Costs less than that of a hundred bytes where b is
 * short and had a companion of its size, and about as much as that of a kilobyte otherwise.
 */
export function joinChecksums(first: number, second: number, secondSizeBytes: number): number {
  return (times(first, powerOfBytes(secondSizeBytes)) ^ second) >>> 0;
}

/** The checksum of a, from those of b and of a followed by b. */
export function checksumBefore(whole: number, last: number, lastSizeBytes: number): number {
  return times(whole ^ last, powerOfX(orderOfX - ((lastSizeBytes * 8) % orderOfX)));
}

/** Eight bytes a step ("slicing-by-8", Kounavis and Berry 2005), then one by one. */
function ownChecksum(bytes: Uint8Array, from: number, to: number, seed: number): number {
  let sum = ~seed;
  let at = from;
  for (const end = to - 7; at < end; at += 8) {
    sum ^= byte(bytes, at) | (byte(bytes, at + 1) << 8);
    sum ^= (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    sum =
      entry(7, sum & 0xff) ^
      entry(6, (sum >>> 8) & 0xff) ^
      entry(5, (sum >>> 16) & 0xff) ^
      entry(4, sum >>> 24) ^
      entry(3, byte(bytes, at + 4)) ^
      entry(2, byte(bytes, at + 5)) ^
      entry(1, byte(bytes, at + 6)) ^
      entry(0, byte(bytes, at + 7));
  }
  for (; at < to; at++) sum = entry(0, (sum ^ byte(bytes, at)) & 0xff) ^ (sum >>> 8);
  return ~sum >>> 0;
}

/**
 * A checksum is a polynomial over GF(2) of degree 31 at most, its highest coefficient in bit 0, and
 * b behind a multiplies that of a by x^n, n the bits of b ("crc32_combine" of zlib). The product,
 * modulo the polynomial of the checksum.
 */
function times(a: number, b: number): number {
  let product = 0;
  let multiple = b;
  // Masks of a bit: a processor does not guess them wrong.
  for (let bit = 31; bit >= 0; bit--) {
    product ^= multiple & -((a >>> bit) & 1);
    multiple = (multiple >>> 1) ^ (polynomial & -(multiple & 1));
  }
  return product >>> 0;
}

function powerOfBytes(sizeBytes: number): number {
  if (sizeBytes >= shortPowers.length) return powerOfX(sizeBytes * 8);
  const known = shortPowers[sizeBytes] as number;
  if (known !== 0) return known;
  const power = powerOfX(sizeBytes * 8);
  shortPowers[sizeBytes] = power;
  return power;
}

/** `exponent`: an integer from 0 on. */
function powerOfX(exponent: number): number {
  let power = one;
  for (let rest = exponent, i = 0; rest > 0; rest = Math.floor(rest / 2), i++) {
    if (rest % 2 === 1) power = times(power, squares[i % squares.length] as number);
  }
  return power;
}

function makeSquares(): readonly number[] {
  const made = [0x4000_0000];
  while (made.length < 32) {
    const last = made.at(-1) as number;
    made.push(times(last, last));
  }
  return made;
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function entry(table: number, value: number): number {
  return tables[table * 256 + value] as number;
}

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256);
  for (let value = 0; value < 256; value++) {
    let sum = value;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ polynomial;
    made[value] = sum;
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256] as number;
    made[at] = (made[before & 0xff] as number) ^ (before >>> 8);
  }
  return made;
}
