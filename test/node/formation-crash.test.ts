/** The first start, cut short at its worst moment. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster, isServing} from './test-cluster.ts';

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
