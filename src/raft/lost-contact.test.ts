/** What a node may conclude from bytes that are no message of a leader, and from a changed disk. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId} from './ids.ts';
import {electionTimeoutTicks, startCluster, testMembership} from './testing/memory-cluster.ts';

test('a leader that gave up and only answers does not hold up the next election', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  // Its disk is stuck: it stepped down, does not tick, and still refuses forwarded writes.
  cluster.raft('1').stepDown();
  for (let i = 0; i < 20 * electionTimeoutTicks && cluster.raft('2').role !== 'leader'; i++) {
    cluster.raft('2').noteContact(nodeId('1'));
    cluster.raft('3').noteContact(nodeId('1'));
    cluster.tick('2');
    cluster.stabilize();
  }
  assert.equal(cluster.raft('2').role, 'leader');
});

test('bytes of a leader bridge a gap between its heartbeats', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let i = 0; i < 3 * electionTimeoutTicks; i++) {
    cluster.raft('2').noteContact(nodeId('1'));
    cluster.tick('2');
  }
  assert.equal(cluster.raft('2').leaderId, nodeId('1'));
});

test('a learner with another disk is known to hold nothing', () => {
  const cluster = startCluster(1);
  cluster.start(testMembership({voters: ['9']}), [nodeId('2')]);
  cluster.elect('1');
  const grown = testMembership({voters: ['1'], learners: ['2']});
  cluster.raft('1').proposeMembership(grown, 0);
  cluster.propose('1', 'a');
  cluster.stabilize();
  cluster.tick('1');
  cluster.stabilize();
  assert.ok((cluster.raft('1').progress(nodeId('2'))?.matchIndex ?? 0) > 0);
  const members = grown.members.map(member => {
    return member.id === nodeId('2') ? {...member, incarnation: 'fedcba9876543210'} : member;
  });
  cluster.isolate('2');
  cluster.raft('1').proposeMembership({...grown, members}, 0);
  cluster.stabilize();
  assert.equal(cluster.raft('1').progress(nodeId('2'))?.matchIndex, 0);
});
