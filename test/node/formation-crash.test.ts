/** The first start, cut short at its worst moment. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster, isServing} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

test('a founder that crashed before it knew that all had met does not wait for who is down', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  for (const member of cluster.members) member.start();
  const [lost, kept, late] = cluster.members;
  assert.ok(lost !== undefined && kept !== undefined && late !== undefined);
  cluster.until(() => lost.record.stage === 'founded', 'the lowest has founded the cluster');
  // So that these two cannot learn from each other that all have met.
  cluster.cut(kept.id, late.id);
  cluster.until(() => lost.record.stage === 'member', 'one has seen all');
  assert.equal(late.record.stage, 'founded');
  late.crash();
  cluster.heal();
  cluster.until(() => [lost, kept].every(isServing), 'the others serve');
  cluster.write(kept, 'key', 'before');
  lost.crash();
  late.start();
  cluster.until(() => [late, kept].every(isServing), 'two of three serve', 5_000);
  assert.equal(cluster.read(late, 'key'), 'before');
});

/** One member that is asked to stop while its first entry is on its way to the disk. */
function stoppedWhileForming(spoil: (member: TestMember) => void): {
  readonly member: TestMember;
  readonly hasStopped: boolean;
} {
  let hasStopped = false;
  let isStopDue = false;
  const watcher = {
    onLife: () => undefined,
    onFatal: () => undefined,
    onLogOpened: () => {
      isStopDue = true;
    },
  };
  const cluster = new TestCluster({ids: ['node1'], member: {watcher}});
  const [member] = cluster.members;
  assert.ok(member !== undefined);
  member.start();
  cluster.until(() => isStopDue, 'the log is open');
  spoil(member);
  cluster.advance(5);
  member.stop(() => {
    hasStopped = true;
  });
  cluster.until(() => !member.isRunning, 'it stops');
  return {member, hasStopped};
}

test('a member that forms its cluster without space stops as it is asked to', () => {
  const {member, hasStopped} = stoppedWhileForming(({disk}) => (disk.spaceSizeBytes = 0));
  assert.equal(member.fatal, null);
  assert.ok(hasStopped);
  assert.equal(member.record.stage, 'founded');
});

test('a failed fdatasync is told of even while the member stops', () => {
  const {member, hasStopped} = stoppedWhileForming(member => {
    member.diskDelayMs = 20;
    member.disk.failNextSync = 'EIO';
  });
  assert.match(member.fatal?.message ?? '', /EIO/);
  assert.ok(!hasStopped);
});
