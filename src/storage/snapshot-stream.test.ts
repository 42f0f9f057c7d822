import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {SnapshotPosition} from './snapshot-position.ts';
import {SnapshotDecoder, SnapshotEncoder, visitViews} from './snapshot-stream.ts';

const meta = {index: logIndex(12), term: term(3), membership: emptyMembership};

type Row = readonly [key: string, value: Buffer];

function encode(rows: readonly Row[], after: SnapshotPosition | null = null): Uint8Array[] {
  const encoder = new SnapshotEncoder(after);
  const blocks = [encoder.header(meta)];
  const take = (): boolean => {
    const block = encoder.takeRows();
    if (block !== null) blocks.push(block);
    return block !== null;
  };
  for (const [key, value] of rows) {
    encoder.addRow(Buffer.concat([Buffer.from(key), value]), key.length);
    while (encoder.isFull()) take();
  }
  while (take());
  blocks.push(encoder.end());
  return blocks;
}

function decode(blocks: readonly Uint8Array[]): {rows: Row[]; isComplete: boolean} {
  const rows: Row[] = [];
  const visitRow = visitViews((key, value) => {
    rows.push([Buffer.from(key).toString(), Buffer.from(value)]);
  });
  const decoder = new SnapshotDecoder(meta, visitRow);
  for (const block of blocks) decoder.takeBlock(block);
  return {rows, isComplete: decoder.isComplete};
}

describe('snapshot stream', () => {
  test('rows of all sizes pass through, rows larger than a block too', () => {
    const prng = new Prng(3);
    const rows: Row[] = [];
    for (let i = 0; i < 400; i++) {
      const size = prng.uint32() % 50 === 0 ? 700_000 : prng.uint32() % 3000;
      rows.push([`key${String(i).padStart(5, '0')}`, Buffer.alloc(size, i)]);
    }
    const blocks = encode(rows);
    for (const block of blocks) assert.ok(block.length <= limits.snapshotBlockSizeBytesMax);
    const result = decode(blocks);
    assert.equal(result.isComplete, true);
    assert.deepEqual(result.rows, rows);
  });

  test('a row that has arrived in part is sent again, and counted once', () => {
    const rows: Row[] = [
      ['a', Buffer.alloc(10)],
      ['b', Buffer.alloc(600_000, 1)],
      ['c', Buffer.alloc(10)],
    ];
    const received: string[] = [];
    const visitRow = visitViews(key => received.push(Buffer.from(key).toString()));
    const decoder = new SnapshotDecoder(meta, visitRow);
    assert.equal(decoder.begin(), null);
    for (const block of encode(rows).slice(0, 3)) decoder.takeBlock(block);
    const after = decoder.begin();
    assert.deepEqual(received, ['a']);
    assert.equal(after?.rowCount, 1);
    for (const block of encode(rows.slice(1), after)) decoder.takeBlock(block);
    assert.deepEqual(received, ['a', 'b', 'c']);
    assert.equal(decoder.isComplete, true);
  });

  test('a stream that broke behind its last block goes on with its end', () => {
    const rows: Row[] = [['a', Buffer.alloc(10)]];
    for (const held of [rows, []]) {
      const decoder = new SnapshotDecoder(meta, () => undefined);
      decoder.begin();
      for (const block of encode(held)) decoder.takeBlock(block);
      const after = decoder.begin();
      assert.equal(decoder.isComplete, false);
      for (const block of encode([], after)) decoder.takeBlock(block);
      assert.equal(decoder.isComplete, true);
    }
  });

  test('a stream that begins elsewhere than at the position is refused', () => {
    const rows: Row[] = [['a', Buffer.alloc(10)]];
    const decoder = new SnapshotDecoder(meta, () => undefined);
    decoder.begin();
    for (const block of encode(rows).slice(0, 2)) decoder.takeBlock(block);
    const after = decoder.begin();
    assert.ok(after !== null);
    for (const wrong of [null, {...after, rowCount: 2}, {...after, checksum: 7}]) {
      const [header] = encode([], wrong);
      assert.ok(header !== undefined);
      assert.throws(() => decoder.takeBlock(header), MalformedBytesError);
    }
  });

  test('a store without rows is a header and an end', () => {
    const blocks = encode([]);
    assert.equal(blocks.length, 2);
    assert.deepEqual(decode(blocks), {rows: [], isComplete: true});
  });

  test('every flipped byte of a block is noticed', () => {
    const blocks = encode([
      ['a', Buffer.from('1')],
      ['b', Buffer.from('2')],
    ]);
    for (const [number, block] of blocks.entries()) {
      for (let at = 0; at < block.length; at++) {
        const damaged = Uint8Array.from(block);
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        const stream = blocks.map((other, i) => (i === number ? damaged : other));
        assert.throws(() => decode(stream), MalformedBytesError);
      }
    }
  });

  test('blocks that are missing, repeated or out of order are noticed', () => {
    const rows: Row[] = [];
    for (let i = 0; i < 1000; i++) rows.push([`k${1000 + i}`, Buffer.alloc(800, i)]);
    const blocks = encode(rows);
    assert.ok(blocks.length >= 5);
    for (let i = 0; i < blocks.length - 1; i++) {
      assert.throws(() => decode(blocks.toSpliced(i, 1)), MalformedBytesError);
      const repeated = blocks.toSpliced(i, 0, blocks[i] ?? new Uint8Array(0));
      assert.throws(() => decode(repeated), MalformedBytesError);
    }
    assert.equal(decode(blocks.slice(0, -1)).isComplete, false);
    assert.throws(() => decode([...blocks, ...blocks.slice(-1)]), MalformedBytesError);
  });

  test('rows out of order are refused', () => {
    const blocks = encode([
      ['b', Buffer.from('1')],
      ['a', Buffer.from('2')],
    ]);
    assert.throws(() => decode(blocks), /out of order/);
  });
});
