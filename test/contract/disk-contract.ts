/** What storage expects of a Disk; run on the real one and on the fake. */
import assert from 'node:assert/strict';
import path from 'node:path';
import {test} from 'node:test';
import type {Disk, DiskFile} from '../../src/storage/disk.ts';

export interface DiskUnderTest {
  readonly disk: Disk;
  /** An empty directory. */
  readonly directory: string;
  readonly dispose: () => void;
}

function written(file: DiskFile, bytes: Uint8Array, position: number): Promise<void> {
  return done(callback => file.write(bytes, position, callback));
}

type Begin = (callback: (error: Error | null) => void) => void;

function done(begin: Begin): Promise<void> {
  return new Promise((resolve, reject) => {
    begin(error => (error === null ? resolve() : reject(error)));
  });
}

/** For changes of names, which never call back inside the call. */
function named(begin: Begin): Promise<void> {
  return new Promise((resolve, reject) => {
    let hasReturned = false;
    begin(error => {
      assert.ok(hasReturned, 'called back inside the call');
      if (error === null) resolve();
      else reject(error);
    });
    hasReturned = true;
  });
}

function synced(file: DiskFile): Promise<void> {
  return done(callback => file.sync(callback));
}

function created(disk: Disk, file: string): Promise<DiskFile> {
  return new Promise((resolve, reject) => {
    let hasReturned = false;
    disk.create(file, result => {
      assert.ok(hasReturned, 'called back inside the call');
      if (result instanceof Error) reject(result);
      else resolve(result);
    });
    hasReturned = true;
  });
}

export function diskContract(name: string, open: () => DiskUnderTest): void {
  const withDisk = (
    title: string,
    body: (disk: Disk, directory: string) => Promise<void>,
  ): void => {
    test(`${name}: ${title}`, async () => {
      const {disk, directory, dispose} = open();
      try {
        await body(disk, directory);
      } finally {
        dispose();
      }
    });
  };

  withDisk('bytes written at a position are read there', async (disk, directory) => {
    const file = disk.openSync(path.join(directory, 'a'), 'create');
    await written(file, Buffer.from('world'), 6);
    await written(file, Buffer.from('hello '), 0);
    await synced(file);
    const target = Buffer.alloc(20);
    assert.equal(file.readSync(target, 0), 11);
    assert.equal(target.toString('utf8', 0, 11), 'hello world');
    assert.equal(file.readSync(target, 6), 5);
    assert.equal(file.readSync(target, 11), 0);
    assert.equal(file.sizeBytes(), 11);
    file.closeSync();
  });

  withDisk('a file is truncated and written again', async (disk, directory) => {
    const file = disk.openSync(path.join(directory, 'a'), 'create');
    file.writeSync(Buffer.from('0123456789'), 0);
    file.truncateSync(4);
    file.syncSync();
    assert.equal(file.sizeBytes(), 4);
    await written(file, Buffer.from('x'), 6);
    const target = Buffer.alloc(7);
    assert.equal(file.readSync(target, 0), 7);
    assert.deepEqual([...target.subarray(4)], [0, 0, 'x'.charCodeAt(0)]);
    file.closeSync();
  });

  withDisk('create refuses what exists, open what does not', async (disk, directory) => {
    const file = path.join(directory, 'a');
    assert.throws(() => disk.openSync(file, 'open'), {code: 'ENOENT'});
    disk.openSync(file, 'create').closeSync();
    assert.throws(() => disk.openSync(file, 'create'), {code: 'EEXIST'});
    disk.openSync(file, 'open').closeSync();
    await Promise.resolve();
  });

  withDisk('files are listed, renamed and removed', async (disk, directory) => {
    const at = (name: string): string => path.join(directory, name);
    const file = disk.openSync(at('b'), 'create');
    file.writeSync(Buffer.from('b'), 0);
    file.closeSync();
    disk.openSync(at('a'), 'create').closeSync();
    disk.renameSync(at('b'), at('c'));
    disk.syncDirectorySync(directory);
    assert.deepEqual(disk.listSync(directory), ['a', 'c']);
    assert.equal(disk.existsSync(at('b')), false);
    disk.removeSync(at('a'));
    disk.removeSync(at('absent'));
    assert.deepEqual(disk.listSync(directory), ['c']);
    await Promise.resolve();
  });

  withDisk('names change without anybody waiting for them', async (disk, directory) => {
    const at = (name: string): string => path.join(directory, name);
    const file = await created(disk, at('a'));
    await written(file, Buffer.from('text'), 0);
    await named(callback => disk.rename(at('a'), at('b'), callback));
    await named(callback => disk.syncDirectory(directory, callback));
    assert.deepEqual(disk.listSync(directory), ['b']);
    // An open file keeps its bytes under another name, and without any.
    await named(callback => disk.remove(at('b'), callback));
    const target = Buffer.alloc(4);
    assert.equal(file.readSync(target, 0), 4);
    assert.equal(target.toString(), 'text');
    await done(callback => file.close(callback));
    await named(callback => disk.remove(at('b'), callback));
    assert.deepEqual(disk.listSync(directory), []);
  });

  withDisk('a name that cannot change says so', async (disk, directory) => {
    const at = (name: string): string => path.join(directory, name);
    disk.openSync(at('a'), 'create').closeSync();
    await assert.rejects(created(disk, at('a')), {code: 'EEXIST'});
    await assert.rejects(
      named(callback => disk.rename(at('absent'), at('b'), callback)),
      {code: 'ENOENT'},
    );
    assert.deepEqual(disk.listSync(directory), ['a']);
  });

  withDisk('directories are made with their parents', async (disk, directory) => {
    const deep = path.join(directory, 'x', 'y');
    disk.makeDirectorySync(deep);
    disk.makeDirectorySync(deep);
    assert.equal(disk.existsSync(deep), true);
    assert.deepEqual(disk.listSync(deep), []);
    disk.removeSync(path.join(directory, 'x'));
    assert.equal(disk.existsSync(deep), false);
    await Promise.resolve();
  });
}
