import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster, isServing} from './test-cluster.ts';

const three = ['node1', 'node2', 'node3'] as const;

test('three members form a cluster, elect a leader and serve', () => {
  const cluster = new TestCluster({ids: three});
  for (const member of cluster.members) member.start();
  cluster.turn();
  assert.equal(cluster.member('node1').node.notReady()?.code, 'STARTING');
  cluster.until(() => cluster.members.every(isServing), 'all serve', 3_000);
  const ids = new Set(cluster.members.map(member => member.node.status().clusterId));
  assert.equal(ids.size, 1);
  assert.equal(cluster.members.filter(m => m.node.status().state === 'leader').length, 1);
});

test('a write through any member is read through every member at once', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  for (const writer of cluster.members) {
    cluster.write(writer, 'key', writer.id);
    for (const reader of cluster.members) assert.equal(cluster.read(reader, 'key'), writer.id);
  }
  cluster.settle();
});
