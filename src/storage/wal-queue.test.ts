import assert from 'node:assert/strict';
import {test} from 'node:test';
import {must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import {initialHardState} from '../raft/hard-state.ts';
import {logIndex, term} from '../raft/ids.ts';
import {WalQueue} from './wal-queue.ts';

const batchSizeBytesMax = 1_000;
const room = 10_000;

function entries(from: number, count: number, sizeBytes: number): Entry[] {
  return Array.from({length: count}, (_, i) =>
    makeEntry({
      term: term(1),
      index: logIndex(from + i),
      type: 'command',
      proposedAtMs: 0,
      data: new Uint8Array(sizeBytes),
    }),
  );
}

function push(queue: WalQueue, list: readonly Entry[], done: () => void = () => undefined): void {
  queue.push(initialHardState, list, done, 0);
}

test('writes that continue each other go into one batch', () => {
  const queue = new WalQueue(batchSizeBytesMax);
  push(queue, entries(1, 2, 10));
  push(queue, entries(3, 1, 10));
  assert.equal(queue.countFor(room), 2);
  const {entryCount, dataSizeBytes, groups} = queue.gather(2);
  assert.deepEqual([entryCount, dataSizeBytes, groups.length], [3, 30, 2]);
});

test('a write that replaces entries begins a batch of its own', () => {
  const queue = new WalQueue(batchSizeBytesMax);
  push(queue, entries(5, 2, 10));
  push(queue, entries(6, 1, 10));
  assert.equal(queue.countFor(room), 1);
});

test('a write larger than a batch is taken apart and reported once, with its last part', () => {
  const queue = new WalQueue(batchSizeBytesMax);
  let doneCount = 0;
  push(queue, entries(1, 10, 300), () => doneCount++);
  const sizes: number[] = [];
  while (!queue.isEmpty) {
    assert.equal(doneCount, 0);
    const count = must(queue.countFor(room), 'a batch');
    sizes.push(queue.gather(count).entryCount);
    queue.depart(count);
    queue.complete(queue.takeInFlight(), null);
  }
  assert.equal(doneCount, 1);
  assert.ok(sizes.length > 1);
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    10,
  );
  assert.equal(queue.pendingSizeBytes, 0);
});

test('one entry larger than a batch goes alone, if there is room for it', () => {
  const queue = new WalQueue(batchSizeBytesMax);
  push(queue, entries(1, 1, 5_000));
  push(queue, entries(2, 1, 10));
  assert.equal(queue.countFor(room), 1);
  assert.equal(queue.countFor(1_000), null);
  assert.ok(queue.oldestSizeBytesMax() > 5_000);
});

test('the oldest write counts until it is completed', () => {
  const queue = new WalQueue(batchSizeBytesMax);
  assert.equal(queue.oldestQueuedAtMs, null);
  queue.push(initialHardState, entries(1, 1, 10), () => undefined, 7);
  queue.push(initialHardState, entries(2, 1, 10), () => undefined, 9);
  queue.depart(1);
  assert.equal(queue.oldestQueuedAtMs, 7);
  queue.complete(queue.takeInFlight(), null);
  assert.equal(queue.oldestQueuedAtMs, 9);
});
