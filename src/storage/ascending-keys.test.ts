import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import {test} from 'node:test';
import {compareBytes} from '../base/bytes.ts';
import {Prng} from '../base/prng.ts';
import {AscendingKeys} from './ascending-keys.ts';

test('a key is taken if and only if it is above the last one taken', () => {
  const prng = new Prng(7);
  for (let round = 0; round < 200; round++) {
    const keys = new AscendingKeys();
    let last: Uint8Array | null = null;
    for (let i = 0; i < 50; i++) {
      // Few letters, so that many begin alike; some are far longer than any before.
      const size = prng.uint32() % 17 === 0 ? prng.uint32() % 3_000 : prng.uint32() % 6;
      const key = Buffer.alloc(size);
      for (let at = 0; at < Math.min(size, 6); at++) key[at] = prng.uint32() % 3;
      const bytes = Buffer.concat([Buffer.from('<'), key, Buffer.from('>')]);
      const isAbove: boolean = last === null || compareBytes(last, key) < 0;
      assert.equal(keys.take(bytes, 1, 1 + size), isAbove);
      if (isAbove) last = Uint8Array.from(key);
      bytes.fill(0xff);
      assert.deepEqual(keys.last(), last);
    }
  }
});

test('the first key may be empty, and none is above it twice', () => {
  const keys = new AscendingKeys();
  assert.equal(keys.last(), null);
  assert.equal(keys.take(Buffer.from('a'), 0, 0), true);
  assert.deepEqual(keys.last(), new Uint8Array(0));
  assert.equal(keys.take(Buffer.from('a'), 0, 0), false);
  assert.equal(keys.take(Buffer.from('a'), 0, 1), true);
  assert.equal(keys.take(Buffer.from('a'), 0, 1), false);
});
