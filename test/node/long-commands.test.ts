/** Commands that take many turns of the event loop, on whole members. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../../src/base/limits.ts';
import {tickMs} from '../../src/node/node-options.ts';
import {bytes, deleteRange, encode, put, range, transaction} from '../contract/commands.ts';
import {TestCluster} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const keyCount = 5_000;
const putsPerCommand = 100;

function keyOf(i: number): string {
  return `key ${String(i).padStart(6, '0')}`;
}

const deleteAll = encode(transaction({success: [deleteRange(range('key', 'kez'))]}));

function fill(cluster: TestCluster, count = keyCount): void {
  const attempts = [];
  for (let i = 0; i < count; i += putsPerCommand) {
    const success = Array.from({length: putsPerCommand}, (_, j) => put(keyOf(i + j), `${i + j}`));
    attempts.push(cluster.propose(cluster.leader(), encode(transaction({success}))));
  }
  for (const attempt of attempts) cluster.done(attempt);
  cluster.settle();
}

function makeCluster(ids: readonly string[], seed = 1): TestCluster {
  const cluster = new TestCluster({ids, seed});
  cluster.startAll();
  fill(cluster);
  return cluster;
}

function untilSuspended(cluster: TestCluster, member: TestMember): void {
  cluster.until(() => member.machine.isSuspended(), 'it stands still in a command');
}

test('while a delete is under way, every read sees the state before it, or all of it', () => {
  const cluster = makeCluster(['node1', 'node2', 'node3']);
  const follower = cluster.follower();
  const revision = follower.machine.revision();
  const attempt = cluster.propose(cluster.leader(), deleteAll);
  untilSuspended(cluster, follower);
  let readCount = 0;
  while (follower.machine.isSuspended()) {
    const local = cluster.get(follower, keyOf(0), {consistency: 'local'});
    const last = cluster.get(follower, keyOf(keyCount - 1), {consistency: 'local'});
    cluster.turn();
    assert.ok(local.isDone && last.isDone);
    const isOver = !follower.machine.isSuspended();
    if (!isOver) assert.equal(local.value?.value, '0');
    assert.equal(local.value?.value === null, last.value?.value === null);
    readCount++;
  }
  assert.ok(readCount > 3, `${readCount} turns`);
  assert.equal(cluster.done(attempt).type, 'transaction');
  for (const member of cluster.members) assert.equal(cluster.read(member, keyOf(0)), null);
  assert.equal(follower.machine.get(bytes(keyOf(7)), revision)?.version, 1);
  cluster.settle();
});

test('what was acknowledged before is read, and heartbeats go on, while the leader deletes', () => {
  const cluster = makeCluster(['node1', 'node2', 'node3']);
  const leader = cluster.leader();
  const {term} = leader.node.status();
  const attempts = [];
  for (let round = 0; round < 6; round++) {
    attempts.push(cluster.propose(leader, deleteAll));
    for (let i = 0; i < keyCount; i += putsPerCommand) {
      const success = Array.from({length: putsPerCommand}, (_, j) => put(keyOf(i + j), ''));
      attempts.push(cluster.propose(leader, encode(transaction({success}))));
    }
    const read = cluster.get(cluster.follower(), 'another', {timeoutMs: 10_000});
    assert.equal(cluster.done(read).value, round === 0 ? null : `${round - 1}`);
    cluster.write(leader, 'another', `${round}`);
  }
  for (const attempt of attempts) cluster.done(attempt);
  assert.equal(leader.node.status().term, term);
  cluster.settle();
});

for (const seed of [1, 2, 3]) {
  test(`a crash of all members in the middle of a delete loses nothing (seed ${seed})`, () => {
    const cluster = makeCluster(['node1', 'node2', 'node3'], seed);
    cluster.write(cluster.leader(), 'another', 'kept');
    const attempt = cluster.propose(cluster.leader(), deleteAll);
    untilSuspended(cluster, cluster.leader());
    for (let i = 0; i < seed; i++) cluster.turn();
    assert.equal(attempt.isDone, false);
    for (const member of cluster.members) member.crash();
    cluster.startAll();
    assert.equal(cluster.read(cluster.follower(), 'another'), 'kept');
    // A majority had it on disk, or the leader would not have begun to apply it.
    assert.equal(cluster.read(cluster.leader(), keyOf(0)), null);
    cluster.settle();
    assert.equal(cluster.leader().machine.keyCount(), 1);
  });
}

test('a checkpoint that falls due in the middle of a command waits for its end, and follows', () => {
  const cluster = makeCluster(['node1']);
  const only = cluster.leader();
  const deleteMost = encode(transaction({success: [deleteRange(range('key', keyOf(10_000)))]}));
  // The command is on the disk and has begun when the checkpoint is due, and goes on for a while.
  const leadMs = tickMs + 2;
  for (let round = 0; round < 3; round++) {
    cluster.write(only, 'another', `${round}`);
    cluster.until(() => only.state.isCheckpointing(), 'a checkpoint');
    const startedAtMs = cluster.time.nowMs;
    // So many records that the next checkpoint is due after the shortest interval.
    fill(cluster, limits.overlayRecordCountTarget / 2 + 500);
    const dueAtMs = startedAtMs + limits.checkpointIntervalMsMin;
    assert.ok(cluster.time.nowMs < dueAtMs - leadMs && !only.state.isCheckpointing());
    cluster.advance(dueAtMs - leadMs - cluster.time.nowMs);
    const attempt = cluster.propose(only, deleteMost);
    untilSuspended(cluster, only);
    while (only.machine.isSuspended()) {
      assert.equal(only.state.isCheckpointing(), false);
      cluster.turn();
    }
    assert.ok(cluster.time.nowMs >= dueAtMs, 'a tick saw that it was due');
    // At once, and not with the next tick.
    assert.equal(only.state.isCheckpointing(), true);
    cluster.done(attempt);
  }
  only.crash();
  only.start();
  cluster.settle();
  assert.equal(only.machine.keyCount(), limits.overlayRecordCountTarget / 2 - 9_499);
});
