import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster} from './test-cluster.ts';

test('while all disks are full leadership rests', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  for (const member of cluster.members) member.disk.spaceSizeBytes = 0;
  const value = 'x'.repeat(5_000);
  let code = '';
  while (code !== 'STORAGE_FULL') {
    const attempt = cluster.put(cluster.leader(), 'key', value, 1_000);
    cluster.until(() => attempt.isDone, 'an answer');
    code = attempt.error?.code ?? '';
  }
  const before = cluster.leader().node.status().term;
  cluster.advance(8_000);
  const after = cluster.leader().node.status().term;
  assert.ok(after - before <= 6, `${after - before} elections in 8 seconds`);
  assert.equal(cluster.read(cluster.follower(), 'key'), value);
});
