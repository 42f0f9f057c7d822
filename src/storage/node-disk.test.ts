import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {mock, test} from 'node:test';
import {diskContract} from '../../test/contract/disk-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {nodeDisk} from './node-disk.ts';

diskContract('node disk', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-disk-'));
  const dispose = (): void => fs.rmSync(directory, {recursive: true, force: true});
  return {disk: nodeDisk, directory, dispose};
});

diskContract('fake disk', () => {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/data');
  return {disk, directory: '/data', dispose: () => undefined};
});

/** The next calls of it fail with this code, each told of with `syscall`. */
function failNext(method: 'open' | 'fsync', code: string, count: number): {left: number} {
  const state = {left: count};
  const original = fs[method] as (...values: unknown[]) => void;
  mock.method(fs, method, (...values: unknown[]) => {
    if (state.left === 0) {
      original(...values);
      return;
    }
    state.left -= 1;
    const callback = values.at(-1) as (error: Error) => void;
    setImmediate(callback, Object.assign(new Error(code), {code, syscall: method}));
  });
  return state;
}

function synced(directory: string): Promise<Error | null> {
  return new Promise(resolve => nodeDisk.syncDirectory(directory, resolve));
}

test('the sync of a directory waits for a file descriptor', async t => {
  t.after(() => mock.restoreAll());
  for (const code of ['EMFILE', 'ENFILE']) {
    const failures = failNext('open', code, 2);
    assert.equal(await synced(os.tmpdir()), null);
    assert.equal(failures.left, 0);
    mock.restoreAll();
  }
});

test('a directory that cannot be opened, or not be synced, is told of at once', async t => {
  t.after(() => mock.restoreAll());
  failNext('open', 'EACCES', 1);
  assert.match(String(await synced(os.tmpdir())), /EACCES/);
  mock.restoreAll();
  for (const code of ['EIO', 'ENOSPC']) {
    failNext('fsync', code, 1);
    assert.match(String(await synced(os.tmpdir())), new RegExp(code));
    mock.restoreAll();
  }
});
