/** Members that were taken in later, or that come back at another address. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {must} from '../../src/base/assert.ts';
import {TestCluster, isServing, peerOf} from './test-cluster.ts';

const wal = {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0, heldSizeBytesMax: 0};

function grownCluster(): TestCluster {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3'], member: {wal}});
  const founder = cluster.member('node1');
  founder.peers = [];
  founder.start();
  cluster.until(() => isServing(founder), 'one serves');
  cluster.write(founder, 'old', 'value');
  founder.crash();
  founder.peers = ['node2', 'node3'].map(peerOf);
  cluster.startAll();
  cluster.until(
    () => founder.node.members().filter(member => member.role === 'voter').length === 3,
    'three voters',
  );
  return cluster;
}

test('a founder that grew gets a snapshot from those it took in when its checkpoint is lost', () => {
  const cluster = grownCluster();
  const founder = cluster.member('node1');
  const value = 'x'.repeat(4_000);
  for (let i = 0; i < 60; i++) cluster.write(founder, `key${i}`, value);
  cluster.advance(5_000);
  const {log, lastLogIndex} = founder.node.status();
  assert.ok(log.entries < lastLogIndex, 'the log no longer begins at entry 1');
  founder.crash();
  founder.loseCheckpoint();
  founder.start();
  cluster.until(() => isServing(founder), 'the founder serves again', 20_000);
  assert.equal(cluster.read(founder, 'old'), 'value');
  assert.ok(must(cluster.members[0], 'a member').counts.checkpoints > 0);
});

test('a member whose checkpoint is being repaired can be stopped at any moment', () => {
  const cluster = grownCluster();
  const founder = cluster.member('node1');
  const value = 'x'.repeat(4_000);
  for (let i = 0; i < 60; i++) cluster.write(founder, `key${i}`, value);
  cluster.advance(5_000);
  founder.crash();
  founder.diskDelayMs = 20;
  let repairedCount = 0;
  for (let afterMs = 0; afterMs < 400; afterMs += 8) {
    founder.loseCheckpoint();
    founder.start();
    cluster.advance(afterMs);
    if (founder.node.status().checkpointIndex > 0) repairedCount++;
    founder.stop(() => undefined);
    cluster.until(() => !founder.isRunning, `it has stopped after ${afterMs} ms`, 2_000);
    assert.equal(founder.fatal, null);
  }
  assert.ok(repairedCount > 5 && repairedCount < 45, `${repairedCount} times repaired`);
});

test('the connection to a member that came back at another address is kept in an election', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  const [lost, kept, moved] = cluster.members;
  assert.ok(lost !== undefined && kept !== undefined && moved !== undefined);
  lost.crash();
  moved.crash();
  cluster.advance(1_000);
  Object.assign(moved, {address: 'node3:9'});
  moved.start();
  const isConnected = (): boolean => {
    return kept.node.peers().some(peer => peer.id === moved.id && peer.isConnected);
  };
  cluster.until(isConnected, 'the new address is known');
  const {term} = kept.node.status();
  assert.equal(cluster.leaderNow(), null);
  while (cluster.leaderNow() === null) {
    cluster.turn();
    assert.ok(isConnected(), `connected, ${kept.node.status().term - term} terms later`);
    assert.ok(cluster.time.nowMs < 20_000);
  }
  cluster.write(kept, 'key', 'value');
});

test('members that all moved while one was down find each other by their -peers', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  cluster.write(cluster.leader(), 'key', 'value');
  const [down, ...movers] = cluster.members;
  for (const member of cluster.members) member.crash();
  for (const member of movers) Object.assign(member, {address: `${member.id}:9`});
  for (const member of cluster.members) {
    member.peers = cluster.members
      .filter(other => other !== member)
      .map(({id, address}) => ({id, address}));
  }
  for (const member of movers) member.start();
  cluster.until(() => movers.every(isServing), 'both serve', 20_000);
  cluster.write(cluster.leader(), 'key', 'next');
  must(down, 'a member').start();
  cluster.until(() => cluster.members.every(isServing), 'the third finds them too', 20_000);
  assert.equal(cluster.read(must(down, 'a member'), 'key'), 'next');
});

test('an address of -peers that leads nowhere keeps nobody from being found', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  const [first, second] = cluster.members;
  assert.ok(first !== undefined && second !== undefined);
  for (const member of cluster.members) member.crash();
  first.peers = [{id: 'node2', address: 'nowhere:1'}, peerOf('node3')];
  first.start();
  cluster.advance(3_000);
  second.start();
  cluster.until(() => isServing(first) && isServing(second), 'they find each other', 20_000);
  const {term} = first.node.status();
  cluster.advance(10_000);
  assert.equal(first.node.status().term, term);
});

test('a learner that is no longer among the peers is not made a voter', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3', 'node4']});
  const [founder, second, third, gone] = cluster.members;
  assert.ok(founder !== undefined && second !== undefined);
  assert.ok(third !== undefined && gone !== undefined);
  founder.peers = [];
  founder.start();
  cluster.until(() => isServing(founder), 'one serves');
  founder.crash();
  founder.peers = ['node2', 'node4'].map(peerOf);
  founder.start();
  gone.peers = ['node1', 'node2'].map(peerOf);
  gone.start();
  cluster.until(() => founder.node.members().length === 2, 'a learner');
  cluster.advance(500);
  gone.crash();
  founder.crash();
  founder.peers = ['node2', 'node3'].map(peerOf);
  second.peers = ['node1', 'node3'].map(peerOf);
  third.peers = ['node1', 'node2'].map(peerOf);
  for (const member of [founder, second, third]) member.start();
  const voters = (): string[] => {
    const voting = founder.node.members().filter(member => member.role === 'voter');
    return voting.map(member => member.id);
  };
  cluster.until(() => voters().length > 1, 'it has grown');
  cluster.advance(1_000);
  assert.deepEqual(voters(), ['node1', 'node2', 'node3']);
  assert.equal(founder.node.members().length, 4);
});
