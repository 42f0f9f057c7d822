import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {Prng} from '../base/prng.ts';
import {CheckpointFile} from './checkpoint-file.ts';
import {CheckpointRowCursor} from './checkpoint-row-cursor.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';

type Row = readonly [key: string, value: string];

/** A copy of an environment with `count` rows, several levels of pages, and rows with own pages. */
async function copyOf(t: TestContext, count: number): Promise<{file: string; rows: Row[]}> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-row-cursor-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  const source = new LmdbEnvironment(path.join(directory, 'source.mdb'), {isUnsynced: true});
  const prng = new Prng(count);
  source.transaction(() => {
    for (let i = 0; i < count; i++) {
      const key = Buffer.from(`\x02key${String((i * 7_919) % count).padStart(6, '0')}`);
      const size = i % 211 === 0 ? 4_000 + (prng.uint32() % 30_000) : prng.uint32() % 300;
      source.put(key, Buffer.alloc(size, i));
    }
  });
  source.padFile();
  const rows: Row[] = [];
  source.scan({start: Buffer.of(0), end: Buffer.of(255), isReverse: false}, (key, value) => {
    rows.push([text(key), text(value)]);
    return true;
  });
  const file = path.join(directory, 'data.mdb');
  await source.copyTo(file);
  source.close();
  return {file, rows};
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

function rowsOf(file: string, after: string | null = null): Row[] {
  const open = new CheckpointFile(file);
  try {
    const cursor = new CheckpointRowCursor(
      open,
      after === null ? null : Buffer.from(after, 'latin1'),
    );
    const rows: Row[] = [];
    while (cursor.next()) rows.push([text(cursor.rowKeyView), text(cursor.valueView)]);
    assert.equal(cursor.next(), false, 'the end is the end');
    return rows;
  } finally {
    open.close();
  }
}

for (const count of [0, 1, 5, 100, 5_000]) {
  test(`a copy of ${count} rows is read as LMDB reads it`, async t => {
    const {file, rows} = await copyOf(t, count);
    assert.equal(rows.length, count);
    assert.deepEqual(rowsOf(file), rows);
  });
}

test('it begins behind any key, whether that is there or not', async t => {
  const {file, rows} = await copyOf(t, 1_500);
  for (let i = 0; i < rows.length; i += 13) {
    const [key] = rows[i] ?? [''];
    assert.deepEqual(rowsOf(file, key), rows.slice(i + 1), key);
    assert.deepEqual(rowsOf(file, `${key}!`), rows.slice(i + 1), 'between two keys');
  }
  assert.deepEqual(rowsOf(file, '\x01'), rows);
  assert.deepEqual(rowsOf(file, rows.at(-1)?.[0] ?? ''), []);
  assert.deepEqual(rowsOf(file, '\xff'), []);
});

test('a file that is not what was written is called damaged, or read as it was', async t => {
  const {file, rows} = await copyOf(t, 800);
  const whole = fs.readFileSync(file);
  const prng = new Prng(3);
  let damagedCount = 0;
  for (let round = 0; round < 400; round++) {
    const bytes = Buffer.from(whole);
    const at = prng.uint32() % bytes.length;
    if (round % 10 === 0) fs.writeFileSync(file, bytes.subarray(0, at));
    else {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (round % 8));
      fs.writeFileSync(file, bytes);
    }
    try {
      const found = rowsOf(file);
      // A bit of a branch's key, or of a count, leads nobody astray who reads all of it.
      assert.deepEqual(found, rows);
    } catch (error) {
      assert.ok(error instanceof CheckpointDamagedError, String(error));
      damagedCount += 1;
    }
  }
  assert.ok(damagedCount > 150, `${damagedCount} of 400 were noticed`);
});

test('a row that stands in the place of another is noticed, though each is whole', async t => {
  const {file} = await copyOf(t, 800);
  const whole = fs.readFileSync(file);
  let leafCount = 0;
  for (let page = 2 * 4096; page + 4096 <= whole.length && leafCount < 5; page += 4096) {
    // Leaves with three rows and more: the list of their places begins behind the header.
    if (whole.readUInt16LE(page + 18) !== 2 || whole.readUInt16LE(page + 20) < 6) continue;
    leafCount += 1;
    const bytes = Buffer.from(whole);
    bytes.writeUInt16LE(bytes.readUInt16LE(page + 24), page + 26);
    fs.writeFileSync(file, bytes);
    assert.throws(() => rowsOf(file), CheckpointDamagedError);
  }
  assert.equal(leafCount, 5);
});

test('a row that is listed a byte behind its place is noticed, though it looks like one', t => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-row-cursor-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  const source = new LmdbEnvironment(path.join(directory, 'data.mdb'), {isUnsynced: true});
  source.transaction(() => {
    source.put(Buffer.from('\x02aaa'), Buffer.alloc(20));
    // A byte behind, the size of the value and that of the key are sizes again, and no flag is set.
    source.put(Buffer.alloc(256, '\x02kk'), Buffer.alloc(1_100));
  });
  source.padFile();
  source.close();
  assert.equal(rowsOf(source.path).length, 2);
  const whole = fs.readFileSync(source.path);
  let flippedCount = 0;
  for (let page = 2 * 4096; page + 4096 <= whole.length; page += 4096) {
    if (whole.readUInt16LE(page + 18) !== 2 || whole.readUInt16LE(page + 20) !== 4) continue;
    for (const at of [page + 24, page + 26]) {
      const bytes = Buffer.from(whole);
      bytes[at] = bytes.readUInt8(at) ^ 1;
      fs.writeFileSync(source.path, bytes);
      assert.throws(() => rowsOf(source.path), CheckpointDamagedError);
      flippedCount += 1;
    }
  }
  assert.ok(flippedCount >= 2);
});

test('a cursor reads nothing from a copy that is closed', async t => {
  const {file} = await copyOf(t, 5_000);
  const open = new CheckpointFile(file);
  const cursor = new CheckpointRowCursor(open, null);
  assert.ok(cursor.next());
  open.close();
  assert.throws(() => {
    while (cursor.next());
  }, /closed/);
});
