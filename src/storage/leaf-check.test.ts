import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {Prng} from '../base/prng.ts';
import {leafFlag, nodesOf, pageFlagsOffset} from './checkpoint-page.ts';
import {LeafCheck} from './leaf-check.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';

const pageSize = 4096;
const check = new LeafCheck(pageSize);

function isSound(leaf: Buffer): boolean {
  const nodes = nodesOf(leaf);
  return nodes !== null && check.isSound(leaf, nodes);
}

/** Leaves as LMDB leaves them after rows came in any order, changed their size and went. */
async function leaves(t: TestContext): Promise<readonly Buffer[]> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'leaf-check-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  const source = new LmdbEnvironment(path.join(directory, 'source.mdb'), {isUnsynced: true});
  const prng = new Prng(5);
  for (let round = 0; round < 4; round++) {
    source.transaction(() => {
      for (let i = 0; i < 1_000; i++) {
        const key = Buffer.from(`\x02key${'-'.repeat(i % 5)}${prng.uint32() % 900}`);
        const size = i % 97 === 0 ? 4_000 + (prng.uint32() % 9_000) : prng.uint32() % 200;
        if (prng.uint32() % 4 === 0) source.remove(key);
        else source.put(key, Buffer.alloc(size, i));
      }
    });
  }
  source.padFile();
  const file = path.join(directory, 'data.mdb');
  await source.copyTo(file);
  source.close();
  const bytes = fs.readFileSync(file);
  const found: Buffer[] = [];
  for (let at = 2 * pageSize; at + pageSize <= bytes.length; at += pageSize) {
    const page = bytes.subarray(at, at + pageSize);
    const isPage = page.readUInt32LE(0) === at / pageSize && page.readUInt32LE(4) === 0;
    if (isPage && page.readUInt16LE(pageFlagsOffset) === leafFlag) found.push(page);
  }
  assert.ok(found.length > 20, `${found.length} leaves`);
  return found;
}

test('every leaf that LMDB wrote is sound', async t => {
  for (const [i, leaf] of (await leaves(t)).entries()) assert.ok(isSound(leaf), `leaf ${i}`);
});

test('a flipped bit in the rows of a leaf shows, and the next leaf is judged for itself', async t => {
  const all = await leaves(t);
  const prng = new Prng(6);
  for (const leaf of all.slice(0, 20)) {
    const start = Math.min(...(nodesOf(leaf) ?? []));
    for (let round = 0; round < 200; round++) {
      const damaged = Buffer.from(leaf);
      const at = start + (prng.uint32() % (pageSize - start));
      damaged[at] = damaged.readUInt8(at) ^ (1 << (round % 8));
      assert.ok(!isSound(damaged) || isUnchecked(leaf, at), `byte ${at}`);
      assert.ok(isSound(leaf));
    }
  }
});

/**
 * What stands behind a row up to the next even offset is nobody's, and where a large row lies is in
 * no checksum: the cursor holds it against what it leads to.
 */
function isUnchecked(leaf: Buffer, at: number): boolean {
  const nodes = [...(nodesOf(leaf) ?? [])].sort((a, b) => a - b);
  const node = nodes.filter(offset => offset <= at).at(-1) ?? 0;
  if (leaf.readUInt16LE(node + 4) !== 0) return true;
  return at >= node + 8 + leaf.readUInt16LE(node + 6) + leaf.readUInt16LE(node);
}

test('places of rows that are not those of rows are not sound', async t => {
  const withRows = (await leaves(t)).filter(leaf => (nodesOf(leaf)?.length ?? 0) > 2);
  assert.ok(withRows.length > 20);
  for (const leaf of withRows) {
    const nodes = nodesOf(leaf) ?? [];
    const [first = 0, second = 0, ...rest] = nodes;
    assert.equal(check.isSound(leaf, [first, first, ...rest]), false, 'one is there twice');
    assert.equal(check.isSound(leaf, [first + 2, second, ...rest]), false, 'one is within a row');
    assert.equal(check.isSound(leaf, [first + 1, second, ...rest]), false, 'one is a byte behind');
    assert.equal(check.isSound(leaf, [second, ...rest]), false, 'one is missing');
    assert.ok(check.isSound(leaf, [second, first, ...rest]), 'their order is for others to check');
  }
});
