import assert from 'node:assert/strict';
import {test} from 'node:test';
import {checksum} from './checksum.ts';

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
