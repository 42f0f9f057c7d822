import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startOf} from '../../test/contract/starts.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {Prng} from '../base/prng.ts';
import {SeenStartsFile} from './seen-starts.ts';

const file = '/data/peers.json';
const one = '00000000000000aa';
const other = '00000000000000bb';

/** A disk whose operations end one by one, when the test says so. */
class SteppedDisk extends FakeDisk {
  readonly #operations: (() => void)[];

  constructor() {
    const operations: (() => void)[] = [];
    super(
      operation => operations.push(operation),
      report => report(),
    );
    this.#operations = operations;
    this.makeDirectorySync('/data');
  }

  /** False: nothing is under way. */
  step(): boolean {
    const operation = this.#operations.shift();
    operation?.();
    return operation !== undefined;
  }

  finish(): void {
    while (this.step());
  }
}

function unexpected(error: Error): void {
  throw error;
}

test('a count holds once it is durable, and a crash before that forgets nothing that held', () => {
  for (let stepCount = 0; ; stepCount++) {
    const disk = new SteppedDisk();
    const counts = new SeenStartsFile(disk, file);
    assert.equal(counts.record(one, startOf(1), unexpected), false, 'nothing is waited for');
    disk.finish();
    assert.equal(counts.record(one, startOf(1), unexpected), true);
    const syncCount = disk.syncCount;
    assert.equal(counts.record(one, startOf(2), unexpected), false);
    for (let step = 0; step < stepCount; step++) disk.step();
    const holds = counts.record(one, startOf(2), unexpected);
    disk.crash(new Prng(stepCount));
    const kept = new SeenStartsFile(disk, file).get(one);
    if (holds) assert.equal(kept?.count, 2, `after ${stepCount} steps`);
    else
      assert.ok(kept?.count === 1 || kept?.count === 2, `${kept?.count} after ${stepCount} steps`);
    if (!holds) continue;
    assert.ok(stepCount > 1 && disk.syncCount === syncCount + 1, `${stepCount} steps`);
    return;
  }
});

test('a lower count is known for what it is while the higher one is still being written', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  counts.record(one, startOf(7), unexpected);
  assert.deepEqual(counts.get(one), startOf(7));
});

test('counts that arrive during a write share the next one', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  for (let i = 0; i < 40; i++) {
    assert.equal(counts.record(String(i % 20).padStart(16, '0'), startOf(3), unexpected), false);
  }
  disk.finish();
  assert.equal(disk.syncCount, 2);
  for (let i = 0; i < 20; i++) {
    assert.equal(counts.record(String(i).padStart(16, '0'), startOf(3), unexpected), true);
  }
  assert.equal(disk.step(), false, 'nothing is left to write');
});

test('start counts outlive a full disk in memory and are written once there is space', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  counts.record(one, startOf(1), unexpected);
  disk.finish();
  disk.spaceSizeBytes = 0;
  assert.equal(counts.record(one, startOf(2), unexpected), false);
  disk.finish();
  assert.deepEqual(counts.get(one), startOf(2));
  assert.equal(counts.record(one, startOf(2), unexpected), true, 'a full disk keeps no peer away');
  disk.finish();
  assert.deepEqual(new SeenStartsFile(disk, file).get(one), startOf(1));
  disk.spaceSizeBytes = Number.POSITIVE_INFINITY;
  assert.equal(counts.record(one, startOf(2), unexpected), true);
  disk.finish();
  assert.deepEqual(new SeenStartsFile(disk, file).get(one), startOf(2));
});

test('a directory that shows itself again outlives others when there are too many', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  const idOf = (i: number): string => i.toString(16).padStart(16, '0');
  for (let i = 0; i < 64; i++) counts.record(idOf(i), startOf(1), unexpected);
  disk.finish();
  counts.record(idOf(0), startOf(1), unexpected);
  counts.record(idOf(64), startOf(1), unexpected);
  disk.finish();
  const kept = new SeenStartsFile(disk, file);
  assert.deepEqual(kept.get(idOf(0)), startOf(1));
  assert.equal(kept.get(idOf(1)), null);
  assert.deepEqual(kept.get(idOf(2)), startOf(1));
});

test('a disk that fails is reported once, and no count holds any more', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  const failures: string[] = [];
  const fail = (error: Error): number => failures.push(error.message);
  disk.failNextSync = 'EIO';
  assert.equal(counts.record(one, startOf(1), fail), false);
  disk.finish();
  assert.equal(counts.record(one, startOf(1), fail), false);
  assert.equal(counts.record(other, startOf(1), fail), false);
  assert.equal(disk.step(), false, 'nothing more is written');
  assert.equal(failures.length, 1);
  assert.match(failures.join(), /^\/data\/peers\.json cannot be written \(EIO/);
});

test('whoever waits for the end of writing is told after the last write', () => {
  const disk = new SteppedDisk();
  const counts = new SeenStartsFile(disk, file);
  let idleCount = 0;
  counts.whenIdle(() => idleCount++);
  assert.equal(idleCount, 1, 'nothing was begun');
  counts.record(one, startOf(1), unexpected);
  counts.record(other, startOf(5), unexpected);
  counts.whenIdle(() => {
    idleCount++;
    assert.deepEqual(new SeenStartsFile(disk, file).get(other), startOf(5));
  });
  disk.step();
  assert.equal(idleCount, 1);
  disk.finish();
  assert.equal(idleCount, 2);
});
