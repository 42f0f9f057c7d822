import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {Prng} from '../base/prng.ts';
import {newestMeta, noPage} from './checkpoint-page.ts';
import {walkPages} from './checkpoint-pages.ts';
import {openRowView} from './checkpoint-row.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';

interface FoundRow {
  readonly key: string;
  readonly valueSize: number;
  readonly offset: number;
}

function environment(t: TestContext): LmdbEnvironment {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-pages-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  return new LmdbEnvironment(path.join(directory, 'data.mdb'), {isUnsynced: true});
}

/** Several levels of pages, rows on pages of their own, and pages that became free. */
function filled(t: TestContext): {file: string; keys: string[]} {
  const rows = environment(t);
  const prng = new Prng(5);
  const keys: string[] = [];
  for (let round = 0; round < 3; round++) {
    rows.transaction(() => {
      for (let i = round; i < 3_000; i += round + 1) {
        const key = `\x02key${String(i).padStart(6, '0')}`;
        const size = i % 400 === 0 ? 30_000 : prng.uint32() % 200;
        rows.put(Buffer.from(key), Buffer.alloc(size, i));
        if (round === 0) keys.push(key);
      }
    });
  }
  rows.padFile();
  rows.close();
  return {file: rows.path, keys};
}

function walk(file: string): {rows: FoundRow[]; damages: string[]} {
  const rows: FoundRow[] = [];
  const damages: string[] = [];
  const onDamage = (offset: number, problem: string): void => {
    damages.push(`${problem} at ${offset}`);
  };
  walkPages(file, {
    onRow: (key, stored, offset) => {
      const value = openRowView(key, stored);
      if (value === null) damages.push(`row at ${offset}`);
      else rows.push({key: key.toString('latin1'), valueSize: value.length, offset});
    },
    onDamage,
    onFreeListDamage: onDamage,
  });
  return {rows, damages};
}

test('every row is found, in order, and where it is', t => {
  const {file, keys} = filled(t);
  const {rows, damages} = walk(file);
  assert.deepEqual(damages, []);
  assert.deepEqual(
    rows.map(row => row.key),
    keys,
  );
  const bytes = fs.readFileSync(file);
  for (const {key, offset} of rows) assert.equal(bytes.indexOf(key, offset, 'latin1'), offset + 8);
});

test('an empty environment has no rows and no damage', t => {
  const rows = environment(t);
  rows.transaction(() => undefined);
  rows.close();
  assert.deepEqual(walk(rows.path), {rows: [], damages: []});
});

test('a changed byte of any row is found', t => {
  const {file} = filled(t);
  const {rows} = walk(file);
  const bytes = fs.readFileSync(file);
  for (const {offset} of rows.filter((_, i) => i % 200 === 0)) {
    // Sizes, flags, and the first byte of the key.
    for (const at of [0, 2, 4, 6, 8].map(field => offset + field)) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x21;
      fs.writeFileSync(file, damaged);
      assert.ok(walk(file).damages.length > 0, `byte ${at}`);
    }
  }
});

test('a changed key in a branch is found: the rows it leads to would be lost to reads', t => {
  const {file} = filled(t);
  const bytes = fs.readFileSync(file);
  const inUse = Buffer.from(bytes);
  let branchCount = 0;
  for (let at = 0; at + 4_096 <= bytes.length; at += 4_096) {
    const isBranch = bytes.readUInt16LE(at + 18) === 1 && bytes.readUInt16LE(at + 20) > 2;
    if (!isBranch) continue;
    // The key of the second node: what the first leads to is below it. Its last digits.
    const node = at + 24 + bytes.readUInt16LE(at + 26);
    const last = node + 8 + bytes.readUInt16LE(node + 6) - 1;
    for (const change of [0xff, 0x00]) {
      const damaged = Buffer.from(inUse);
      damaged.fill(change, node + 8 + 3, last + 1);
      fs.writeFileSync(file, damaged);
      if (walk(file).damages.length > 0) branchCount += 1;
    }
  }
  // Branches that are not in use any more do not count.
  assert.ok(branchCount >= 2, `${branchCount} changes found`);
});

test('whatever the pages hold, the walk ends', t => {
  const {file} = filled(t);
  const bytes = fs.readFileSync(file);
  const prng = new Prng(11);
  for (let i = 0; i < 100; i++) {
    const damaged = Buffer.from(
      bytes.subarray(0, i % 10 === 0 ? prng.uint32() % bytes.length : undefined),
    );
    for (let k = 0; k < 30; k++) {
      // Page headers and the lists behind them, most of all.
      const page = (prng.uint32() % (bytes.length >> 12)) << 12;
      const at = page + (prng.uint32() % (k % 3 === 0 ? 4_096 : 64));
      if (at < damaged.length) damaged[at] = prng.uint32();
    }
    fs.writeFileSync(file, damaged);
    walk(file);
  }
});

function freeListDamages(file: string): string[] {
  return walk(file).damages.filter(damage => damage.startsWith('lists of free pages'));
}

/** Where in the file the tree of free pages begins. */
function freeListsAt(file: string): number {
  const descriptor = fs.openSync(file, 'r');
  const meta = newestMeta(descriptor);
  fs.closeSync(descriptor);
  assert.ok(meta !== null && meta.freeLists.root !== noPage);
  return meta.freeLists.root * meta.pageSize;
}

test('the lists of free pages of a file that is whole are valid, whatever was written', t => {
  const rows = environment(t);
  const prng = new Prng(17);
  let depthMax = 0;
  for (let round = 0; round < 60; round++) {
    rows.transaction(() => {
      for (let i = 0; i < 400; i++) {
        const key = Buffer.from(`\x02${prng.uint32() % 4_000}`);
        const isLarge = prng.uint32() % 50 === 0;
        if (round % 7 === 6) rows.remove(key);
        else rows.put(key, Buffer.alloc(prng.uint32() % (isLarge ? 50_000 : 300), round));
      }
    });
    if (round % 5 !== 4) continue;
    rows.padFile();
    assert.deepEqual(freeListDamages(rows.path), [], `round ${round}`);
    assert.deepEqual(walk(rows.path).damages, []);
    depthMax = Math.max(depthMax, fs.readFileSync(rows.path).readUInt16LE(54));
  }
  rows.close();
  assert.ok(depthMax > 0);
});

test('damage in the lists of free pages is found', t => {
  const {file} = filled(t);
  assert.deepEqual(freeListDamages(file), []);
  const bytes = fs.readFileSync(file);
  const page = freeListsAt(file);
  const node = page + 24 + bytes.readUInt16LE(page + 24);
  // The page's number, its kind, its first node; size, flags, size of the key, the list's count.
  const isBig = bytes.readUInt16LE(node + 4) === 1;
  const list = isBig ? bytes.readUInt32LE(node + 16) * 4_096 + 24 : node + 16;
  for (const at of [page, page + 18, page + 25, node + 1, node + 4, node + 6, list + 2]) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 0x21;
    fs.writeFileSync(file, damaged);
    assert.ok(freeListDamages(file).length > 0, `byte ${at} of ${page}`);
  }
});

test('a page that is in use and free, or free twice, or that is not there, is found', t => {
  const {file} = filled(t);
  const bytes = fs.readFileSync(file);
  const page = freeListsAt(file);
  const node = page + 24 + bytes.readUInt16LE(page + 24);
  assert.equal(bytes.readUInt16LE(node + 4), 0, 'the first list is within its page');
  // Behind the node's header, the key and the count.
  const first = node + 24;
  const count = bytes.readUInt32LE(node + 16);
  assert.ok(count >= 4 && bytes.readBigInt64LE(first) > 0n && bytes.readBigInt64LE(first + 8) > 0n);
  const pageCount = BigInt(bytes.length / 4_096);
  const root = BigInt(rowTreeRoot(file));
  for (const [numbers, problem] of [
    [[root], /is in use/],
    [[bytes.readBigInt64LE(first + 8)], /is free twice/],
    [[-1n, root], /is in use/],
    [[-2n, pageCount - 1n], /there are no 2 pages/],
    [[1n], /there are no 1 pages/],
    [[3n - pageCount, 2n, 3n - pageCount, 2n], /they name more pages than there are/],
  ] as const) {
    const damaged = Buffer.from(bytes);
    for (const [i, number] of numbers.entries()) damaged.writeBigInt64LE(number, first + 8 * i);
    fs.writeFileSync(file, damaged);
    assert.match(freeListDamages(file).join(), problem, numbers.join());
  }
});

function rowTreeRoot(file: string): number {
  const descriptor = fs.openSync(file, 'r');
  const meta = newestMeta(descriptor);
  fs.closeSync(descriptor);
  return meta?.root ?? 0;
}

test('the pages that a row keeps though it became smaller are in use', t => {
  const {file} = filled(t);
  const rows = new LmdbEnvironment(file, {isUnsynced: true});
  const key = Buffer.from('\x02shrunken');
  rows.transaction(() => {
    rows.put(key, Buffer.alloc(60_000));
    rows.put(key, Buffer.alloc(30_000));
  });
  rows.padFile();
  rows.close();
  const {rows: found, damages} = walk(file);
  assert.deepEqual(damages, []);
  const row = found.find(each => each.key === key.toString('latin1'));
  assert.equal(row?.valueSize, 30_000);
  const bytes = fs.readFileSync(file);
  const overflow = bytes.readUInt32LE(row.offset + 8 + key.length);
  assert.equal(bytes.readUInt32LE(overflow * 4_096 + 20), 15, 'LMDB has left it where it was');
  const page = freeListsAt(file);
  const node = page + 24 + bytes.readUInt16LE(page + 24);
  assert.ok(bytes.readUInt16LE(node + 4) === 0 && bytes.readUInt32LE(node + 16) > 0);
  bytes.writeBigInt64LE(BigInt(overflow + 14), node + 24);
  fs.writeFileSync(file, bytes);
  assert.match(freeListDamages(file).join(), /is in use/);
});
