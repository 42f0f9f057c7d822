import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../../src/base/limits.ts';
import {tickMs} from '../../src/node/node-options.ts';
import {FakeCheckpointDisk} from '../contract/fake-checkpoint-store.ts';
import type {Attempt} from './test-cluster.ts';
import {TestCluster} from './test-cluster.ts';

/** Without space for as long as a test says. */
class FullCheckpointDisk extends FakeCheckpointDisk {
  isFull = false;

  override takeFailure(): Error | null {
    if (!this.isFull) return super.takeFailure();
    return Object.assign(new Error('no space left'), {code: 'ENOSPC'});
  }
}

const three = ['node1', 'node2', 'node3'] as const;

test('a failed fdatasync stops the member, and none of its clients is told success', () => {
  for (const failure of ['failNextSync', 'failNextWrite'] as const) {
    const cluster = new TestCluster({ids: three});
    cluster.startAll();
    const leader = cluster.leader();
    // Alone, the leader's own copy decides.
    for (const member of cluster.members) if (member !== leader) cluster.isolate(member.id);
    leader.disk[failure] = 'EIO';
    const attempt = cluster.put(leader, 'key', 'value');
    cluster.until(() => !leader.isRunning, 'it stops');
    assert.match(leader.fatal?.message ?? '', /EIO/);
    assert.equal(attempt.error?.code, 'OUTCOME_UNKNOWN');
    cluster.heal();
    cluster.write(cluster.leader(), 'key', 'by another');
    leader.start();
    cluster.settle();
    assert.equal(cluster.read(leader, 'key'), 'by another');
  }
});

test('a log that fails with no write waiting stops the member at once', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const leader = cluster.leader();
  cluster.write(leader, 'key', 'value');
  // The next write is a sync mark, or zeros ahead of the log: no client waits for it.
  leader.disk.failNextWrite = 'EIO';
  cluster.until(() => leader.disk.failNextWrite === null, 'a write without a client', 1_000);
  cluster.advance(2 * tickMs);
  assert.equal(leader.isRunning, false);
  assert.match(leader.fatal?.message ?? '', /EIO/);
});

test('a failed fdatasync of a single member acknowledges nothing', () => {
  const cluster = new TestCluster({ids: ['node1']});
  cluster.startAll();
  const only = cluster.leader();
  only.disk.failNextSync = 'EIO';
  const attempt = cluster.put(only, 'key', 'value');
  cluster.until(() => !only.isRunning, 'it stops');
  assert.equal(attempt.error?.outcome, 'unknown');
});

test('a full log refuses writes with 507 and goes on reading; space brings the writes back', () => {
  const cluster = new TestCluster({ids: ['node1']});
  cluster.startAll();
  const only = cluster.leader();
  cluster.write(only, 'key', 'before');
  only.disk.spaceSizeBytes = 0;
  const value = 'x'.repeat(10_000);
  const attempts = Array.from({length: 40}, () => cluster.put(only, 'large', value, 1_000));
  cluster.advance(2_000);
  const refused = cluster.refusal(cluster.put(only, 'key', 'refused'));
  assert.equal(refused.code, 'STORAGE_FULL');
  assert.equal(refused.outcome, 'definite');
  assert.equal(cluster.read(only, 'key'), 'before');
  only.disk.spaceSizeBytes = Infinity;
  cluster.advance(1_000);
  for (const attempt of attempts) assert.ok(attempt.isDone);
  cluster.write(only, 'key', 'after');
  assert.equal(cluster.read(only, 'key'), 'after');
  cluster.settle();
});

test('while the logs of all members are full reads go on, and writes are refused with 507', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  cluster.write(cluster.leader(), 'key', 'before');
  for (const member of cluster.members) member.disk.spaceSizeBytes = 0;
  const value = 'x'.repeat(10_000);
  for (let i = 0; i < 40; i++) cluster.put(cluster.leader(), 'large', value, 1_000);
  cluster.advance(3_000);
  assert.equal(cluster.read(cluster.follower(), 'key'), 'before');
  const refused = cluster.refusal(cluster.put(cluster.leader(), 'key', 'refused'));
  assert.equal(refused.outcome, 'definite');
  assert.equal(refused.code, 'STORAGE_FULL');
  for (const member of cluster.members) member.disk.spaceSizeBytes = Infinity;
  cluster.advance(1_000);
  cluster.write(cluster.follower(), 'key', 'after');
  cluster.settle();
});

test('a leader with a full log gives its place to a member with space', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const full = cluster.leader();
  full.disk.spaceSizeBytes = 0;
  const value = 'x'.repeat(10_000);
  for (let i = 0; i < 40; i++) cluster.put(full, 'large', value, 1_000);
  cluster.until(() => cluster.leaderNow() !== full, 'another leader');
  cluster.write(cluster.leader(), 'key', 'value');
  cluster.write(full, 'key', 'forwarded');
  full.disk.spaceSizeBytes = Infinity;
  cluster.settle();
});

test('no space for a checkpoint ends in 507 when memory is full, and passes', () => {
  const wal = {segmentSizeBytes: 4 * 1024 * 1024, fillStepSizeBytes: 1024 * 1024};
  const cluster = new TestCluster({ids: ['node1'], member: {wal}});
  const checkpointDisk = new FullCheckpointDisk();
  const only = cluster.member('node1');
  only.checkpointDisk = checkpointDisk;
  cluster.startAll();
  checkpointDisk.isFull = true;
  const value = 'x'.repeat(limits.valueSizeBytesMax);
  const attempts: Attempt<unknown>[] = [];
  while (only.state.totalSizeBytes() < limits.overlaySizeBytesMax) {
    assert.ok(attempts.length < 300, 'memory has its bound');
    for (let i = 0; i < 40; i++) {
      attempts.push(cluster.put(only, `key${attempts.length}`, value, 60_000));
    }
    const isFull = (): boolean => only.state.totalSizeBytes() >= limits.overlaySizeBytesMax;
    cluster.until(() => isFull() || attempts.every(attempt => attempt.isDone), 'answers');
  }
  cluster.advance(limits.checkpointIntervalMs);
  const early = new Set(attempts.filter(attempt => attempt.isDone && attempt.error === null));
  assert.ok(
    attempts.some(attempt => !attempt.isDone),
    'some are in the log and wait for room',
  );
  assert.equal(cluster.refusal(cluster.put(only, 'key', 'refused')).code, 'STORAGE_FULL');
  const local = cluster.get(only, 'key', {consistency: 'local'});
  assert.equal(cluster.done(local).value, null);
  const before = cluster.time.afterPollCount;
  cluster.advance(1_000);
  assert.ok(cluster.time.afterPollCount - before < 500, 'waiting takes no turns');
  checkpointDisk.isFull = false;
  // What is in the log goes on when there is room; what waited in front of it was refused.
  cluster.until(() => attempts.every(attempt => attempt.isDone), 'all are answered', 70_000);
  const refusals = attempts.flatMap(attempt => attempt.error ?? []);
  assert.ok(refusals.every(error => error.code === 'STORAGE_FULL' && error.outcome === 'definite'));
  assert.ok(refusals.length < attempts.filter(attempt => !early.has(attempt)).length);
  cluster.until(() => only.state.totalSizeBytes() < limits.overlaySizeBytesMax, 'room again');
  cluster.write(only, 'key', 'after');
  assert.equal(cluster.read(only, 'key'), 'after');
});

test('a leader without space for a checkpoint gives its place to a member that has it', () => {
  const wal = {segmentSizeBytes: 4 * 1024 * 1024, fillStepSizeBytes: 1024 * 1024};
  const cluster = new TestCluster({ids: three, member: {wal}});
  const disks = cluster.members.map(member => {
    const disk = new FullCheckpointDisk();
    member.checkpointDisk = disk;
    return {member, disk};
  });
  cluster.startAll();
  cluster.write(cluster.leader(), 'key', 'before');
  const full = cluster.leader();
  const fullDisk = disks.find(({member}) => member === full)?.disk;
  assert.ok(fullDisk !== undefined);
  fullDisk.isFull = true;
  const value = 'x'.repeat(limits.valueSizeBytesMax);
  const isFull = (): boolean => full.state.totalSizeBytes() >= limits.overlaySizeBytesMax;
  for (let i = 0; !isFull(); i++) {
    assert.ok(i < 300, 'memory has its bound');
    const attempts = Array.from({length: 4}, (_, j) => cluster.put(full, `key${i}-${j}`, value));
    cluster.until(() => isFull() || attempts.every(attempt => attempt.isDone), 'answers');
  }
  cluster.until(() => ![full, null].includes(cluster.leaderNow()), 'another leader', 5_000);
  cluster.write(cluster.leader(), 'key', 'after');
  assert.equal(cluster.read(cluster.leader(), 'key'), 'after');
  // It holds the entry, and what it has applied is older.
  const local = cluster.get(full, 'key', {consistency: 'local'});
  assert.equal(cluster.done(local).value, 'before');
  assert.equal(cluster.refusal(cluster.get(full, 'key', {timeoutMs: 1_000})).code, 'READ_TIMEOUT');
  assert.equal(full.node.notReady(), null);
  fullDisk.isFull = false;
  cluster.until(() => !isFull(), 'room again', 5_000);
  cluster.settle();
  assert.equal(cluster.read(full, 'key'), 'after');
});

test('any other error of a checkpoint stops the member, which comes back whole', () => {
  const cluster = new TestCluster({ids: ['node1']});
  cluster.startAll();
  const only = cluster.leader();
  cluster.write(only, 'key', 'value');
  only.checkpointDisk.nextFailure = 'EIO';
  cluster.until(() => !only.isRunning, 'it stops');
  only.start();
  cluster.leader();
  assert.equal(cluster.read(only, 'key'), 'value');
});

test('a leader whose disk does not answer gives up its place', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const stuck = cluster.leader();
  cluster.write(stuck, 'key', 'before');
  stuck.diskDelayMs = 60_000;
  const attempt = cluster.put(stuck, 'key', 'stuck', 10_000);
  cluster.until(() => cluster.leaderNow() !== stuck, 'another leader');
  cluster.write(cluster.leader(), 'other', 'value');
  // The others hold it: it committed without the stuck disk.
  assert.equal(cluster.read(cluster.leader(), 'key'), 'stuck');
  cluster.until(() => attempt.isDone, 'the deadline', 11_000);
  assert.equal(attempt.error?.outcome, 'unknown');
});

test('a checkpoint that ends while the member stops does not touch the closed log', () => {
  const wal = {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0};
  const cluster = new TestCluster({ids: ['node1'], member: {wal}});
  cluster.startAll();
  const only = cluster.leader();
  const value = 'x'.repeat(5_000);
  for (let i = 0; i < 30; i++) cluster.write(only, `key${i}`, value);
  cluster.until(() => only.state.isCheckpointing(), 'a checkpoint');
  // The log closes at once; the checkpoint takes longer.
  let isStopped = false;
  only.node.beginStop();
  only.node.stop(() => {
    isStopped = true;
  });
  cluster.until(() => isStopped, 'it has stopped');
});
