import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startCluster} from './testing/memory-cluster.ts';

test('a leader knows what each other member holds, and nobody else does', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.propose('1', 'a');
  cluster.stabilize();
  const leader = cluster.raft('1');
  const before = leader.lastIndex;
  assert.deepEqual(leader.matchIndexes, [before, before]);
  cluster.isolate('3');
  cluster.propose('1', 'b');
  cluster.stabilize();
  const matches = [...leader.matchIndexes].sort((a, b) => a - b);
  assert.deepEqual(matches, [before, before + 1]);
  assert.deepEqual(cluster.raft('2').matchIndexes, []);
});
