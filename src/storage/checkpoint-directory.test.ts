import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {
  CheckpointDirectory,
  moveDamagedCheckpointAside,
  prepareCurrent,
} from './checkpoint-directory.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import type {Disk} from './disk.ts';
import {nodeDisk} from './node-disk.ts';

function fill(root: string, sizeBytes: number): void {
  const environment = path.join(root, 'checkpoint', '000001');
  fs.mkdirSync(environment, {recursive: true});
  fs.writeFileSync(path.join(environment, 'data.mdb'), Buffer.alloc(sizeBytes));
}

test('of two damaged checkpoints the larger one is kept', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-damaged-'));
  try {
    for (const [sizeBytes, keptSizeBytes] of [
      [5000, 5000],
      [200, 5000],
      [9000, 9000],
    ] as const) {
      fill(root, sizeBytes);
      const kept = moveDamagedCheckpointAside(root);
      const {size} = fs.statSync(path.join(kept, '000001', 'data.mdb'));
      assert.equal(size, keptSizeBytes);
      assert.equal(fs.existsSync(path.join(root, 'checkpoint')), false);
    }
    assert.deepEqual(fs.readdirSync(path.join(root, 'tmp')), []);
  } finally {
    fs.rmSync(root, {recursive: true, force: true});
  }
});

test('starts that die while opening are counted, whatever a power cut has left of the count', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-opening-'));
  try {
    const directory = new CheckpointDirectory(root);
    const opening = path.join(directory.root, 'OPENING');
    const shrinking = path.join(directory.root, '000001', 'SHRINKING');
    fs.mkdirSync(path.dirname(shrinking));
    for (const left of ['\0', '', 'NaN', '-5', '1e-9', ' 2', '9999999999']) {
      fs.writeFileSync(opening, left);
      fs.writeFileSync(shrinking, left);
      for (let count = 0; count < 3; count++) {
        directory.beginOpening();
        directory.beginShrinking('000001');
      }
      assert.throws(() => directory.beginOpening(), CheckpointDamagedError, JSON.stringify(left));
      assert.throws(() => directory.beginShrinking('000001'), /the process died/);
    }
  } finally {
    fs.rmSync(root, {recursive: true, force: true});
  }
});

test('preparing a directory changes nothing; the rename that puts it in force is all that is left', async t => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-current-'));
  t.after(() => fs.rmSync(root, {recursive: true, force: true}));
  const directory = new CheckpointDirectory(root);
  for (const name of ['000001', '000002']) fs.mkdirSync(path.join(directory.root, name));
  directory.switchSync('000001');
  const {fsyncSync, writeFileSync, openSync} = fs;
  const steps: string[] = [];
  const names = new Map<number, string>();
  const step = (name: string): void => {
    steps.push(name);
    assert.equal(directory.readCurrent(), '000001', `before step ${steps.length}`);
  };
  t.mock.method(fs, 'openSync', (file: string, flags: string) => {
    const descriptor = openSync(file, flags);
    names.set(descriptor, path.relative(directory.root, file));
    return descriptor;
  });
  t.mock.method(fs, 'fsyncSync', (file: number) => {
    step(`sync ${names.get(file) ?? ''}`);
    fsyncSync(file);
  });
  t.mock.method(fs, 'writeFileSync', (file: string, content: string) => {
    step('write');
    writeFileSync(file, content);
  });
  prepareCurrent(path.join(directory.root, '000002'));
  t.mock.restoreAll();
  // The last one is `checkpoint/`, where the new directory's own name is.
  const expected = ['write', `sync ${path.join('000002', 'CURRENT')}`, 'sync 000002', 'sync '];
  assert.deepEqual(steps, expected);
  assert.equal(directory.readCurrent(), '000001');
  const synced: string[] = [];
  const disk: Disk = Object.assign(Object.create(nodeDisk) as Disk, {
    syncDirectory: (changed: string, callback: (error: Error | null) => void) => {
      synced.push(changed);
      assert.equal(directory.readCurrent(), '000002', 'renamed first');
      nodeDisk.syncDirectory(changed, callback);
    },
  });
  await new Promise<void>((resolve, reject) => {
    directory.switchTo('000002', disk, error => (error === null ? resolve() : reject(error)));
  });
  assert.deepEqual(synced, [directory.root]);
  assert.deepEqual(fs.readdirSync(path.join(directory.root, '000002')), []);
});
