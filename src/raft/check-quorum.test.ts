/** CheckQuorum (dissertation §6.2): when a leader gives up because the others are silent. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId} from './ids.ts';
import {electionTimeoutTicks, startCluster} from './testing/memory-cluster.ts';

/** What the most patient follower waits for its leader. */
const silenceTicksMax = 2 * electionTimeoutTicks - 1;

test('a leader gives up after the longest election timeout without a majority, not before', () => {
  for (const size of [2, 3, 5]) {
    const cluster = startCluster(size);
    cluster.elect('1');
    cluster.isolate('1');
    for (let i = 1; i < silenceTicksMax; i++) {
      cluster.tick('1');
      assert.equal(cluster.raft('1').role, 'leader', `${size} members, ${i} ticks`);
    }
    cluster.tick('1');
    assert.equal(cluster.raft('1').role, 'follower', `${size} members`);
    assert.equal(cluster.raft('1').leaderId, null);
  }
});

test('silence counts from the last sign of life, whenever in the term that was', () => {
  for (let heardAt = 0; heardAt < 2 * silenceTicksMax; heardAt++) {
    const cluster = startCluster(3);
    cluster.elect('1');
    for (let i = 0; i < heardAt; i++) {
      cluster.raft('1').noteContact(nodeId('2'));
      cluster.tick('1');
    }
    cluster.raft('1').noteContact(nodeId('2'));
    let ticks = 0;
    while (cluster.raft('1').role === 'leader') {
      cluster.tick('1');
      ticks++;
    }
    assert.equal(ticks, silenceTicksMax, `heard after ${heardAt} ticks`);
  }
});

test('one follower of two that says anything at all keeps the leader in office', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let i = 0; i < 10 * electionTimeoutTicks; i++) {
    // Bytes of a message that is still on its way, once in the longest timeout.
    if (i % (silenceTicksMax - 1) === 0) cluster.raft('1').noteContact(nodeId('3'));
    cluster.tick('1');
  }
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').progress(nodeId('3'))?.isActive, true);
  assert.equal(cluster.raft('1').progress(nodeId('2'))?.isActive, false);
});

test('bytes of a stranger or of a minority do not keep a leader in office', () => {
  const cluster = startCluster(5);
  cluster.elect('1');
  for (let i = 0; i < silenceTicksMax; i++) {
    assert.equal(cluster.raft('1').role, 'leader');
    cluster.raft('1').noteContact(nodeId('2'));
    cluster.raft('1').noteContact(nodeId('9'));
    cluster.tick('1');
  }
  assert.equal(cluster.raft('1').role, 'follower');
});

test('a leader believes only in members whose vote it had, until others are heard', () => {
  const cluster = startCluster(3);
  cluster.isolate('3');
  cluster.elect('1');
  assert.equal(cluster.raft('1').progress(nodeId('2'))?.isActive, true);
  assert.equal(cluster.raft('1').progress(nodeId('3'))?.isActive, false);
  cluster.heal();
  cluster.tick('1');
  cluster.stabilize();
  assert.equal(cluster.raft('1').progress(nodeId('3'))?.isActive, true);
});
