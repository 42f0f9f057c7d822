import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {test} from 'node:test';
import {assertKept, fillAndEmpty, shrink} from '../../test/contract/checkpoint-shrink-contract.ts';
import type {Change} from '../../test/contract/checkpoint-store-contract.ts';
import {close, metaAt, read, write} from '../../test/contract/checkpoint-store-contract.ts';
import type {LmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-shrink-'));
  t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
  return directory;
}

function open(directory: string): LmdbCheckpointStore {
  return openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: 0});
}

/** A data directory whose checkpoint is mostly free. */
async function sparseDirectory(t: TestContext): Promise<string> {
  const directory = temporaryDirectory(t);
  const store = open(directory);
  await fillAndEmpty(store);
  await close(store);
  return directory;
}

function generations(directory: string): string[] {
  return fs.readdirSync(path.join(directory, 'checkpoint')).filter(name => /^\d+$/.test(name));
}

/** Opens what a crash left, and uses it. */
async function assertRecovers(directory: string, moment: string): Promise<void> {
  const store = open(directory);
  assert.deepEqual(store.meta(), metaAt(6), moment);
  assertKept(store);
  assert.equal(generations(directory).length, 1, `${moment}: leftovers`);
  await write(store, 7, [['after', 'crash']]);
  assert.equal(await shrink(store), true, moment);
  await close(store);
  const again = open(directory);
  assert.deepEqual(again.meta(), metaAt(7), moment);
  assert.equal(read(again, 'after'), 'crash', moment);
  await close(again);
}

test('a crash before any step of the switch leaves the old file or the new one', async t => {
  const directory = await sparseDirectory(t);
  const crashes: {readonly directory: string; readonly moment: string}[] = [];
  const store = open(directory);
  const crash = (moment: string): void => {
    const copy = temporaryDirectory(t);
    fs.cpSync(directory, copy, {recursive: true});
    crashes.push({directory: copy, moment: `${crashes.length} ${moment}`});
  };
  // The steps of this thread; what the checkpoint's thread leaves is the next test's matter.
  const {renameSync, fsyncSync, writeFileSync} = fs;
  t.mock.method(fs, 'renameSync', (from: string, to: string) => {
    crash('before the rename');
    renameSync(from, to);
    crash('after the rename');
  });
  t.mock.method(fs, 'fsyncSync', (file: number) => {
    crash('before a sync');
    fsyncSync(file);
  });
  t.mock.method(fs, 'writeFileSync', (file: string, content: string) => {
    crash('before a file is written');
    writeFileSync(file, content);
    crash('after a file is written');
  });
  assert.equal(await shrink(store), true);
  t.mock.restoreAll();
  await close(store);
  const moments = crashes.map(({moment}) => moment).join(', ');
  assert.equal(crashes.length, 10, moments);
  const named = crashes.map(crashed => {
    return fs.readFileSync(path.join(crashed.directory, 'checkpoint', 'CURRENT'), 'latin1');
  });
  assert.ok(named[0]?.startsWith('000001'));
  assert.ok(named.at(-1)?.startsWith('000002'));
  for (const crashed of crashes) await assertRecovers(crashed.directory, crashed.moment);
});

test('a crash during the copy, or while the old file is removed, leaves one that is whole', async t => {
  const before = await sparseDirectory(t);
  const after = await sparseDirectory(t);
  const store = open(after);
  await shrink(store);
  await close(store);
  const whole = fs.readFileSync(path.join(after, 'checkpoint', '000002', 'data.mdb'));
  for (const length of [null, 0, 8_192, Math.floor(whole.length / 2), whole.length]) {
    const directory = temporaryDirectory(t);
    fs.cpSync(before, directory, {recursive: true});
    const copy = path.join(directory, 'checkpoint', '000002');
    fs.mkdirSync(copy);
    if (length !== null) fs.writeFileSync(path.join(copy, 'data.mdb'), whole.subarray(0, length));
    await assertRecovers(directory, `${length} bytes copied`);
  }
  for (const left of [['data.mdb', 'data.mdb-lock'], ['data.mdb-lock'], []]) {
    const directory = temporaryDirectory(t);
    fs.cpSync(after, directory, {recursive: true});
    const old = path.join(directory, 'checkpoint', '000001');
    fs.mkdirSync(old);
    for (const name of left) fs.writeFileSync(path.join(old, name), 'half removed');
    await assertRecovers(directory, `${left.length} files left`);
  }
});

test('the old file is removed and the new one belongs to its owner alone', async t => {
  const directory = await sparseDirectory(t);
  const store = open(directory);
  assert.equal(await shrink(store), true);
  await close(store);
  assert.deepEqual(generations(directory), ['000002']);
  const file = path.join(directory, 'checkpoint', '000002', 'data.mdb');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
  assert.equal(fs.existsSync(path.join(path.dirname(file), 'SHRINKING')), false);
});

test('the first write to a file that has shrunk may free many pages', async t => {
  const directory = temporaryDirectory(t);
  const store = open(directory);
  // Each row has a page of its own, so that the list of freed ones takes more than one page.
  const rows = (from: number, to: number, letter: string | null): Change[] =>
    Array.from({length: to - from}, (_, i): Change => {
      return [`row${from + i}`, letter === null ? null : letter.repeat(3_000)];
    });
  await write(store, 5, rows(0, 4_000, 'a'));
  await write(store, 6, rows(1_500, 4_000, null));
  assert.equal(await shrink(store), true);
  await write(store, 7, rows(0, 1_500, 'b'));
  await write(store, 8, rows(0, 1_400, null));
  await close(store);
  const again = open(directory);
  assert.equal(read(again, 'row1399'), undefined);
  assert.equal(read(again, 'row1400'), 'b'.repeat(3_000));
  await write(again, 9, rows(0, 1_500, 'c'));
  assert.equal(read(again, 'row1400'), 'c'.repeat(3_000));
  await close(again);
});

test('a copy that fails is removed, and the store goes on with the old file', async t => {
  const directory = await sparseDirectory(t);
  const store = open(directory);
  // A directory in the place of the next one.
  const blocker = path.join(directory, 'checkpoint', '000002');
  t.mock.method(fs, 'readdirSync', () => []);
  fs.mkdirSync(blocker);
  const failed = shrink(store);
  t.mock.restoreAll();
  await assert.rejects(failed, /EEXIST/);
  fs.rmdirSync(blocker);
  assert.deepEqual(generations(directory), ['000001']);
  assertKept(store);
  await write(store, 7, [['goes', 'on']]);
  assert.equal(await shrink(store), true);
  assert.equal(read(store, 'goes'), 'on');
  await close(store);
});

test('a copy that would leave too little space is not begun', async t => {
  const directory = await sparseDirectory(t);
  const store = openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: 2 ** 50});
  await assert.rejects(shrink(store), {code: 'ENOSPC'});
  assert.deepEqual(generations(directory), ['000001']);
  await write(store, 7, [['goes', 'on']]);
  assertKeptBut(store, 'goes');
  await close(store);
});

test('a switch that fails before CURRENT is replaced leaves the old file in force', async t => {
  for (const step of ['renameSync', 'fsyncSync', 'writeFileSync'] as const) {
    const directory = await sparseDirectory(t);
    const store = open(directory);
    const real = fs.writeFileSync;
    t.mock.method(fs, step, (file: string, content: string) => {
      // The first file is the note that a shrink has begun.
      if (step === 'writeFileSync' && !file.includes('CURRENT')) real(file, content);
      else throw Object.assign(new Error('EIO: refused'), {code: 'EIO'});
    });
    await assert.rejects(shrink(store), /refused/, step);
    t.mock.restoreAll();
    assertKept(store);
    await write(store, 7, [['goes', 'on']]);
    assert.deepEqual(generations(directory), ['000001'], step);
    await close(store);
    const again = open(directory);
    assert.deepEqual(again.meta(), metaAt(7));
    assertKeptBut(again, 'goes');
    await close(again);
  }
});

test('when nobody knows which file the next start finds, nothing more is written', async t => {
  const directory = await sparseDirectory(t);
  const store = open(directory);
  const {renameSync, fsyncSync} = fs;
  let isRenamed = false;
  t.mock.method(fs, 'renameSync', (from: string, to: string) => {
    renameSync(from, to);
    isRenamed = true;
  });
  t.mock.method(fs, 'fsyncSync', (file: number) => {
    if (isRenamed) throw Object.assign(new Error('EIO: refused'), {code: 'EIO'});
    fsyncSync(file);
  });
  await assert.rejects(shrink(store), /refused/);
  t.mock.restoreAll();
  assertKept(store);
  await assert.rejects(write(store, 7, [['lost', 'perhaps']]), /refused/);
  await assert.rejects(shrink(store), /refused/);
  await close(store);
  assert.deepEqual(generations(directory), ['000001', '000002']);
  // Whichever of the two a power cut brings back.
  const other = temporaryDirectory(t);
  fs.cpSync(directory, other, {recursive: true});
  const first = await sparseDirectory(t);
  fs.copyFileSync(
    path.join(first, 'checkpoint', 'CURRENT'),
    path.join(other, 'checkpoint', 'CURRENT'),
  );
  await assertRecovers(directory, 'the new one');
  await assertRecovers(other, 'the old one');
});

test('a file that ends the process whenever it is copied is left as it is', async t => {
  const directory = await sparseDirectory(t);
  const note = path.join(directory, 'checkpoint', '000001', 'SHRINKING');
  fs.writeFileSync(note, '3');
  const store = open(directory);
  await assert.rejects(shrink(store), /died in each of the last 3 attempts/);
  assertKept(store);
  fs.writeFileSync(note, '2');
  assert.equal(await shrink(store), true, 'two may be chance');
  await close(store);
});

function assertKeptBut(store: LmdbCheckpointStore, key: string): void {
  assert.equal(read(store, key), 'on');
  assert.ok(read(store, 'row00199')?.startsWith('199 vvv'));
}
