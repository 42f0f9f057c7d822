/**
 * Ways to spoil bytes that were valid: bits, numbers, cuts, repetitions, garbage. A damage is a
 * short list of edits in numbers that mean the same for any length, so that fast-check can shrink
 * it independently of the sample.
 */
import fc from 'fast-check';
import {must} from '../../src/base/assert.ts';
import {Prng} from '../../src/base/prng.ts';

const kinds = [
  'flip',
  'number',
  'set',
  'varint',
  'cut',
  'remove',
  'repeat',
  'insert',
  'zero',
  'garbage',
] as const;

/** `at` is taken modulo the length; what `detail` says depends on the kind. */
export type Edit = readonly [kind: (typeof kinds)[number], at: number, detail: number];
export type Damage = readonly Edit[];

/** Lengths, counts and versions that parsers trip over. */
const numbers = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x4_0000, 0x4_0001, 0x100_0000, 0x7fff_ffff,
  0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];
const widths = [1, 2, 4, 8] as const;
const insertSizeBytesMax = 64;
const garbageSizeBytesMax = 512;
const runSizeBytesMax = 1024;

const edit: fc.Arbitrary<Edit> = fc.tuple(
  fc.constantFrom(...kinds),
  fc.oneof({weight: 2, arbitrary: fc.nat(255)}, {weight: 3, arbitrary: fc.nat()}),
  fc.nat(0xffff),
);

/** One to four edits. */
export const damages: fc.Arbitrary<Damage> = fc.array(edit, {
  minLength: 1,
  maxLength: 4,
  size: 'max',
});

/** None in one of four cases. */
export const maybeDamages: fc.Arbitrary<Damage> = fc.oneof(
  {weight: 1, arbitrary: fc.constant<Damage>([])},
  {weight: 3, arbitrary: damages},
);

/** A damaged copy in memory of its own. */
export function damaged(bytes: Uint8Array, damage: Damage): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (const each of damage) result = edited(result, each);
  return result;
}

function edited(bytes: Buffer, [kind, place, detail]: Edit): Buffer {
  const {length} = bytes;
  const at = length === 0 ? 0 : place % length;
  switch (kind) {
    case 'flip':
      if (length > 0) bytes[at] = must(bytes[at], 'a byte') ^ (1 << (detail % 8));
      return bytes;
    case 'set':
      if (length > 0) bytes[at] = detail % 256;
      return bytes;
    case 'number':
      return withNumber(bytes, at, detail);
    case 'varint':
      return spliced(bytes, at, 1, longVarint(detail));
    case 'cut':
      return bytes.subarray(0, at);
    case 'remove':
      return spliced(bytes, at, 1 + (detail % runSizeBytesMax), nothing);
    case 'repeat': {
      const run = bytes.subarray(at, at + 1 + (detail % runSizeBytesMax));
      return spliced(bytes, at, 0, run);
    }
    case 'insert':
      return spliced(bytes, at, 0, randomBytes(detail, 1 + (detail % insertSizeBytesMax)));
    case 'zero':
      bytes.fill(0, at, Math.min(length, at + 1 + (detail % runSizeBytesMax)));
      return bytes;
    case 'garbage':
      return randomBytes(place, detail % garbageSizeBytesMax);
  }
}

const nothing = Buffer.alloc(0);

function spliced(bytes: Buffer, at: number, removed: number, inserted: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);
}

/** One of the telling numbers over what stands at `at`, little-endian, 1 to 8 bytes wide. */
function withNumber(bytes: Buffer, at: number, detail: number): Buffer {
  const width = must(widths[detail % widths.length], 'a width');
  if (at + width > bytes.length) return bytes;
  const value = must(numbers[(detail >>> 2) % numbers.length], 'a number');
  const low = width >= 4 ? value : value % 2 ** (8 * width);
  bytes.writeUIntLE(low, at, Math.min(width, 4));
  // The high half of a u64: nothing, the largest safe one, one beyond it, or all ones.
  if (width === 8) {
    bytes.writeUInt32LE(
      must([0, 0x1f_ffff, 0x20_0000, 0xffff_ffff][(detail >>> 6) % 4], 'it'),
      at + 4,
    );
  }
  return bytes;
}

/** A number of up to 64 bits as LEB128: what a length may claim to be. */
function longVarint(detail: number): Buffer {
  const bytes = Buffer.alloc(1 + (detail % 10), 0x80 | (detail & 0x7f));
  bytes[bytes.length - 1] = (detail >>> 8) & 0x7f;
  return bytes;
}

function randomBytes(seed: number, size: number): Buffer {
  const prng = new Prng(seed);
  return Buffer.from(Array.from({length: size}, () => prng.uint32() & 0xff));
}
