import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import type {TextRow as Row} from '../../test/contract/checkpoint-file-rows.ts';
import {assertSoundPages, rowsThroughLmdb, text} from '../../test/contract/checkpoint-file-rows.ts';
import {Prng} from '../base/prng.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {CheckpointFileWriter} from './checkpoint-file-writer.ts';
import {checkFileLength, LmdbEnvironment} from './lmdb-environment.ts';

const meta = {index: logIndex(12), term: term(3), membership: emptyMembership};

function newFile(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-file-writer-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  return path.join(directory, 'data.mdb');
}

/** `gapSize`: of bytes between key and value, as a row stream has them. */
function writeRows(file: string, rows: readonly Row[], gapSize: number): void {
  const writer = new CheckpointFileWriter(file, meta);
  for (const [key, value] of rows) {
    const bytes = Buffer.from(`>${key}${'.'.repeat(gapSize)}${value}<`, 'latin1');
    const keyEnd = 1 + key.length;
    const valueStart = keyEnd + gapSize;
    writer.addRow(bytes, 1, keyEnd, valueStart, valueStart + value.length);
  }
  writer.finish();
}

/** Keys of 3 to `keySizeMax` bytes, values of `valueSizeMax` at most, some far larger. */
function randomRows(
  seed: number,
  count: number,
  sizes: {readonly keySizeMax: number; readonly valueSizeMax: number},
): Row[] {
  const prng = new Prng(seed);
  const rows = new Map<string, string>();
  while (rows.size < count) {
    const number = String(prng.uint32() % 1_000_000).padStart(6, '0');
    const key = `\x01${number}`.padEnd(3 + (prng.uint32() % (sizes.keySizeMax - 2)), 'k');
    const isLarge = prng.uint32() % 97 === 0;
    const size = prng.uint32() % (isLarge ? 60_000 : sizes.valueSizeMax + 1);
    rows.set(key, String.fromCharCode(prng.uint32() % 256).repeat(size));
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What a file has to be, by our own walk through its pages and by LMDB; and LMDB goes on with it. */
function checkFile(file: string, rows: readonly Row[]): void {
  const {rowCount, pageCount} = assertSoundPages(file, rows);
  assert.equal(rowCount, rows.length + 1);
  checkFileLength(file);
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  assert.deepEqual(environment.readMeta(), meta);
  assert.deepEqual(rowsThroughLmdb(environment), rows);
  for (const [key, value] of rows.filter((_, i) => i % 7 === 0)) {
    const stored = environment.get(Buffer.from(key, 'latin1'));
    assert.equal(stored === undefined ? null : text(stored), value);
  }
  // Two meta pages and those of the tree of free pages come on top.
  const usedPageCount = environment.usedSizeBytes() / 4096;
  assert.ok(usedPageCount >= pageCount + 2 && usedPageCount <= pageCount + 4, 'pages are counted');
  environment.close();
}

for (const gapSize of [0, 1, 4, 5]) {
  test(`rows with ${gapSize} bytes between key and value are all there`, t => {
    const file = newFile(t);
    const rows = randomRows(gapSize + 1, 700, {keySizeMax: 40, valueSizeMax: 300});
    writeRows(file, rows, gapSize);
    checkFile(file, rows);
  });
}

// From one leaf to several levels of branches, at the number of pages where a branch is full too.
for (const count of [0, 1, 2, 20, 21, 22, 41, 42, 43, 500, 3_000]) {
  test(`${count} rows of one size make a sound tree`, t => {
    const file = newFile(t);
    const rows = Array.from({length: count}, (_, i): Row => {
      return [`\x01${String(i).padStart(6, '0')}`, 'v'.repeat(150)];
    });
    writeRows(file, rows, 2);
    checkFile(file, rows);
  });
}

for (const [seed, keySizeMax, valueSizeMax] of [
  [11, 10, 0],
  [12, 1_900, 10],
  [13, 1_200, 1_500],
  [14, 1_978, 4_000],
] as const) {
  test(`keys of up to ${keySizeMax} and values of up to ${valueSizeMax} bytes`, t => {
    const file = newFile(t);
    const rows = randomRows(seed, 400, {keySizeMax, valueSizeMax});
    writeRows(file, rows, 2);
    checkFile(file, rows);
  });
}

test('every number of pages at one level is a sound tree', t => {
  const file = newFile(t);
  // Branches of three children at most, so that there are many levels.
  const value = 'v'.repeat(1_000);
  for (let count = 1; count <= 60; count++) {
    const rows = Array.from({length: count}, (_, i): Row => {
      return [`\x01${String(i).padStart(6, '0')}`.padEnd(1_000, 'k'), value];
    });
    writeRows(file, rows, 2);
    checkFile(file, rows);
    fs.rmSync(file);
  }
});

test('LMDB changes, frees and copies what was written', async t => {
  const file = newFile(t);
  const rows = randomRows(21, 3_000, {keySizeMax: 40, valueSizeMax: 300});
  writeRows(file, rows, 2);
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  const wanted = new Map(rows);
  const prng = new Prng(22);
  for (let round = 0; round < 5; round++) {
    environment.transaction(() => {
      for (const [key] of rows) {
        const rowKey = Buffer.from(key, 'latin1');
        const draw = prng.uint32() % 8;
        if (draw === 0) {
          environment.remove(rowKey);
          wanted.delete(key);
        } else if (draw === 1) {
          const value = 'n'.repeat(prng.uint32() % 9_000);
          environment.put(rowKey, Buffer.from(value));
          wanted.set(key, value);
        }
      }
    });
  }
  const expected = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
  assert.deepEqual(rowsThroughLmdb(environment), expected);
  // A compact copy fails when a page is neither in use nor free.
  const copy = path.join(path.dirname(file), 'copy.mdb');
  await environment.copyTo(copy);
  environment.close();
  checkFile(copy, expected);
});

test('a large file goes to the disk in parts, and no descriptor is left open', async t => {
  const file = newFile(t);
  const rows = Array.from({length: 72}, (_, i): Row => {
    return [`\x01${String(i).padStart(6, '0')}`, String(i % 10).repeat(1024 * 1024)];
  });
  writeRows(file, rows, 3);
  while (descriptorsOf(file) > 0) await new Promise(resolve => setImmediate(resolve));
  checkFile(file, rows);
});

/** How often this process has the file open; 0 where nobody can say. */
function descriptorsOf(file: string): number {
  const directory = '/proc/self/fd';
  if (!fs.existsSync(directory)) return 0;
  return fs.readdirSync(directory).filter(name => {
    try {
      return fs.readlinkSync(path.join(directory, name)) === file;
    } catch {
      return false;
    }
  }).length;
}

// Around the largest node that stays in its leaf, 2034 bytes: 8, key, value, checksum.
for (let valueSize = 2_012; valueSize <= 2_020; valueSize++) {
  test(`LMDB splits a leaf of values of ${valueSize} bytes as one of its own`, t => {
    for (let addedSize = 2_012; addedSize <= 2_020; addedSize++) {
      const file = newFile(t);
      const rows = ['1', '3', '5', '7'].map((digit): Row => {
        return [`\x01000000${digit}`, digit.repeat(valueSize)];
      });
      writeRows(file, rows, 2);
      const environment = new LmdbEnvironment(file, {isUnsynced: true});
      const wanted = new Map(rows);
      for (const digit of ['2', '4', '6', '8']) {
        const key = `\x01000000${digit}`;
        environment.transaction(() => {
          environment.put(Buffer.from(key, 'latin1'), Buffer.alloc(addedSize, digit));
        });
        wanted.set(key, digit.repeat(addedSize));
      }
      const expected = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
      assert.deepEqual(rowsThroughLmdb(environment), expected);
      environment.close();
      checkFile(file, expected);
    }
  });
}

test('what is not finished is no checkpoint', t => {
  const file = newFile(t);
  const writer = new CheckpointFileWriter(file, meta);
  writer.addRow(Buffer.from('\x01kv'), 0, 2, 2, 3);
  assert.throws(() => checkFileLength(file), /no valid meta page/);
  writer.close();
  writer.close();
  assert.throws(() => checkFileLength(file), /no valid meta page/);
});

test('keys that LMDB does not take are refused', t => {
  const writer = new CheckpointFileWriter(newFile(t), meta);
  const bytes = Buffer.alloc(3_000, 1);
  assert.throws(() => writer.addRow(bytes, 0, 0, 0, 10), /row key of 0 bytes/);
  assert.throws(() => writer.addRow(bytes, 0, 1_979, 1_979, 2_000), /row key of 1979 bytes/);
  writer.addRow(bytes, 0, 1_978, 1_978, 2_000);
  writer.close();
});
