import assert from 'node:assert/strict';
import {test} from 'node:test';
import {ProposalQueue} from './proposal-queue.ts';
import type {Proposal} from './proposal.ts';

function proposal(sizeBytes: number, deadlineMs = 0): Proposal {
  const command = new Uint8Array(sizeBytes);
  return {command, deadlineMs, callback: () => undefined, isForwarded: false};
}

test('proposals leave in the order in which they came, and their bytes with them', () => {
  const queue = new ProposalQueue();
  const waiting: Proposal[] = [];
  for (let i = 1; i <= 1_000; i++) {
    const added = proposal(i % 7);
    queue.push(added);
    waiting.push(added);
    if (i % 3 !== 0) continue;
    assert.equal(queue.first, waiting[0]);
    assert.equal(queue.shift(), waiting.shift());
    assert.equal(queue.count, waiting.length);
    assert.equal(
      queue.sizeBytes,
      waiting.reduce((sum, {command}) => sum + command.length, 0),
    );
  }
  assert.deepEqual(queue.takeAll(), waiting);
  assert.deepEqual([queue.count, queue.sizeBytes, queue.shift()], [0, 0, undefined]);
});

test('what has expired is taken out, wherever it stands', () => {
  const queue = new ProposalQueue();
  const all = [5, 1, 9, 2, 7].map(deadlineMs => proposal(10, deadlineMs));
  for (const each of all) queue.push(each);
  queue.shift();
  assert.deepEqual(
    queue.takeExpired(2).map(each => each.deadlineMs),
    [1, 2],
  );
  assert.equal(queue.sizeBytes, 20);
  assert.deepEqual(
    queue.takeAll().map(each => each.deadlineMs),
    [9, 7],
  );
});
