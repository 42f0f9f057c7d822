import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {test} from 'node:test';
import {crashImage} from '../../test/contract/crash-image.ts';
import type {Change} from '../../test/contract/checkpoint-store-contract.ts';
import {
  allBlocks,
  close,
  exported,
  metaAt,
  read,
  settled,
  write,
  writeBlock,
} from '../../test/contract/checkpoint-store-contract.ts';
import type {SnapshotExport} from './checkpoint-store.ts';
import type {Disk} from './disk.ts';
import type {LmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {nodeDisk} from './node-disk.ts';

const rowCount = 3_000;

function temporaryDirectory(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lmdb-snapshot-'));
  t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
  return directory;
}

function open(directory: string, disk: Disk = nodeDisk): LmdbCheckpointStore {
  return openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: 0, disk});
}

/** What another member sends, at index 20. */
async function sentSnapshot(
  t: TestContext,
): Promise<{readonly copy: SnapshotExport; readonly blocks: readonly Uint8Array[]}> {
  const store = open(temporaryDirectory(t));
  t.after(() => close(store));
  const value = '.'.repeat(200);
  const changes = Array.from({length: rowCount}, (_, i): Change => [`row${i}`, `${i} ${value}`]);
  await write(store, 20, changes);
  const copy = await exported(store);
  return {copy, blocks: await allBlocks(copy)};
}

/** What a crash left is one of the two states, whole and of use. Returns its index. */
async function recoveredIndex(directory: string, moment: string): Promise<number> {
  const store = open(directory);
  const {index} = store.meta();
  const isNew = index === 20;
  assert.equal(index, isNew ? 20 : 3, moment);
  assert.equal(read(store, 'stale'), isNew ? undefined : 'row', moment);
  for (let i = 0; i < rowCount; i += 101) {
    assert.equal(read(store, `row${i}`)?.startsWith(`${i} `), isNew || undefined, moment);
  }
  const names = fs.readdirSync(path.join(directory, 'checkpoint'));
  assert.equal(names.filter(name => /^\d+$/.test(name)).length, 1, `${moment}: leftovers`);
  await write(store, index + 1, [['after', 'crash']]);
  await close(store);
  const again = open(directory);
  assert.deepEqual(again.meta(), metaAt(index + 1), moment);
  assert.equal(read(again, 'after'), 'crash', moment);
  await close(again);
  return index;
}

test('a crash at any point of a snapshot leaves the old state or the new one', async t => {
  const {copy, blocks} = await sentSnapshot(t);
  const directory = temporaryDirectory(t);
  const crashes: {readonly directory: string; readonly moment: string}[] = [];
  const crash = (moment: string): void => {
    const left = temporaryDirectory(t);
    crashImage(directory, left);
    crashes.push({directory: left, moment});
  };
  const disk = Object.assign(Object.create(nodeDisk) as Disk, {
    rename: ((source, target, callback) => {
      crash('before the rename');
      nodeDisk.rename(source, target, error => {
        crash('renamed');
        callback(error);
      });
    }) satisfies Disk['rename'],
    syncDirectory: ((changed, callback) => {
      nodeDisk.syncDirectory(changed, error => {
        crash('synced');
        callback(error);
      });
    }) satisfies Disk['syncDirectory'],
  });
  const store = open(directory, disk);
  await write(store, 3, [['stale', 'row']]);
  const incoming = store.beginImport(copy.meta);
  await settled(done => incoming.begin(done));
  crash('begun');
  for (const [i, block] of blocks.entries()) {
    await writeBlock(incoming, block);
    crash(`block ${i}`);
  }
  await settled(done => incoming.finish(done));
  crash('verified');
  await settled(done => incoming.install(done));
  crash('installed');
  await close(store);
  crash('closed');

  const found: string[] = [];
  for (const {directory: left, moment} of crashes) {
    found.push(`${moment}: ${await recoveredIndex(left, moment)}`);
  }
  assert.deepEqual(found, [
    'begun: 3',
    ...blocks.map((_, i) => `block ${i}: 3`),
    'verified: 3',
    'before the rename: 3',
    'renamed: 20',
    'synced: 20',
    'installed: 20',
    'closed: 20',
  ]);
});

test('a switch whose rename a power cut takes back leaves the old state', async t => {
  const {copy, blocks} = await sentSnapshot(t);
  const directory = temporaryDirectory(t);
  const store = open(directory);
  await write(store, 3, [['stale', 'row']]);
  const left = temporaryDirectory(t);
  const incoming = store.beginImport(copy.meta);
  await settled(done => incoming.begin(done));
  for (const block of blocks) await writeBlock(incoming, block);
  await settled(done => incoming.finish(done));
  crashImage(directory, left);
  await settled(done => incoming.install(done));
  await close(store);
  // The old name is back, and perhaps half of what was removed after it.
  const old = path.join(left, 'checkpoint', 'CURRENT');
  assert.equal(fs.readFileSync(old, 'latin1').slice(0, 6), '000001');
  assert.equal(await recoveredIndex(left, 'taken back'), 3);
  assert.equal(await recoveredIndex(directory, 'kept'), 20);
});

test('an import for which there is no space begins nothing', async t => {
  const {copy} = await sentSnapshot(t);
  const directory = temporaryDirectory(t);
  const store = open(directory);
  const tooLarge = store.beginImport(copy.meta, 2 ** 50);
  await assert.rejects(
    settled(done => tooLarge.begin(done)),
    {code: 'ENOSPC', message: /bytes are wanted, \d+ are free/},
  );
  assert.deepEqual(fs.readdirSync(path.join(directory, 'checkpoint')).sort(), [
    '000001',
    'CURRENT',
    'UNSETTLED',
  ]);
  const fitting = store.beginImport(copy.meta, copy.sizeBytes);
  await settled(done => fitting.begin(done));
  fitting.abort();
  await close(store);
});

test('an import goes on after a break of the stream within a row, and nothing is left over', async t => {
  const {copy} = await sentSnapshot(t);
  const directory = temporaryDirectory(t);
  const store = open(directory);
  const abandoned = store.beginImport(copy.meta);
  await settled(done => abandoned.begin(done));
  abandoned.abort();
  const incoming = store.beginImport(copy.meta);
  for (let isWhole = false; !isWhole;) {
    const blocks = await new Promise<Uint8Array[]>((resolve, reject) => {
      incoming.begin((error, after) => {
        if (error === null) allBlocks(copy, after).then(resolve, reject);
        else reject(error);
      });
    });
    isWhole = blocks.length <= 3;
    for (const block of isWhole ? blocks : blocks.slice(0, 2)) {
      await writeBlock(incoming, block);
    }
  }
  await settled(done => incoming.finish(done));
  await settled(done => incoming.install(done));
  copy.close();
  await close(store);
  assert.equal(await recoveredIndex(directory, 'after breaks'), 20);
});

test('a block stays as it is until the next one is asked for, however long that takes', async t => {
  const store = open(temporaryDirectory(t));
  const value = 'v'.repeat(400);
  const rows = Array.from({length: 8_000}, (_, i): Change => [`row${i}`, `${i} ${value}`]);
  await write(store, 5, rows);
  const snapshot = await exported(store);
  const expected = await allBlocks(snapshot);
  assert.ok(expected.length > 10, 'more blocks than are read ahead');
  const reader = snapshot.open(null);
  for (const content of expected) {
    const block = await new Promise<Uint8Array | null>((resolve, reject) => {
      reader.next((error, next) => {
        if (error === null) resolve(next);
        else reject(error);
      });
    });
    // The thread has answered what was asked ahead when it has written this.
    await write(store, store.meta().index + 1, []);
    assert.ok(block !== null && Buffer.compare(block, content) === 0);
  }
  reader.close();
  await close(store);
});

test('a large checkpoint that a snapshot has replaced goes piece by piece', async t => {
  const {copy, blocks} = await sentSnapshot(t);
  const directory = temporaryDirectory(t);
  const store = open(directory);
  const value = 'v'.repeat(1_000_000);
  await write(
    store,
    3,
    Array.from({length: 40}, (_, i): Change => [`large${i}`, value]),
  );
  const old = path.join(directory, 'checkpoint', '000001', 'data.mdb');
  const {size} = fs.statSync(old);
  const isShortened = new Promise<boolean>(resolve => {
    const watcher = fs.watch(old, () => {
      const found = fs.statSync(old, {throwIfNoEntry: false})?.size ?? 0;
      if (found === size) return;
      watcher.close();
      resolve(found > 0);
    });
  });
  const incoming = store.beginImport(copy.meta);
  await settled(done => incoming.begin(done));
  for (const block of blocks) await writeBlock(incoming, block);
  await settled(done => incoming.finish(done));
  await settled(done => incoming.install(done));
  assert.ok(await isShortened, 'it went as a whole');
  await close(store);
  assert.equal(fs.existsSync(path.dirname(old)), false);
});
