import assert from 'node:assert/strict';
import {test} from 'node:test';
import {crc32} from 'node:zlib';
import {
  checksum,
  checksumBefore,
  joinChecksums,
  rangeChecksum,
  sealedChecksum,
} from './checksum.ts';
import {Prng} from './prng.ts';

test('the checksum is CRC-32 as everybody computes it', () => {
  assert.equal(checksum(Buffer.from('123456789')), 0xcbf43926);
});

test('a seed continues the checksum of what came before', () => {
  const whole = checksum(Buffer.from('hello world'));
  assert.equal(checksum(Buffer.from(' world'), checksum(Buffer.from('hello'))), whole);
});

test('no bytes leave the seed as it is, whatever memory they do not have', () => {
  const seed = checksum(Buffer.from('hello'));
  const emptyView = Buffer.from('hello').subarray(5);
  for (const empty of [new Uint8Array(0), Buffer.alloc(0), emptyView]) {
    assert.equal(checksum(empty, seed), seed);
  }
});

test('short pieces, computed here, have the checksum that native code gives them', () => {
  const prng = new Prng(1);
  const bytes = Buffer.from(Array.from({length: 800}, () => prng.integer({min: 0, max: 255})));
  for (let size = 0; size <= 300; size++) {
    const from = prng.integer({min: 0, max: 450});
    const seed = prng.integer({min: 0, max: 2 ** 32 - 1});
    const piece = bytes.subarray(from, from + size);
    const expected = size === 0 ? seed : crc32(piece, seed);
    assert.equal(checksum(piece, seed), expected, `${size} bytes`);
    assert.equal(rangeChecksum(bytes, from, from + size, seed), expected, `a range of ${size}`);
  }
});

test('every flipped bit of a short piece changes its checksum', () => {
  const bytes = Buffer.alloc(40, 'a');
  const sum = checksum(bytes);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7));
    assert.notEqual(checksum(flipped), sum, `bit ${bit}`);
  }
});

test('checksums of pieces join to that of the whole, and part again', () => {
  const prng = new Prng(2);
  const bytes = Buffer.from(Array.from({length: 5_000}, () => prng.integer({min: 0, max: 255})));
  for (let round = 0; round < 300; round++) {
    const middle = round === 0 ? 0 : prng.integer({min: 0, max: bytes.length});
    const end = round === 1 ? middle : prng.integer({min: middle, max: bytes.length});
    const first = checksum(bytes.subarray(0, middle));
    const second = checksum(bytes.subarray(middle, end));
    const whole = checksum(bytes.subarray(0, end));
    assert.equal(joinChecksums(first, second, end - middle), whole, `${middle} and ${end}`);
    assert.equal(checksumBefore(whole, second, end - middle), first, `${middle} and ${end}`);
  }
});

test('what is joined may be of any size', () => {
  const first = checksum(Buffer.from('hello'));
  // 5 GiB, more than x has powers that differ: piece by piece, and at once.
  const piece = Buffer.alloc(64 * 1024 * 1024);
  const pieceSum = checksum(piece);
  let joined = first;
  let second = 0;
  for (let i = 0; i < 80; i++) {
    joined = joinChecksums(joined, pieceSum, piece.length);
    second = joinChecksums(second, pieceSum, piece.length);
  }
  assert.equal(joinChecksums(first, second, 80 * piece.length), joined);
  assert.equal(checksumBefore(joined, second, 80 * piece.length), first);
});

test('whatever its own checksum follows has one and the same checksum', () => {
  const prng = new Prng(3);
  for (let size = 0; size < 300; size++) {
    const bytes = Buffer.from(Array.from({length: size + 4}, () => prng.uint32() & 0xff));
    bytes.writeUInt32LE(checksum(bytes.subarray(0, size)), size);
    assert.equal(checksum(bytes), sealedChecksum, `${size} bytes`);
  }
});
