import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {restoreBackup} from './restore-backup.ts';

const first = {id: 'node1', listen: 'localhost:8080', http: 'localhost:9080'};

function directory(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'restore-backup-'));
  t.after(() => fs.rmSync(root, {recursive: true, force: true}));
  return root;
}

/** The socket of a process that was killed while it held the directory. */
function leaveSocket(holder: string): Promise<void> {
  fs.mkdirSync(holder);
  const server = net.createServer();
  return new Promise(resolve => {
    server.listen({path: path.join(holder, 'made')}, () => {
      // It is removed by the name that it was made with.
      fs.renameSync(path.join(holder, 'made'), path.join(holder, '0123456789abcdef'));
      server.close(() => resolve());
    });
  });
}

/** A directory as a restore leaves it that was killed. */
async function killedRestore(t: TestContext): Promise<string> {
  const root = directory(t);
  for (const name of ['wal', 'checkpoint', 'tmp', 'prepared/checkpoint']) {
    fs.mkdirSync(path.join(root, name), {recursive: true});
  }
  fs.writeFileSync(path.join(root, 'LOCK'), '');
  if (process.platform === 'linux') await leaveSocket(path.join(root, 'holder'));
  return root;
}

function restore(root: string): Promise<unknown> {
  return restoreBackup({file: path.join(root, 'no backup'), data: root, first, revisionBump: 1});
}

test('a restore that was killed can be typed again', async t => {
  // It gets as far as the backup file, which is not there.
  const root = await killedRestore(t);
  await assert.rejects(restore(root), /cannot be read/);
  assert.deepEqual(fs.readdirSync(root), []);
});

test('a restore that was killed before it began can be typed again', async t => {
  const root = await killedRestore(t);
  fs.rmSync(path.join(root, 'prepared'), {recursive: true});
  await assert.rejects(restore(root), /cannot be read/);
});

test('a new member that only has to be put in place is not thrown away', async t => {
  const root = await killedRestore(t);
  fs.writeFileSync(path.join(root, 'prepared', 'ready.json'), '');
  await assert.rejects(restore(root), /is not an empty directory/);
  assert.ok(fs.existsSync(path.join(root, 'prepared')));
});

test('nothing is removed from a directory that another process may have', async t => {
  const root = path.join(directory(t), 'new');
  const removed: string[] = [];
  const {rmSync} = fs;
  t.mock.method(fs, 'rmSync', (target: string, options: fs.RmOptions) => {
    if (path.dirname(target) === root) removed.push(path.basename(target));
    rmSync(target, options);
  });
  await assert.rejects(restore(root), /cannot be read/);
  assert.ok(removed.includes('wal') && removed.includes('checkpoint'));
  assert.equal(removed.indexOf('LOCK'), removed.length - 1, removed.join(' '));
  assert.equal(fs.existsSync(root), false);
});

test('a directory that holds anything else is refused, and stays as it is', async t => {
  for (const name of ['identity.json', 'wal/0000000000000001.wal', 'notes']) {
    const root = await killedRestore(t);
    fs.writeFileSync(path.join(root, name), 'x');
    await assert.rejects(restore(root), /is not an empty directory/, name);
    assert.ok(fs.existsSync(path.join(root, 'prepared')), name);
  }
});
