/** What a checkpoint's file does to the process after it was opened, and how starts come to an end. */
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {mock, test} from 'node:test';
import {close, read, write} from '../../test/contract/checkpoint-store-contract.ts';
import {leafFlag, newestMeta, pageFlagsOffset} from './checkpoint-page.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {StorageError} from './storage-error.ts';

const pageSizeBytes = 4096;

/** A data directory with a checkpoint of many pages. */
async function filled(t: TestContext): Promise<string> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-opening-'));
  t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
  const store = openLmdbCheckpointStore({directory});
  const changes = Array.from({length: 500}, (_, i) => [`row${i}`, `${i}`.repeat(100)] as const);
  await write(store, 5, changes);
  await close(store);
  return directory;
}

function dataFileOf(directory: string): string {
  return path.join(directory, 'checkpoint', '000001', 'data.mdb');
}

function countFileOf(directory: string): string {
  return path.join(directory, 'checkpoint', 'UNSETTLED');
}

/** A page of rows that no opening looks at says that it is another one. */
function damagePage(file: string): void {
  const content = fs.readFileSync(file);
  for (let at = content.length - pageSizeBytes; at > 0; at -= pageSizeBytes) {
    if (content.readUInt16LE(at + pageFlagsOffset) !== leafFlag) continue;
    if (!content.subarray(at, at + pageSizeBytes).includes('row400')) continue;
    content.writeUInt32LE(content.readUInt32LE(at) + 1, at);
  }
  fs.writeFileSync(file, content);
}

/** A process that opens the checkpoint and is killed, as by native code. */
function killedLife(directory: string): void {
  const module = new URL('./lmdb-checkpoint-store.js', import.meta.url).href;
  const program = `
    import {openLmdbCheckpointStore} from ${JSON.stringify(module)};
    openLmdbCheckpointStore({directory: ${JSON.stringify(directory)}});
    process.kill(process.pid, 'SIGKILL');
  `;
  const life = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
  assert.equal(life.signal, 'SIGKILL', life.stderr.toString());
}

test('three lives that a damaged page ended make the next start look at all pages', async t => {
  const directory = await filled(t);
  damagePage(dataFileOf(directory));
  for (let life = 0; life < 3; life++) killedLife(directory);
  assert.throws(
    () => openLmdbCheckpointStore({directory}),
    (error: unknown) => {
      assert.ok(error instanceof CheckpointDamagedError, String(error));
      assert.match(error.message, /data\.mdb is damaged \(byte \d+: page \d+.* is another one\)/);
      return true;
    },
  );
});

test('a damaged row is found too', async t => {
  const directory = await filled(t);
  const file = dataFileOf(directory);
  const content = fs.readFileSync(file);
  for (let at = content.indexOf('400400'); at >= 0; at = content.indexOf('400400', at + 400)) {
    // Behind the key that it may have been found in.
    content[at + 50] = 0;
  }
  fs.writeFileSync(file, content);
  fs.writeFileSync(countFileOf(directory), '3');
  assert.throws(() => openLmdbCheckpointStore({directory}), /checksum of a row/);
});

test('damage in the lists of free pages, which only a commit reads, is found too', async t => {
  const directory = await filled(t);
  const file = dataFileOf(directory);
  const descriptor = fs.openSync(file, 'r+');
  const root = newestMeta(descriptor)?.freeLists.root ?? 0;
  // The kind of the page: LMDB asserts that it is another.
  fs.writeSync(descriptor, Buffer.alloc(2), 0, 2, root * pageSizeBytes + pageFlagsOffset);
  fs.closeSync(descriptor);
  await close(openLmdbCheckpointStore({directory}));
  fs.writeFileSync(countFileOf(directory), '3');
  assert.throws(() => openLmdbCheckpointStore({directory}), /lists of free pages/);
});

test('a checkpoint that is whole is opened, however often its process was killed', async t => {
  const directory = await filled(t);
  for (let life = 0; life < 3; life++) killedLife(directory);
  assert.equal(fs.readFileSync(countFileOf(directory), 'latin1'), '3');
  // Looks at all pages, and need not do so again: an idle follower writes no checkpoint.
  killedLife(directory);
  assert.equal(fs.readFileSync(countFileOf(directory), 'latin1'), '1');
  const store = openLmdbCheckpointStore({directory});
  assert.equal(read(store, 'row7')?.length, 100);
  await close(store);
});

test('a checkpoint that was written, and a stop in order, end the suspicion', async t => {
  const directory = await filled(t);
  const count = countFileOf(directory);
  assert.equal(fs.existsSync(count), false);
  fs.writeFileSync(count, '2');
  const store = openLmdbCheckpointStore({directory});
  assert.equal(fs.readFileSync(count, 'latin1'), '3');
  await write(store, 6, [['a', '1']]);
  while (fs.existsSync(count)) await new Promise(setImmediate);
  await close(store);
  fs.writeFileSync(count, '2');
  await close(openLmdbCheckpointStore({directory}));
  assert.equal(fs.existsSync(count), false);
});

test('nothing is removed after the end that the next life has written', async t => {
  const removals: (() => void)[] = [];
  t.after(() => mock.restoreAll());
  mock.method(fs, 'rm', (target: string, options: fs.RmOptions) => {
    removals.push(() => fs.rmSync(target, options));
  });
  const directory = await filled(t);
  fs.writeFileSync(countFileOf(directory), '3');
  for (const remove of removals) remove();
  assert.equal(fs.readFileSync(countFileOf(directory), 'latin1'), '3');
});

test('a page that the disk does not give back is damage, what the system refuses is not', async t => {
  const directory = await filled(t);
  fs.writeFileSync(countFileOf(directory), '3');
  t.after(() => mock.restoreAll());
  const {readSync} = fs;
  const fail = (code: string): void => {
    mock.method(fs, 'readSync', (...values: Parameters<typeof readSync>) => {
      if ((values[1] as Uint8Array).length !== pageSizeBytes) return readSync(...values);
      throw Object.assign(new Error(`${code}: refused`), {code});
    });
  };
  fail('EIO');
  assert.throws(() => openLmdbCheckpointStore({directory}), CheckpointDamagedError);
  mock.restoreAll();
  fail('ENOMEM');
  assert.throws(
    () => openLmdbCheckpointStore({directory}),
    (error: unknown) => {
      return error instanceof StorageError && !(error instanceof CheckpointDamagedError);
    },
  );
  mock.restoreAll();
  await close(openLmdbCheckpointStore({directory}));
});
