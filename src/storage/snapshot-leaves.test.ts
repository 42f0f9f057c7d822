import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import type {TextRow as Row} from '../../test/contract/checkpoint-file-rows.ts';
import {assertSoundPages, rowsThroughLmdb, text} from '../../test/contract/checkpoint-file-rows.ts';
import {MalformedBytesError, writeU32} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {
  nodeHeaderSizeBytes,
  nodesOf,
  pageHeaderSizeBytes,
  pageLowerOffset,
  pageUpperOffset,
} from './checkpoint-page.ts';
import {rowChecksumSizeBytes} from './checkpoint-row.ts';
import {LeafCheck} from './leaf-check.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';
import {leavesKind, rowsKind} from './snapshot-block.ts';
import type {SnapshotPosition} from './snapshot-position.ts';
import {SnapshotBuilder, SnapshotCopy, SnapshotRows} from './snapshot-rows.ts';
import type {LeafTaker} from './snapshot-leaves.ts';
import {LeafPacker} from './snapshot-leaves.ts';
import {SnapshotDecoder, SnapshotEncoder, visitViews} from './snapshot-stream.ts';

const meta = {index: logIndex(12), term: term(3), membership: emptyMembership};

interface Scene {
  readonly directory: string;
  readonly copy: SnapshotCopy;
  readonly rows: readonly Row[];
}

/** A copy of rows that came and went in any order; about one of `largeEvery` is a large one. */
async function sceneOf(t: TestContext, count: number, largeEvery: number): Promise<Scene> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'snapshot-leaves-'));
  t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
  const source = new LmdbEnvironment(path.join(directory, 'source.mdb'), {isUnsynced: true});
  const prng = new Prng(count);
  source.transaction(() => {
    source.putMeta(meta);
    for (let i = 0; i < count; i++) {
      const key = Buffer.from(`\x02key${'-'.repeat(i % 9)}${prng.uint32() % (count * 2)}`);
      const isLarge = prng.uint32() % largeEvery === 0;
      source.put(key, Buffer.alloc(isLarge ? 9_000 : prng.uint32() % 200, i));
      if (i % 5 === 4) source.remove(key);
    }
  });
  source.padFile();
  const rows = rowsThroughLmdb(source);
  const copied = path.join(directory, 'copied');
  fs.mkdirSync(copied);
  await source.copyTo(path.join(copied, 'data.mdb'));
  source.close();
  const copy = new SnapshotCopy(copied);
  t.after(() => copy.close());
  return {directory, copy, rows};
}

function blocksOf(copy: SnapshotCopy, after: SnapshotPosition | null = null): Uint8Array[] {
  const reader = new SnapshotRows(copy, after);
  const blocks: Uint8Array[] = [];
  for (;;) {
    const block = reader.next(new ArrayBuffer(limits.snapshotBlockSizeBytesMax));
    if (block === null) return blocks;
    assert.ok(block.length <= limits.snapshotBlockSizeBytesMax);
    blocks.push(block);
  }
}

function countKind(blocks: readonly Uint8Array[], kind: number): number {
  return blocks.filter(block => block[4] === kind).length;
}

/** By our own walk through the pages, and by LMDB, which goes on with the file. */
function assertHolds(file: string, rows: readonly Row[]): void {
  assert.equal(assertSoundPages(file, rows).rowCount, rows.length + 1);
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  assert.deepEqual(environment.readMeta(), meta);
  assert.deepEqual(rowsThroughLmdb(environment), rows);
  environment.transaction(() => {
    for (const [key] of rows) environment.put(Buffer.from(key, 'latin1'), Buffer.alloc(300));
  });
  assert.equal(rowsThroughLmdb(environment).length, rows.length);
  environment.close();
}

for (const [count, largeEvery] of [
  [0, 1],
  [1, 1_000_000],
  [60, 1_000_000],
  [20_000, 1_000_000],
  [20_000, 1_000],
  [3_000, 20],
] as const) {
  test(`${count} rows, one of ${largeEvery} large, arrive as they are`, async t => {
    const {directory, copy, rows} = await sceneOf(t, count, largeEvery);
    const file = path.join(directory, '000002', 'data.mdb');
    const builder = new SnapshotBuilder(file, meta);
    builder.begin();
    const blocks = blocksOf(copy);
    for (const block of blocks) builder.takeBlock(block);
    builder.finish();
    assertHolds(file, rows);
    if (count === 20_000) assert.ok(countKind(blocks, leavesKind) > 0, 'leaves went whole');
    if (largeEvery < count) assert.ok(countKind(blocks, rowsKind) > 1, 'rows went too');
  });
}

test('a stream that breaks off behind any block goes on behind it', async t => {
  const {directory, copy, rows} = await sceneOf(t, 20_000, 400);
  const file = path.join(directory, '000002', 'data.mdb');
  const builder = new SnapshotBuilder(file, meta);
  let breakCount = 0;
  for (let isWhole = false; !isWhole;) {
    const blocks = blocksOf(copy, builder.begin());
    isWhole = blocks.length <= 3;
    // The header and one or two blocks: behind leaves, and in the middle of a row.
    for (const block of isWhole ? blocks : blocks.slice(0, 2 + (breakCount % 2))) {
      builder.takeBlock(block);
    }
    breakCount += 1;
  }
  assert.ok(breakCount > 10, `${breakCount} breaks`);
  builder.finish();
  assertHolds(file, rows);
});

test('blocks do not become small where leaves with large rows lie between others', async t => {
  const {copy} = await sceneOf(t, 20_000, 60);
  const blocks = blocksOf(copy);
  assert.ok(countKind(blocks, leavesKind) > 0 && countKind(blocks, rowsKind) > 1, 'both kinds');
  const sizeBytes = blocks.reduce((sum, block) => sum + block.length, 0);
  const mean = sizeBytes / blocks.length;
  assert.ok(mean > limits.snapshotBlockSizeBytesMax / 4, `${mean} bytes a block`);
});

test('leaves are handed out row by row where pages have another size', async t => {
  const {copy, rows} = await sceneOf(t, 2_000, 1_000_000);
  for (const pageSizeBytes of [8192, null]) {
    const found: Row[] = [];
    const taker = {pageSizeBytes: pageSizeBytes ?? 0, take: () => assert.fail('not this size')};
    const visitRow = visitViews((key, value) => found.push([text(key), text(value)]));
    const decoder = new SnapshotDecoder(meta, visitRow, pageSizeBytes === null ? null : taker);
    for (const block of blocksOf(copy)) decoder.takeBlock(block);
    assert.equal(decoder.isComplete, true);
    assert.deepEqual(found, rows);
  }
});

/** The checksum of the block holds again. */
function seal(block: Buffer): void {
  const end = block.length - 4;
  writeU32(block, checksum(block.subarray(4, end)), end);
}

test('whatever a block of leaves says is refused, or rows in order within their page', async t => {
  const {copy} = await sceneOf(t, 3_000, 1_000_000);
  const blocks = blocksOf(copy);
  const at = blocks.findIndex(block => block[4] === leavesKind);
  const sound = Buffer.from(blocks[at] ?? assert.fail('there are leaves'));
  const prng = new Prng(7);
  let refusedCount = 0;
  const roundCount = 2_000;
  for (let round = 0; round < roundCount; round++) {
    const changed = Buffer.from(sound);
    // Most often of the first leaf's header, list or rows, whose bytes say most.
    const range = round % 3 === 0 ? sound.length - 9 : 60;
    const place = 5 + (prng.uint32() % range);
    changed[place] = prng.uint32() & 0xff;
    if (round % 2 === 0) changed[place + 1] = prng.uint32() & 0xff;
    seal(changed);
    let last = Buffer.alloc(0);
    const take = (bytes: Buffer, keyStart: number, keyEnd: number, valueEnd: number): void => {
      assert.ok(keyStart <= keyEnd && keyEnd <= valueEnd && valueEnd <= bytes.length);
      const key = Buffer.from(bytes.subarray(keyStart, keyEnd));
      assert.ok(last.length === 0 || Buffer.compare(last, key) < 0, 'in order');
      last = key;
    };
    const visitRow: ConstructorParameters<typeof SnapshotDecoder>[1] = (bytes, start, end, _, to) =>
      take(bytes, start, end, to);
    const decoder = new SnapshotDecoder(meta, visitRow);
    try {
      for (const block of [...blocks.slice(0, at), changed]) decoder.takeBlock(block);
    } catch (error) {
      assert.ok(error instanceof MalformedBytesError, String(error));
      refusedCount += 1;
    }
  }
  assert.ok(refusedCount > roundCount / 2, `${refusedCount} refused`);
});

test('a leaf that is not above the rows before it is refused', async t => {
  const {copy} = await sceneOf(t, 20_000, 1_000_000);
  const blocks = blocksOf(copy);
  const first = blocks.findIndex(block => block[4] === leavesKind);
  const leaves = blocks.slice(first, first + 2);
  assert.ok(leaves.every(block => block[4] === leavesKind));
  const swapped = [...blocks.slice(0, first), ...leaves.reverse()];
  const taken: number[] = [];
  const take: LeafTaker['take'] = (_, nodes) => taken.push(nodes.length);
  const decoder = new SnapshotDecoder(meta, () => undefined, {pageSizeBytes: 4096, take});
  assert.throws(() => {
    for (const block of swapped) decoder.takeBlock(block);
  }, /rows out of order/);
});

/** A leaf of these rows, laid out as LMDB does; whether LMDB would make it is not asked. */
function leafOf(rows: readonly Row[]): Buffer {
  const page = Buffer.alloc(4096);
  let start = page.length;
  const places: number[] = [];
  for (const [key, value] of rows) {
    const row = Buffer.from(key + value, 'latin1');
    const sizeBytes = nodeHeaderSizeBytes + row.length + rowChecksumSizeBytes;
    start -= sizeBytes + (sizeBytes % 2);
    places.push(start);
    writeU32(page, value.length + rowChecksumSizeBytes, start);
    page.writeUInt16LE(key.length, start + 6);
    page.set(row, start + nodeHeaderSizeBytes);
    writeU32(page, checksum(row), start + nodeHeaderSizeBytes + row.length);
  }
  page.writeUInt16LE(places.length * 2, pageLowerOffset);
  page.writeUInt16LE(start - pageHeaderSizeBytes, pageUpperOffset);
  places.forEach((place, i) => {
    page.writeUInt16LE(place - pageHeaderSizeBytes, pageHeaderSizeBytes + 2 * i);
  });
  return page;
}

for (const [name, rows, problem] of [
  [
    'as LMDB makes them',
    [
      ['\x02a', 'value'],
      ['\x02b', ''],
    ],
    null,
  ],
  [
    'a key too large',
    [
      ['\x02a', ''],
      ['\x02b'.padEnd(3_900, 'b'), ''],
    ],
    /a row key of 3900 bytes/,
  ],
  [
    'a row too large',
    [
      ['\x02a', ''],
      ['\x02b', 'v'.repeat(3_000)],
    ],
    /a row of \d+ bytes/,
  ],
  [
    'a row without a key',
    [
      ['', 'value'],
      ['\x02b', ''],
    ],
    /without a key/,
  ],
  ['a row of the checkpoint itself', [['\0a', 'value']], /the checkpoint itself/],
] as const) {
  test(`a leaf for the file that is built: ${name}`, t => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'snapshot-leaves-'));
    t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
    const page = leafOf(rows);
    const nodes = nodesOf(page) ?? assert.fail('a list of rows');
    const check = new LeafCheck(page.length);
    assert.ok(check.isSound(page, nodes));
    const {rowsChecksum} = check;
    const leaves = new LeafPacker();
    leaves.add(page, {nodes, rowsChecksum});
    const encoder = new SnapshotEncoder();
    const blocks = [encoder.header(meta), encoder.takeLeaves(leaves), encoder.end()];
    const file = path.join(directory, '000002', 'data.mdb');
    const builder = new SnapshotBuilder(file, meta);
    builder.begin();
    const build = (): void => {
      for (const block of blocks) builder.takeBlock(block);
    };
    if (problem !== null) {
      assert.throws(build, problem);
      builder.close();
      return;
    }
    build();
    builder.finish();
    assertHolds(file, rows);
  });
}
