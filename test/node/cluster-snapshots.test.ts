import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const three = ['node1', 'node2', 'node3'] as const;
const wal = {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0};

/** Three members, one of which is down while the others forget what it would need. */
function startWithLagging(): {readonly cluster: TestCluster; readonly lagging: TestMember} {
  const cluster = new TestCluster({ids: three, member: {wal}});
  cluster.startAll();
  const lagging = cluster.follower();
  cluster.write(lagging, 'early', 'value');
  lagging.crash();
  const value = 'x'.repeat(5_000);
  for (let i = 0; i < 40; i++) cluster.write(cluster.leader(), `key${i}`, value);
  cluster.until(() => {
    const status = cluster.leader().node.status();
    return status.lastLogIndex - status.log.entries > 5;
  }, 'the log is recycled');
  return {cluster, lagging};
}

test('a member that is behind the log gets a snapshot and follows again', () => {
  const {cluster, lagging} = startWithLagging();
  lagging.start();
  cluster.settle();
  assert.equal(lagging.counts.snapshots, 1);
  assert.equal(cluster.read(lagging, 'early'), 'value');
  assert.equal(cluster.read(lagging, 'key39')?.length, 5_000);
  cluster.write(lagging, 'later', 'value');
  lagging.crash();
  lagging.start();
  cluster.settle();
  assert.equal(cluster.read(lagging, 'later'), 'value');
});

test('a snapshot that arrives while a write is on its way to a slow disk waits for it', () => {
  const {cluster, lagging} = startWithLagging();
  lagging.start();
  // The first write of this life is a vote or a term; it takes several ticks.
  lagging.diskDelayMs = 35;
  const leader = cluster.leader();
  leader.crash();
  cluster.leader();
  cluster.settle();
  leader.start();
  lagging.diskDelayMs = 1;
  cluster.settle();
  assert.equal(lagging.fatal, null);
  assert.equal(cluster.read(lagging, 'early'), 'value');
});

test('a crash at any moment of a snapshot leaves a member that gets another one', () => {
  for (let afterMs = 1; afterMs <= 60; afterMs += 4) {
    const {cluster, lagging} = startWithLagging();
    lagging.start();
    cluster.advance(afterMs);
    lagging.crash();
    lagging.start();
    cluster.settle();
    assert.equal(cluster.read(lagging, 'key39')?.length, 5_000);
  }
});

test('a leader that is lost while it sends a snapshot is replaced by the next', () => {
  const {cluster, lagging} = startWithLagging();
  lagging.checkpointDisk.nextFailure = 'EIO';
  lagging.start();
  cluster.advance(20);
  const [third] = cluster.members.filter(
    member => member !== lagging && member !== cluster.leaderNow(),
  );
  assert.ok(third);
  cluster.cut(lagging.id, cluster.leader().id);
  cluster.advance(100);
  cluster.heal();
  cluster.settle();
  assert.equal(cluster.read(lagging, 'early'), 'value');
});

test('a member whose checkpoint is lost fetches another and keeps its log', () => {
  const cluster = new TestCluster({ids: three, member: {wal}});
  cluster.startAll();
  const value = 'x'.repeat(5_000);
  for (let i = 0; i < 40; i++) cluster.write(cluster.leader(), `key${i}`, value);
  cluster.until(
    () =>
      cluster.members.every(member => {
        const status = member.node.status();
        return status.lastLogIndex - status.log.entries > 5;
      }),
    'the logs are recycled',
  );
  for (const member of cluster.members) {
    member.crash();
    member.loseCheckpoint();
    member.start();
    cluster.settle();
    assert.equal(cluster.read(member, 'key3')?.length, 5_000);
    cluster.write(member, 'again', member.id);
  }
});

test('a single member whose checkpoint and early log are lost says so and stops', () => {
  const cluster = new TestCluster({ids: ['node1'], member: {wal}});
  cluster.startAll();
  const only = cluster.leader();
  const value = 'x'.repeat(5_000);
  for (let i = 0; i < 40; i++) cluster.write(only, `key${i}`, value);
  cluster.until(() => only.node.status().lastLogIndex > only.node.status().log.entries, 'released');
  // The names of the released segments change in the background.
  const {directorySyncCount} = only.disk;
  cluster.until(() => only.disk.directorySyncCount > directorySyncCount, 'recycled');
  only.crash();
  only.loseCheckpoint();
  only.start();
  cluster.until(() => !only.isRunning, 'it stops');
  assert.match(only.fatal?.message ?? '', /restore this single node from a backup/);
});
