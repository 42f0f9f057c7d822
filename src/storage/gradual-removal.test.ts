import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {test} from 'node:test';
import {must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import {GradualRemoval, removalStepSizeBytes} from './gradual-removal.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';

const largeSizeBytes = 3 * removalStepSizeBytes + 1;

/** A directory, and a removal whose pauses end when the test says so. */
function scene(t: TestContext): {
  readonly directory: string;
  readonly removal: GradualRemoval;
  /** False: nothing is left to be done. */
  readonly step: () => boolean;
} {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'gradual-removal-'));
  t.after(() => fs.rmSync(root, {recursive: true, force: true}));
  const timers = new Set<() => void>();
  const setTimer: Clock['setTimer'] = (_, callback) => {
    timers.add(callback);
    return {cancel: () => timers.delete(callback)};
  };
  const step = (): boolean => {
    const [next] = timers;
    if (next === undefined) return false;
    timers.delete(next);
    next();
    return true;
  };
  const directory = path.join(root, 'discarded');
  fs.mkdirSync(directory);
  return {directory, removal: new GradualRemoval(setTimer), step};
}

function write(file: string, sizeBytes: number): void {
  fs.writeFileSync(file, '');
  fs.truncateSync(file, sizeBytes);
}

test('a large file goes piece by piece, and its directory with the last one', t => {
  const {directory, removal, step} = scene(t);
  const file = path.join(directory, 'data.mdb');
  write(file, largeSizeBytes);
  write(path.join(directory, 'data.mdb-lock'), 10);
  removal.remove(directory);
  const sizes = [fs.statSync(file).size];
  while (step()) if (fs.existsSync(file)) sizes.push(fs.statSync(file).size);
  const expected = [0, 1, 2, 3].map(count => largeSizeBytes - count * removalStepSizeBytes);
  assert.deepEqual(sizes, expected);
  assert.equal(fs.existsSync(directory), false);
});

test('what is small goes at once, and what is not there is no error', t => {
  const {directory, removal, step} = scene(t);
  const other = path.join(directory, 'other');
  write(path.join(directory, 'small'), removalStepSizeBytes);
  write(other, 1);
  removal.remove(other);
  assert.equal(fs.existsSync(other), false);
  removal.remove(other);
  removal.remove(directory);
  assert.equal(fs.existsSync(directory), false);
  assert.equal(step(), false);
});

test('several go one after the other, and the rest at once when there is no more time', t => {
  const {directory, removal, step} = scene(t);
  const names = ['a', 'b', 'c'].map(name => path.join(directory, name));
  for (const name of names) {
    write(name, largeSizeBytes);
    removal.remove(name);
  }
  const [first = '', second = ''] = names;
  while (fs.existsSync(first)) assert.equal(step(), true);
  assert.equal(fs.statSync(second).size, largeSizeBytes);
  removal.finish();
  assert.deepEqual(fs.readdirSync(directory), []);
  assert.equal(step(), false);
});

test('a file that has another name too keeps what is in it', t => {
  const {directory, removal, step} = scene(t);
  const file = path.join(directory, 'data.mdb');
  const kept = path.join(path.dirname(directory), 'kept');
  write(file, largeSizeBytes);
  fs.linkSync(file, kept);
  removal.remove(directory);
  while (step());
  assert.equal(fs.existsSync(directory), false);
  assert.equal(fs.statSync(kept).size, largeSizeBytes);
});

test('a file that the process has mapped is not made shorter under it', t => {
  const {directory, removal, step} = scene(t);
  const file = path.join(directory, 'data.mdb');
  const environment = new LmdbEnvironment(file);
  t.after(() => environment.close());
  const value = Buffer.alloc(1_000_000, 'v');
  const keys = Array.from({length: 8}, (_, i) => Buffer.from([1, i]));
  environment.transaction(() => {
    for (const key of keys) environment.put(key, value);
  });
  environment.refresh();
  const descriptor = fs.openSync(file, 'r');
  t.after(() => fs.closeSync(descriptor));
  const {size} = fs.fstatSync(descriptor);
  assert.ok(size > removalStepSizeBytes);
  removal.remove(directory);
  while (step());
  assert.equal(fs.existsSync(directory), false);
  assert.equal(fs.fstatSync(descriptor).size, size);
  for (const key of keys) assert.deepEqual(Buffer.from(must(environment.get(key), 'a row')), value);
});
