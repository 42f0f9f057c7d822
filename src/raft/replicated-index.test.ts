/** What no member that keeps up is sent again. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId} from './ids.ts';
import {startCluster} from './testing/memory-cluster.ts';

test('on a leader it is what whoever keeps up and is furthest behind holds', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.propose('1', 'a');
  cluster.stabilize();
  const leader = cluster.raft('1');
  const before = leader.lastIndex;
  assert.equal(leader.replicatedIndex, before);
  cluster.isolate('3');
  cluster.propose('1', 'b');
  cluster.stabilize();
  assert.equal(leader.lastIndex, before + 1);
  assert.equal(leader.replicatedIndex, before, 'the append to 3 may be on its way');
  // It is lost: 3 is asked where it stands when it comes back, and gets the rest from the disk.
  leader.reportUnreachable(nodeId('3'));
  assert.equal(leader.replicatedIndex, before + 1);
});

test('who does not lead sends nobody anything', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.propose('1', 'a');
  cluster.stabilize();
  const follower = cluster.raft('2');
  assert.equal(follower.replicatedIndex, follower.lastIndex);
});
