import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {restoreBackup} from './restore-backup.ts';

const first = {id: 'node1', listen: 'localhost:8080', http: 'localhost:9080'};

/** A directory as a restore leaves it that was killed. */
function killedRestore(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'restore-backup-'));
  t.after(() => fs.rmSync(root, {recursive: true, force: true}));
  for (const name of ['wal', 'checkpoint', 'tmp', 'prepared/checkpoint']) {
    fs.mkdirSync(path.join(root, name), {recursive: true});
  }
  fs.writeFileSync(path.join(root, 'LOCK'), '');
  return root;
}

function restore(root: string): Promise<unknown> {
  return restoreBackup({file: path.join(root, 'no backup'), data: root, first, revisionBump: 1});
}

test('a restore that was killed can be typed again', async t => {
  // It gets as far as the backup file, which is not there.
  await assert.rejects(restore(killedRestore(t)), /cannot be read/);
});

test('a directory that holds anything else is refused, and stays as it is', async t => {
  for (const name of ['identity.json', 'wal/0000000000000001.wal', 'notes']) {
    const root = killedRestore(t);
    fs.writeFileSync(path.join(root, name), 'x');
    await assert.rejects(restore(root), /is not an empty directory/, name);
    assert.ok(fs.existsSync(path.join(root, 'prepared')), name);
  }
});
