import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startCluster} from './testing/memory-cluster.ts';

test('a leader knows what each other member was sent, and nobody else does', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.propose('1', 'a');
  cluster.stabilize();
  const leader = cluster.raft('1');
  const before = leader.lastIndex;
  assert.deepEqual(leader.sentIndexes, [before, before]);
  cluster.isolate('3');
  cluster.propose('1', 'b');
  cluster.stabilize();
  assert.deepEqual(leader.sentIndexes, [before + 1, before + 1], 'sent, whoever has it');
  // It gathers behind the one that 3 has not answered.
  cluster.propose('1', 'c');
  cluster.stabilize();
  const sent = [...leader.sentIndexes].sort((a, b) => a - b);
  assert.deepEqual(sent, [before + 1, before + 2]);
  assert.deepEqual(cluster.raft('2').sentIndexes, []);
});
