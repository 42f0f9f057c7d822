/** Raft §5.1, §5.2, §5.4.1: terms, elections, the election restriction. One test a rule. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId, term} from './ids.ts';
import type {Message} from './message.ts';
import type {MemoryCluster} from './testing/memory-cluster.ts';
import {electionTimeoutTicks, startCluster} from './testing/memory-cluster.ts';

const [one, two, three] = [nodeId('1'), nodeId('2'), nodeId('3')];
const noLog = {term: term(0), index: 0} as Extract<Message, {type: 'vote'}>['last'];

function vote(from: string, to: string, inTerm: number, last = noLog): Message {
  const ids = {from: nodeId(from), to: nodeId(to)};
  return {type: 'vote', ...ids, term: term(inTerm), last, isTransfer: false};
}

function answers(cluster: MemoryCluster, id: string): Message[] {
  cluster.process(id);
  cluster.persist(id);
  return cluster.messages.splice(0);
}

test('§5.1: a server that sees a larger term adopts it and becomes a follower', () => {
  for (const role of ['follower', 'candidate', 'leader'] as const) {
    const cluster = startCluster(3);
    if (role === 'leader') cluster.elect('1');
    const raft = cluster.raft('1');
    const ids = {from: two, to: one};
    raft.step({type: 'heartbeat-response', ...ids, term: term(9), readRound: 0});
    assert.equal(raft.term, 9);
    assert.equal(raft.role, 'follower');
    assert.equal(raft.hardState.vote, null);
  }
});

test('§5.1: a voter that could not be reached is asked again as soon as it can be', () => {
  const cluster = startCluster(5);
  for (const id of ['3', '4', '5']) cluster.isolate(id);
  const raft = cluster.raft('1');
  raft.campaign();
  cluster.stabilize();
  assert.equal(raft.role, 'pre-candidate');
  cluster.heal();
  // The second member has answered, the ninth is none.
  for (const id of ['1', '2', '3', '9']) raft.reportReachable(nodeId(id));
  cluster.process('1');
  assert.deepEqual(
    cluster.messages.map(({type, to}) => `${type} ${to}`),
    ['pre-vote 3'],
  );
  cluster.stabilize();
  assert.equal(raft.role, 'leader');
  assert.equal(raft.term, 1);
});

test('§5.2: two that wait for each other do not split the vote when they meet', () => {
  const cluster = startCluster(3);
  for (const id of ['1', '2', '3']) cluster.isolate(id);
  for (const id of ['1', '2'] as const) cluster.raft(id).campaign();
  cluster.stabilize();
  cluster.heal();
  cluster.isolate('3');
  for (const id of ['2', '1'] as const) {
    assert.equal(cluster.raft(id).role, 'pre-candidate');
    for (const other of [one, two]) cluster.raft(id).reportReachable(other);
  }
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').term, 1);
});

test('§5.1: who lets the other ask first asks soon, should that one not win', () => {
  const cluster = startCluster(3);
  for (const id of ['1', '2', '3']) cluster.isolate(id);
  const raft = cluster.raft('2');
  raft.campaign();
  cluster.stabilize();
  cluster.heal();
  raft.reportReachable(one);
  assert.equal(raft.hasReady(), false);
  for (let i = 0; i < 3; i++) raft.tick();
  cluster.stabilize();
  assert.equal(raft.role, 'leader');
});

test('§5.1: only who waits for answers asks again', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (const id of ['1', '2'] as const) {
    for (const other of [one, two, three]) cluster.raft(id).reportReachable(other);
    assert.equal(cluster.raft(id).hasReady(), false);
  }
});

test('§5.1: a request of an earlier term is refused and answered with the present one', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  const stale = cluster.raft('1').term;
  const raft = cluster.raft('2');
  raft.step({type: 'heartbeat-response', from: three, to: two, term: term(7), readRound: 0});
  const commit = raft.commitIndex;
  raft.step({type: 'heartbeat', from: one, to: two, term: stale, commit, readRound: 0});
  const [answer] = answers(cluster, '2');
  assert.equal(answer?.type, 'heartbeat-response');
  assert.equal(answer.term, 7);
  assert.equal(raft.leaderId, null);
});

test('§5.2: a server starts as a follower without a leader', () => {
  const raft = startCluster(3).raft('1');
  assert.equal(raft.role, 'follower');
  assert.equal(raft.leaderId, null);
  assert.equal(raft.hasReady(), false);
});

test('§5.2: a leader sends heartbeats to everybody every interval', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.tick('1');
  const sent = answers(cluster, '1').filter(message => message.type === 'heartbeat');
  assert.deepEqual(
    sent.map(message => message.to),
    ['2', '3'],
  );
});

test('§5.2: a follower that hears nothing for an election timeout campaigns', () => {
  const cluster = startCluster(3);
  cluster.tick('1', electionTimeoutTicks - 1);
  assert.equal(cluster.raft('1').role, 'follower');
  cluster.tick('1', electionTimeoutTicks);
  assert.equal(cluster.raft('1').role, 'pre-candidate');
});

test('§5.2: a heartbeat resets the election timer', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let i = 0; i < 10 * electionTimeoutTicks; i++) {
    for (const id of ['1', '2', '3']) cluster.tick(id);
    cluster.stabilize();
  }
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').term, 1);
});

test('§5.2: a candidate raises its term, votes for itself and asks all others', () => {
  const cluster = startCluster(1);
  cluster.raft('1').campaign();
  assert.deepEqual({...cluster.raft('1').hardState}, {term: 1, vote: '1', commit: 0});
  const larger = startCluster(5);
  larger.raft('1').campaign();
  for (const id of ['1', '2', '3']) larger.process(id);
  for (const message of larger.messages.splice(0)) larger.raft(message.to).step(message);
  larger.process('2');
  larger.process('3');
  for (const message of larger.messages.splice(0)) larger.raft(message.to).step(message);
  const asked = answers(larger, '1').filter(message => message.type === 'vote');
  assert.deepEqual(
    asked.map(message => message.to),
    ['2', '3', '4', '5'],
  );
});

test('§5.2: the own vote counts only when it is durable', () => {
  const cluster = startCluster(1);
  cluster.raft('1').campaign();
  cluster.process('1');
  assert.equal(cluster.raft('1').role, 'candidate');
  cluster.persist('1');
  assert.equal(cluster.raft('1').role, 'leader');
});

test('§5.2: election needs a majority of all voters, in clusters of 1 to 7', () => {
  for (let size = 1; size <= 7; size++) {
    const reachable = Math.floor(size / 2) + 1;
    for (const up of [reachable - 1, reachable]) {
      const cluster = startCluster(size);
      for (let i = up + 1; i <= size; i++) cluster.isolate(String(i));
      if (up === 0) continue;
      cluster.raft('1').campaign();
      cluster.stabilize();
      assert.equal(cluster.raft('1').role === 'leader', up === reachable, `${up} of ${size}`);
    }
  }
});

test('§5.2: at most one vote a term, first come first served', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(vote('2', '1', 1));
  cluster.raft('1').step(vote('3', '1', 1));
  cluster.raft('1').step(vote('2', '1', 1));
  const granted = answers(cluster, '1').map(message => {
    return message.type === 'vote-response' ? [message.to, message.granted] : [];
  });
  assert.deepEqual(new Map(granted.slice(1) as [string, boolean][]).get('3') ?? false, false);
  assert.deepEqual(
    granted.filter(([, isGranted]) => isGranted === true).map(([to]) => to),
    ['2', '2'],
  );
});

test('§5.2: a vote survives a crash', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(vote('2', '1', 1));
  answers(cluster, '1');
  cluster.restart('1');
  cluster.raft('1').step(vote('3', '1', 1));
  const [answer] = answers(cluster, '1');
  assert.ok(answer?.type === 'vote-response' && !answer.granted);
});

test('§5.2: a vote leaves only after it is durable', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(vote('2', '1', 1));
  cluster.process('1');
  assert.deepEqual(cluster.messages, []);
  cluster.crash('1');
  cluster.restart('1');
  assert.equal(cluster.raft('1').term, 0);
});

test('§5.2: a candidate that hears a leader of its term follows it', () => {
  const cluster = startCluster(3);
  cluster.raft('1').campaign();
  const raft = cluster.raft('1');
  const {commitIndex: commit} = raft;
  raft.step({type: 'heartbeat', from: two, to: one, term: term(1), commit, readRound: 0});
  assert.equal(raft.role, 'follower');
  assert.equal(raft.leaderId, '2');
});

test('§5.2: election timeouts are drawn from 1 to 2 times the minimum, all of it', () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 100; seed++) {
    const raft = startCluster(1, {seed}).raft('1');
    let ticks = 0;
    while (raft.role === 'follower') {
      raft.tick();
      ticks++;
    }
    seen.add(ticks);
  }
  const min = electionTimeoutTicks;
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [...Array(min).keys()].map(i => min + i),
  );
});

test('§5.2: split votes are settled by the randomized timeouts', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const cluster = startCluster(4, {seed});
    const leads = (): boolean => [...cluster.nodes.values()].some(n => n.raft.role === 'leader');
    for (let i = 0; i < 40 * electionTimeoutTicks && !leads(); i++) {
      for (const id of cluster.nodes.keys()) cluster.tick(id);
      cluster.stabilize();
    }
    assert.ok(leads(), `no leader with seed ${seed}`);
  }
});

test('§5.4.1: a voter refuses a candidate whose log is less up-to-date than its own', () => {
  const cases = [
    {last: {term: 1, index: 9}, granted: false, why: 'an earlier last term, though longer'},
    {last: {term: 2, index: 2}, granted: false, why: 'the same last term, shorter'},
    {last: {term: 2, index: 3}, granted: true, why: 'equal'},
    {last: {term: 2, index: 4}, granted: true, why: 'longer'},
    {last: {term: 3, index: 1}, granted: true, why: 'a later last term, though shorter'},
  ];
  for (const {last, granted, why} of cases) {
    const cluster = startCluster(3);
    cluster.elect('1');
    cluster.raft('1').stepDown();
    cluster.elect('1');
    cluster.propose('1', 'x');
    cluster.stabilize();
    const raft = cluster.raft('2');
    assert.deepEqual(raft.inspect().log.lastId(), {term: 2, index: 3});
    cluster.tick('2', electionTimeoutTicks);
    raft.step(vote('3', '2', 5, last as typeof noLog));
    const response = answers(cluster, '2').find(message => message.type === 'vote-response');
    assert.equal(response?.granted, granted, why);
  }
});
