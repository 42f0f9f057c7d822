import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {DataDirectory} from './data-directory.ts';
import {openDataDirectory, setDirectoryAside} from './data-directory.ts';
import {StorageError} from './storage-error.ts';

function opened(directory: string): Promise<DataDirectory> {
  return new Promise((resolve, reject) => {
    openDataDirectory(directory, (error, data) => {
      if (data === null) reject(error ?? new Error('neither error nor directory'));
      else resolve(data);
    });
  });
}

function withTemporary(body: (root: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-data-'));
    try {
      await body(root);
    } finally {
      fs.rmSync(root, {recursive: true, force: true});
    }
  };
}

test(
  'a new directory gets its layout, for this user only',
  withTemporary(async root => {
    const data = await opened(path.join(root, 'a', 'b'));
    for (const directory of [data.path, data.walDirectory, data.checkpointDirectory]) {
      assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
    }
    assert.deepEqual(fs.readdirSync(data.temporaryDirectory), []);
    assert.deepEqual(data.warnings, []);
    data.release();
  }),
);

test(
  'a second opener is told who holds the directory, and gets in after the release',
  withTemporary(async root => {
    const first = await opened(root);
    await assert.rejects(opened(root), (error: unknown) => {
      assert.ok(error instanceof StorageError);
      assert.match(error.message, new RegExp(`in use by process ${process.pid} `));
      assert.ok(error.message.includes(root));
      return true;
    });
    first.release();
    const second = await opened(root);
    second.release();
  }),
);

test(
  'a process that is killed leaves the directory free',
  withTemporary(async root => {
    const module = new URL('./data-directory.js', import.meta.url).href;
    const script = `
      import {openDataDirectory} from ${JSON.stringify(module)};
      openDataDirectory(${JSON.stringify(root)}, error => {
        process.stdout.write(error === null ? 'held' : error.message);
        setInterval(() => undefined, 1000);
      });`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk] = (await once(holder.stdout, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'held');
    await assert.rejects(opened(root), new RegExp(`in use by process ${holder.pid ?? 0} `));
    const exited = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exited;
    const data = await opened(root);
    data.release();
  }),
);

test(
  'what is not a directory, or open to others, is said by name',
  withTemporary(async root => {
    const file = path.join(root, 'file');
    fs.writeFileSync(file, '');
    await assert.rejects(opened(file), new RegExp(`${file} cannot be used`));
    const shared = path.join(root, 'shared');
    fs.mkdirSync(shared);
    fs.chmodSync(shared, 0o777);
    const data = await opened(shared);
    assert.equal(data.warnings.length, 1);
    assert.match(data.warnings[0] ?? '', /chmod 700/);
    data.release();
  }),
);

test(
  'a directory that cannot be written is said by name',
  withTemporary(async root => {
    // Permissions do not stop root; the kernel's own directory does.
    const isRoot = process.getuid?.() === 0;
    const locked = isRoot ? '/proc/rosetta-locked' : path.join(root, 'locked');
    if (!isRoot) fs.mkdirSync(locked, {mode: 0o500});
    await assert.rejects(opened(locked), new RegExp(`${locked} cannot be used`));
  }),
);

test(
  'what is set aside survives a crash at any moment, and a start in between',
  withTemporary(async root => {
    const data = await opened(root);
    const {identityFile, walDirectory, checkpointDirectory} = data;
    const aside = path.join(root, 'replaced');
    const log = path.join(walDirectory, '1');
    const fill = (name: string): void => {
      fs.writeFileSync(identityFile, name);
      fs.writeFileSync(log, `${name} log`);
      fs.writeFileSync(path.join(checkpointDirectory, 'data'), `${name} checkpoint`);
    };
    const isKept = (name: string): void => {
      assert.equal(fs.readFileSync(path.join(aside, 'identity.json'), 'utf8'), name);
      assert.equal(fs.readFileSync(path.join(aside, 'wal', '1'), 'utf8'), `${name} log`);
      const checkpoint = path.join(aside, 'checkpoint', 'data');
      assert.equal(fs.readFileSync(checkpoint, 'utf8'), `${name} checkpoint`);
    };
    fill('first');
    // It ends before the new identity is there; the directories are made anew by the next start.
    const crash = (): never => {
      throw new Error('crash');
    };
    assert.throws(() => setDirectoryAside(data, crash), /crash/);
    assert.equal(fs.readFileSync(identityFile, 'utf8'), 'first');
    isKept('first');
    fs.writeFileSync(path.join(checkpointDirectory, 'data'), 'an empty one');
    assert.throws(() => setDirectoryAside(data, crash), /crash/);
    // In the middle of the copy of the identity.
    const kept = path.join(aside, 'identity.json');
    fs.renameSync(kept, `${kept}.tmp`);
    fs.truncateSync(`${kept}.tmp`, 2);
    const written = setDirectoryAside(data, () => fs.writeFileSync(identityFile, 'second'));
    assert.equal(written, aside);
    isKept('first');
    assert.deepEqual(fs.readdirSync(walDirectory), []);
    // Only the last one stays.
    fill('second');
    setDirectoryAside(data, () => fs.writeFileSync(identityFile, 'third'));
    isKept('second');
    assert.deepEqual(fs.readdirSync(aside).sort(), ['checkpoint', 'identity.json', 'wal']);
    data.release();
  }),
);

test(
  'a directory with files of others is refused before its tmp is emptied',
  withTemporary(async root => {
    fs.mkdirSync(path.join(root, 'tmp'));
    fs.writeFileSync(path.join(root, 'tmp', 'draft'), 'mine');
    fs.writeFileSync(path.join(root, 'notes.txt'), 'mine');
    await assert.rejects(opened(root), (error: unknown) => {
      assert.ok(error instanceof StorageError);
      assert.match(error.message, /notes\.txt.*name an empty directory/);
      return true;
    });
    assert.equal(fs.readFileSync(path.join(root, 'tmp', 'draft'), 'utf8'), 'mine');
    assert.deepEqual(fs.readdirSync(root).sort(), ['notes.txt', 'tmp']);
    // A first start that ended early leaves what is a node's own.
    fs.rmSync(path.join(root, 'notes.txt'));
    fs.mkdirSync(path.join(root, 'lost+found'));
    const data = await opened(root);
    assert.deepEqual(fs.readdirSync(data.temporaryDirectory), []);
    data.release();
  }),
);
