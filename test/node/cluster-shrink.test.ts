import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster} from './test-cluster.ts';

const three = ['node1', 'node2', 'node3'] as const;
const hugeSizeBytes = 1024 ** 3;
const wal = {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0, heldSizeBytesMax: 0};

test('a cluster serves while the checkpoints of all members shrink', () => {
  const cluster = new TestCluster({ids: three});
  for (const member of cluster.members) {
    member.checkpointDisk.sizeBytes = hugeSizeBytes;
    member.diskDelayMs = 20;
  }
  cluster.startAll();
  for (let i = 0; i < 30; i++) cluster.write(cluster.leader(), `key${i}`, String(i));
  cluster.until(
    () => cluster.members.every(member => member.checkpointDisk.shrinkCount > 0),
    'all have shrunk',
  );
  cluster.settle();
  for (const member of cluster.members) {
    member.crash();
    member.start();
  }
  cluster.settle();
  for (const member of cluster.members) {
    assert.equal(member.fatal, null);
    for (let i = 0; i < 30; i++) assert.equal(cluster.read(member, `key${i}`), String(i));
  }
});

test('a crash at any moment around a shrink loses nothing', () => {
  let shrunkCount = 0;
  let interruptedCount = 0;
  for (let afterMs = 10; afterMs <= 400; afterMs += 10) {
    const cluster = new TestCluster({ids: ['node1'], seed: afterMs + 1, member: {wal}});
    cluster.startAll();
    const [member] = cluster.members;
    assert.ok(member);
    const value = 'x'.repeat(2_000);
    for (let i = 0; i < 30; i++) cluster.write(member, `key${i}`, `${i} ${value}`);
    member.crash();
    member.checkpointDisk.sizeBytes = hugeSizeBytes;
    // The copy begins with the first tick and ends in the middle of all crashes.
    member.diskDelayMs = 100;
    member.start();
    cluster.advance(afterMs);
    if (member.checkpointDisk.shrinkCount > 0) shrunkCount += 1;
    else interruptedCount += 1;
    member.crash();
    member.diskDelayMs = 1;
    member.start();
    cluster.settle();
    assert.equal(member.fatal, null);
    for (let i = 0; i < 30; i++) assert.equal(cluster.read(member, `key${i}`), `${i} ${value}`);
  }
  assert.ok(shrunkCount > 5 && interruptedCount > 5, `${shrunkCount}, ${interruptedCount}`);
});

test('a member that gets a snapshot while its checkpoint shrinks follows the snapshot', () => {
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
  for (const delayMs of [1, 5, 20, 50]) {
    lagging.checkpointDisk.sizeBytes = hugeSizeBytes;
    lagging.diskDelayMs = delayMs;
    lagging.start();
    cluster.settle();
    assert.equal(lagging.fatal, null);
    assert.equal(cluster.read(lagging, 'early'), 'value');
    assert.equal(cluster.read(lagging, 'key39')?.length, 5_000);
    lagging.crash();
    for (let i = 0; i < 40; i++) cluster.write(cluster.leader(), `key${i}`, value);
    cluster.advance(5_000);
  }
  assert.ok(lagging.counts.snapshots >= 2, `${lagging.counts.snapshots} snapshots`);
});
