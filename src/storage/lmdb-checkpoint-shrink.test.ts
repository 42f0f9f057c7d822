import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {test} from 'node:test';
import {assertKept, fillAndEmpty, shrink} from '../../test/contract/checkpoint-shrink-contract.ts';
import type {Change} from '../../test/contract/checkpoint-store-contract.ts';
import {
  allBlocks,
  close,
  exported,
  importAll,
  metaAt,
  read,
  settled,
  write,
} from '../../test/contract/checkpoint-store-contract.ts';
import {crashImage} from '../../test/contract/crash-image.ts';
import type {Disk} from './disk.ts';
import type {LmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {nodeDisk} from './node-disk.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-shrink-'));
  t.after(() => fs.rmSync(directory, {recursive: true, force: true}));
  return directory;
}

function open(directory: string, disk: Disk = nodeDisk): LmdbCheckpointStore {
  return openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: 0, disk});
}

/** The real disk, but for the operations that are given. */
function diskWith(changed: Partial<Pick<Disk, 'rename' | 'syncDirectory'>>): Disk {
  return Object.assign(Object.create(nodeDisk) as Disk, changed);
}

/** The real disk, but renames wait for `release`; `isReached` resolves when the first one is asked for. */
function diskThatWaits(): {
  readonly disk: Disk;
  readonly isReached: Promise<void>;
  readonly release: () => void;
} {
  let reach: () => void = () => undefined;
  let release: () => void = () => undefined;
  const isReached = new Promise<void>(resolve => (reach = resolve));
  const isReleased = new Promise<void>(resolve => (release = resolve));
  const disk = diskWith({
    rename: (source, target, callback) => {
      reach();
      isReleased.then(
        () => nodeDisk.rename(source, target, callback),
        () => undefined,
      );
    },
  });
  return {disk, isReached, release};
}

function refused(): Error {
  return Object.assign(new Error('EIO: refused'), {code: 'EIO'});
}

let sparseTemplate: Promise<string> | null = null;

/** A data directory whose checkpoint is mostly free: each a copy of one that was filled once. */
async function sparseDirectory(t: TestContext): Promise<string> {
  sparseTemplate ??= makeSparseTemplate();
  const template = await sparseTemplate;
  const directory = temporaryDirectory(t);
  fs.cpSync(template, directory, {recursive: true});
  return directory;
}

async function makeSparseTemplate(): Promise<string> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-sparse-'));
  process.once('exit', () => fs.rmSync(directory, {recursive: true, force: true}));
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
  const crash = (moment: string): void => {
    const copy = temporaryDirectory(t);
    crashImage(directory, copy);
    crashes.push({directory: copy, moment});
  };
  const disk = diskWith({
    rename: (source, target, callback) => {
      crash('before the rename');
      nodeDisk.rename(source, target, error => {
        crash('after the rename');
        callback(error);
      });
    },
    syncDirectory: (changed, callback) => {
      nodeDisk.syncDirectory(changed, error => {
        crash('after the sync');
        callback(error);
      });
    },
  });
  const store = open(directory, disk);
  assert.equal(await shrink(store), true);
  await close(store);
  const named = crashes.map(crashed => {
    const file = path.join(crashed.directory, 'checkpoint', 'CURRENT');
    return `${crashed.moment}: ${fs.readFileSync(file, 'latin1').slice(0, 6)}`;
  });
  assert.deepEqual(named, [
    'before the rename: 000001',
    'after the rename: 000002',
    'after the sync: 000002',
  ]);
  for (const crashed of crashes) await assertRecovers(crashed.directory, crashed.moment);
});

test('the switch makes this thread wait for no fsync', async t => {
  const directory = await sparseDirectory(t);
  const store = open(directory);
  const fsync = t.mock.method(fs, 'fsyncSync');
  const rename = t.mock.method(fs, 'renameSync');
  assert.equal(await shrink(store), true);
  assert.equal(fsync.mock.callCount() + rename.mock.callCount(), 0);
  t.mock.restoreAll();
  await close(store);
});

test('a checkpoint that is due during the switch goes to the file that is in force after it', async t => {
  for (const fails of [false, true]) {
    const directory = await sparseDirectory(t);
    const {disk, isReached, release} = diskThatWaits();
    const store = open(
      directory,
      diskWith({
        rename: (source, target, callback) => {
          disk.rename(source, fails ? path.join(target, 'nowhere') : target, callback);
        },
      }),
    );
    const shrinking = shrink(store);
    await isReached;
    const written = write(store, 7, [['during', 'switch']]);
    assert.equal(store.meta().index, 6);
    assertKept(store);
    release();
    if (fails) await assert.rejects(shrinking, /nowhere/);
    else assert.equal(await shrinking, true);
    await written;
    assert.equal(read(store, 'during'), 'switch');
    await close(store);
    assert.deepEqual(generations(directory), [fails ? '000001' : '000002']);
    const again = open(directory);
    assert.deepEqual(again.meta(), metaAt(7));
    assert.equal(read(again, 'during'), 'switch');
    await close(again);
  }
});

test('a snapshot that is installed during the switch of a copy comes after it', async t => {
  const directory = await sparseDirectory(t);
  const sourceDirectory = temporaryDirectory(t);
  const source = open(sourceDirectory);
  await write(source, 90, [['from', 'snapshot']]);
  const snapshot = await exported(source);
  const blocks = await allBlocks(snapshot);
  snapshot.close();
  await close(source);
  const {disk, isReached, release} = diskThatWaits();
  const store = open(directory, disk);
  const incoming = store.beginImport(snapshot.meta);
  await importAll(incoming, blocks);
  const shrinking = shrink(store);
  await isReached;
  const installed = settled(done => incoming.install(done));
  release();
  assert.equal(await shrinking, true);
  await installed;
  assert.equal(store.meta().index, 90);
  await write(store, 91, [['next', 'row']]);
  await close(store);
  const again = open(directory);
  assert.deepEqual(again.meta(), metaAt(91));
  assert.equal(read(again, 'from'), 'snapshot');
  assert.equal(generations(directory).length, 1);
  await close(again);
});

test('closing waits for the switch', async t => {
  const directory = await sparseDirectory(t);
  const {disk, isReached, release} = diskThatWaits();
  const store = open(directory, disk);
  const shrinking = shrink(store);
  await isReached;
  const closed = close(store);
  release();
  assert.equal(await shrinking, true);
  await closed;
  await assertRecovers(directory, 'closed');
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
    if (length === whole.length) fs.writeFileSync(path.join(copy, 'CURRENT'), '0000');
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
  const directory = await sparseDirectory(t);
  const store = open(directory, diskWith({rename: (_source, _target, done) => done(refused())}));
  await assert.rejects(shrink(store), /refused/);
  assertKept(store);
  await write(store, 7, [['goes', 'on']]);
  assert.deepEqual(generations(directory), ['000001']);
  await close(store);
  const again = open(directory);
  assert.deepEqual(again.meta(), metaAt(7));
  assertKeptBut(again, 'goes');
  await close(again);
});

test('when nobody knows which file the next start finds, nothing more is written', async t => {
  for (const code of ['EIO', 'ENOSPC']) {
    const directory = await sparseDirectory(t);
    const failure = Object.assign(new Error(`${code}: refused`), {code});
    const store = open(directory, diskWith({syncDirectory: (_changed, done) => done(failure)}));
    await assert.rejects(shrink(store), /refused/);
    assertKept(store);
    await assert.rejects(write(store, 7, [['lost', 'perhaps']]), /refused/);
    await assert.rejects(shrink(store), /refused/);
    await close(store);
    assert.deepEqual(generations(directory), ['000001', '000002']);
    // Whichever of the two a power cut brings back.
    const other = temporaryDirectory(t);
    crashImage(directory, other);
    const first = await sparseDirectory(t);
    fs.copyFileSync(
      path.join(first, 'checkpoint', 'CURRENT'),
      path.join(other, 'checkpoint', 'CURRENT'),
    );
    await assertRecovers(directory, 'the new one');
    await assertRecovers(other, 'the old one');
  }
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
