/** Ongaro's dissertation §3.10, §4, §6, §9.6: transfer, membership, reads, pre-vote. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId, term} from './ids.ts';
import type {Membership} from './membership.ts';
import {
  electionTimeoutTicks,
  MemoryCluster,
  startCluster,
  testMembership,
} from './testing/memory-cluster.ts';

function change(cluster: MemoryCluster, leader: string, next: Membership): void {
  const result = cluster.raft(leader).proposeMembership(next, 0);
  assert.equal(result.type, 'accepted');
  cluster.stabilize();
}

test('§3.10: leadership moves within one exchange, without an election timeout', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  assert.equal(cluster.raft('1').transferLeadership(nodeId('3')), true);
  assert.equal(cluster.raft('1').isTransferring(), true);
  cluster.stabilize();
  assert.equal(cluster.raft('3').role, 'leader');
  assert.equal(cluster.raft('1').role, 'follower');
});

test('§3.10: a leader that transfers accepts no proposals, and resumes when it fails', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('3');
  const raft = cluster.raft('1');
  raft.transferLeadership(nodeId('3'));
  assert.deepEqual(raft.propose(new Uint8Array(1), 0), {type: 'dropped', reason: 'transferring'});
  for (let i = 0; i < electionTimeoutTicks; i++) {
    cluster.tick('1');
    cluster.stabilize();
  }
  assert.equal(raft.isTransferring(), false);
  assert.equal(raft.propose(new Uint8Array(1), 0).type, 'accepted');
});

test('§4.1: a membership is in force when appended and is rolled back when truncated', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('1');
  cluster.raft('1').proposeMembership(testMembership({voters: ['1', '2']}), 0);
  assert.deepEqual(cluster.raft('1').membership.voters, ['1', '2']);
  cluster.tick('3', electionTimeoutTicks);
  cluster.elect('2');
  cluster.heal();
  cluster.tick('2');
  cluster.stabilize();
  assert.deepEqual(cluster.raft('1').membership.voters, ['1', '2', '3']);
});

test('§4.1: one change at a time', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  const raft = cluster.raft('1');
  const next = testMembership({voters: ['1', '2']});
  assert.equal(raft.proposeMembership(next, 0).type, 'accepted');
  assert.deepEqual(raft.proposeMembership(next, 0), {type: 'dropped', reason: 'change-pending'});
});

test('no change begins before an entry of the own term is committed', () => {
  const cluster = startCluster(3);
  const raft = cluster.raft('1');
  raft.campaign();
  while (raft.role !== 'leader') {
    for (const id of cluster.nodes.keys()) {
      cluster.process(id);
      cluster.persist(id);
    }
    for (const message of [...cluster.messages]) cluster.deliver(message);
  }
  const result = raft.proposeMembership(testMembership({voters: ['1', '2']}), 0);
  assert.deepEqual(result, {type: 'dropped', reason: 'no-commit-in-term'});
});

test('an impossible membership is refused', () => {
  const cluster = startCluster(1);
  cluster.elect('1');
  const valid = testMembership({voters: ['1', '2']});
  const invalid: Membership[] = [
    testMembership({voters: []}),
    testMembership({voters: ['1', '2', '3', '4', '5', '6', '7', '8']}),
    testMembership({voters: ['1'], votersOutgoing: ['2']}),
    testMembership({voters: ['1', '2'], learners: ['2']}),
    {...valid, members: []},
    {...valid, voters: [nodeId('2'), nodeId('1')]},
  ];
  for (const next of invalid) {
    const result = cluster.raft('1').proposeMembership(next, 0);
    assert.deepEqual(result, {type: 'dropped', reason: 'invalid'});
  }
});

test('a voter keeps its disk, and who left stays away', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  const raft = cluster.raft('1');
  const now = raft.membership;
  const [first, second, third] = now.members;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const other = {...third, incarnation: 'f'.repeat(16)};
  const learner = {voters: [first.id, second.id], learners: [third.id]};
  const removed = [{id: third.id, incarnation: third.incarnation}];
  const invalid: Membership[] = [
    {...now, members: [first, second, other]},
    // In one step it could still be counted for what the former disk promised.
    {...now, ...learner, members: [first, second, other]},
    {...now, ...learner, removed},
    {...now, members: [first, second, {...third, incarnation: ''}]},
  ];
  for (const next of invalid) {
    assert.deepEqual(raft.proposeMembership(next, 0), {type: 'dropped', reason: 'invalid'});
  }
});

test('§4.2.2: a leader that is removed tells its successor', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.raft('1').proposeMembership(testMembership({voters: ['2', '3']}), 0);
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'follower');
  const leaders = ['2', '3'].filter(id => cluster.raft(id).role === 'leader');
  assert.equal(leaders.length, 1, 'without waiting for a timeout');
});

test('§4.2.1: a learner receives entries but neither counts nor campaigns', () => {
  const cluster = new MemoryCluster();
  cluster.start(testMembership({voters: ['1', '2'], learners: ['3']}));
  cluster.elect('1');
  cluster.isolate('2');
  const index = cluster.propose('1', 'a');
  cluster.stabilize();
  assert.equal(cluster.raft('3').lastIndex, index);
  assert.ok(cluster.raft('1').commitIndex < index);
  cluster.tick('3', 10 * electionTimeoutTicks);
  assert.equal(cluster.raft('3').role, 'follower');
});

test('§4.2.2: a leader that removes itself steps down when that is committed', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  change(cluster, '1', testMembership({voters: ['2', '3']}));
  assert.equal(cluster.raft('1').role, 'follower');
  cluster.tick('1', 10 * electionTimeoutTicks);
  assert.equal(cluster.raft('1').role, 'follower');
  cluster.tick('3', electionTimeoutTicks);
  cluster.elect('2');
  assert.deepEqual(cluster.raft('2').membership.voters, ['2', '3']);
});

test('§4.2.3: a request for votes is ignored while a leader is heard, unless it is a transfer', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  const raft = cluster.raft('2');
  const last = raft.inspect().log.lastId();
  const ids = {from: nodeId('3'), to: nodeId('2')};
  raft.step({type: 'vote', ...ids, term: term(9), last, isTransfer: false});
  assert.equal(raft.term, 1);
  raft.step({type: 'vote', ...ids, term: term(9), last, isTransfer: true});
  assert.equal(raft.term, 9);
});

test('§4.3: while joint, elections and commits need both majorities', () => {
  const cluster = new MemoryCluster();
  cluster.start(testMembership({voters: ['1', '4', '5'], votersOutgoing: ['1', '2', '3']}));
  cluster.isolate('4');
  cluster.isolate('5');
  cluster.raft('1').campaign();
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'pre-candidate');
  cluster.heal();
  cluster.isolate('2');
  cluster.isolate('3');
  cluster.raft('1').campaign();
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'pre-candidate');
  cluster.heal();
  cluster.isolate('3');
  cluster.isolate('5');
  cluster.elect('1');
  assert.deepEqual(cluster.raft('1').membership.votersOutgoing, []);
});

test('§4.3: a large change passes through a joint membership and ends outside of it', () => {
  const cluster = new MemoryCluster();
  const outsiders = ['4', '5'].map(nodeId);
  cluster.start(testMembership({voters: ['1', '2', '3']}), outsiders);
  cluster.elect('1');
  change(cluster, '1', testMembership({voters: ['1', '4', '5'], learners: ['2']}));
  assert.deepEqual(cluster.raft('4').membership, cluster.raft('1').membership);
  const {voters, votersOutgoing, learners} = cluster.raft('1').membership;
  assert.deepEqual([voters, votersOutgoing, learners], [['1', '4', '5'], [], ['2']]);
});

test('one node grows to three without losing what it had', () => {
  const cluster = new MemoryCluster();
  cluster.start(testMembership({voters: ['1']}), ['2', '3'].map(nodeId));
  cluster.elect('1');
  cluster.propose('1', 'a');
  cluster.stabilize();
  change(cluster, '1', testMembership({voters: ['1'], learners: ['2', '3']}));
  change(cluster, '1', testMembership({voters: ['1', '2'], learners: ['3']}));
  change(cluster, '1', testMembership({voters: ['1', '2', '3']}));
  cluster.crash('1');
  cluster.tick('3', electionTimeoutTicks);
  cluster.elect('2');
  assert.deepEqual(cluster.appliedCommands('3'), ['a']);
});

test('§6.2: a leader that hears no majority for an election timeout steps down', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('1');
  cluster.tick('1', 2 * electionTimeoutTicks);
  assert.equal(cluster.raft('1').role, 'follower');
  assert.equal(cluster.raft('1').leaderId, null);
});

test('§6.2: contact of any kind keeps a leader in office', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let i = 0; i < 3 * electionTimeoutTicks; i++) {
    cluster.raft('1').noteContact(nodeId('2'));
    cluster.tick('1');
  }
  assert.equal(cluster.raft('1').role, 'leader');
});

test('§6.4: a read waits for a round of heartbeats that began after it', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.tick('1');
  cluster.process('1');
  const raft = cluster.raft('1');
  assert.equal(raft.readIndex(7), true);
  const early = cluster.messages.splice(0);
  for (const message of early) cluster.raft(message.to).step(message);
  for (const id of ['2', '3']) cluster.process(id);
  for (const message of cluster.messages.splice(0)) raft.step(message);
  assert.deepEqual(cluster.node('1').readStates, []);
  cluster.stabilize();
  assert.deepEqual(cluster.node('1').readStates, [{context: 7, index: 1}]);
});

test('§6.4: reads that wait together share one round', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let context = 1; context <= 50; context++) cluster.raft('1').readIndex(context);
  const ready = cluster.process('1');
  assert.equal(ready?.messages.length, 2);
  cluster.stabilize();
  assert.equal(cluster.node('1').readStates.length, 50);
});

test('§6.4: a single node answers by itself, but not before its no-op is committed', () => {
  const cluster = startCluster(1);
  const raft = cluster.raft('1');
  raft.campaign();
  cluster.process('1');
  cluster.persist('1');
  assert.equal(raft.readIndex(1), true);
  cluster.process('1');
  assert.deepEqual(cluster.node('1').readStates, []);
  cluster.stabilize();
  assert.deepEqual(cluster.node('1').readStates, [{context: 1, index: 1}]);
});

test('§6.4: a follower asks the leader and serves the read itself', () => {
  const cluster = startCluster(3);
  assert.equal(cluster.raft('2').readIndex(1), false);
  cluster.elect('1');
  assert.equal(cluster.raft('2').readIndex(1), true);
  cluster.stabilize();
  assert.deepEqual(cluster.node('2').readStates, [{context: 1, index: 1}]);
});

test('§6.4: an isolated leader confirms no read', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('1');
  cluster.raft('1').readIndex(1);
  cluster.stabilize();
  assert.deepEqual(cluster.node('1').readStates, []);
});

test('§9.6: a pre-vote changes neither term nor vote', () => {
  const cluster = startCluster(3);
  cluster.isolate('1');
  cluster.tick('1', 20 * electionTimeoutTicks);
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'pre-candidate');
  assert.deepEqual({...cluster.raft('1').hardState}, {term: 0, vote: null, commit: 0});
});

test('§9.6: a node that returns does not disturb a working leader', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('3');
  cluster.tick('3', 10 * electionTimeoutTicks);
  cluster.stabilize();
  cluster.heal();
  cluster.tick('3', 2 * electionTimeoutTicks);
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').term, 1);
});

test('a refused pre-vote of a later term brings the term up to date', () => {
  const cluster = startCluster(3);
  const raft = cluster.raft('1');
  raft.campaign();
  const ids = {from: nodeId('2'), to: nodeId('1')};
  raft.step({type: 'pre-vote-response', ...ids, term: term(8), granted: false});
  assert.equal(raft.role, 'follower');
  assert.equal(raft.term, 8);
});

test('a leader that steps down leaves the next election to the others', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.raft('1').stepDown();
  cluster.tick('1', 2 * electionTimeoutTicks - 1);
  assert.equal(cluster.raft('1').role, 'follower');
});
