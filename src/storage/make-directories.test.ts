import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {makeDirectories} from './make-directories.ts';

test('the levels that miss are made for this user only, and what cannot be made is named', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-make-'));
  try {
    const levels = ['a', 'a/b', 'a/b/c'].map(name => path.join(root, name));
    assert.deepEqual(makeDirectories(path.join(root, 'a/b/c')), levels);
    for (const level of levels) assert.equal(fs.statSync(level).mode & 0o777, 0o700);
    assert.deepEqual(makeDirectories(path.join(root, 'a/b/c')), []);
    const file = path.join(root, 'file');
    fs.writeFileSync(file, '');
    const child = path.join(file, 'child');
    assert.throws(() => makeDirectories(child), {code: 'ENOTDIR', path: child});
    assert.throws(() => makeDirectories(file), {code: 'EEXIST', path: file});
    const link = path.join(root, 'link');
    fs.symlinkSync(path.join(root, 'nowhere', 'else'), link);
    assert.throws(() => makeDirectories(link), {code: 'EEXIST', path: link});
  } finally {
    fs.rmSync(root, {recursive: true, force: true});
  }
});

const hasProc = fs.existsSync('/proc/self');

test(
  'a parent that refuses a child as if it did not exist is an error, no endless loop',
  {skip: hasProc ? false : 'no /proc here'},
  () => {
    const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
    // In a process that can be killed: the loop would be synchronous.
    const script = `
      import {openDataDirectory} from ${url('./data-directory.js')};
      import {nodeDisk} from ${url('./node-disk.js')};
      openDataDirectory('/proc/nope/data', error => console.log(error.name, error.message));
      try { nodeDisk.makeDirectorySync('/proc/nope/wal'); } catch (error) { console.log(error.code); }`;
    const {stdout, signal} = spawnSync(
      process.execPath,
      ['--input-type=module', '--eval', script],
      {encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL'},
    );
    assert.equal(signal, null);
    const [first, second] = stdout.split('\n');
    assert.match(first ?? '', /^StorageError data directory \/proc\/nope\/data cannot be used/);
    assert.match(first ?? '', /mkdir '\/proc\/nope'/);
    assert.equal(second, 'ENOENT');
  },
);
