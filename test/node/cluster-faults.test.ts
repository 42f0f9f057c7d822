import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Attempt} from './test-cluster.ts';
import {TestCluster} from './test-cluster.ts';

const three = ['node1', 'node2', 'node3'] as const;

function startThree(seed = 1): TestCluster {
  const cluster = new TestCluster({ids: three, seed});
  cluster.startAll();
  return cluster;
}

test('acknowledged writes survive the crash of the leader and its return', () => {
  const cluster = startThree();
  const first = cluster.leader();
  const attempts = Array.from({length: 50}, (_, i) => cluster.put(first, `key${i}`, `${i}`));
  cluster.until(() => attempts.some(attempt => attempt.isDone), 'some are acknowledged');
  const acknowledged = attempts.map(attempt => attempt.isDone && attempt.error === null);
  first.crash();
  const second = cluster.leader();
  assert.notEqual(second, first);
  cluster.write(second, 'later', 'yes');
  first.start();
  cluster.settle();
  for (const [i, isAcknowledged] of acknowledged.entries()) {
    if (isAcknowledged) assert.equal(cluster.read(first, `key${i}`), `${i}`);
  }
  assert.equal(cluster.read(first, 'later'), 'yes');
});

test('acknowledged writes survive a crash of all members at once', () => {
  const cluster = startThree();
  for (let i = 0; i < 30; i++) cluster.write(cluster.leader(), `key${i}`, `${i}`);
  for (const member of cluster.members) member.crash();
  cluster.startAll();
  for (let i = 0; i < 30; i++) assert.equal(cluster.read(cluster.follower(), `key${i}`), `${i}`);
  cluster.settle();
});

test('a leader that is cut off acknowledges nothing and serves no stale read', () => {
  const cluster = startThree();
  const old = cluster.leader();
  cluster.write(old, 'key', 'before');
  cluster.isolate(old.id);
  const lost = cluster.put(old, 'key', 'lost', 2_000);
  const stale = cluster.get(old, 'key', {timeoutMs: 2_000});
  const local = cluster.get(old, 'key', {consistency: 'local'});
  cluster.until(() => cluster.leaderNow() !== old, 'another leader');
  const next = cluster.leader();
  cluster.write(next, 'key', 'after');
  assert.equal(cluster.done(local).value, 'before');
  assert.equal(cluster.refusal(stale).outcome, 'definite');
  assert.equal(cluster.refusal(lost).code, 'OUTCOME_UNKNOWN');
  assert.equal(old.node.notReady()?.code, 'NO_LEADER');
  cluster.heal();
  cluster.settle();
  assert.equal(cluster.read(old, 'key'), 'after');
});

test('a write forwarded over a connection that breaks is unknown, and is never sent again', () => {
  const cluster = startThree();
  const leader = cluster.leader();
  const follower = cluster.follower();
  // The leader gets the write; its answer never arrives.
  cluster.network.setFilter((_from, to, message) =>
    to === follower.id && message.type === 'forward-response' ? 'drop' : 'deliver',
  );
  const attempt = cluster.put(follower, 'key', 'value');
  cluster.until(() => leader.machine.keyCount() === 1, 'the leader applies it');
  cluster.cut(leader.id, follower.id);
  assert.equal(cluster.refusal(attempt).code, 'OUTCOME_UNKNOWN');
  cluster.heal();
  cluster.network.setFilter(() => 'deliver');
  cluster.settle();
  cluster.advance(1_000);
  const {record} = cluster.done(cluster.get(follower, 'key'));
  assert.equal(record?.version, 1);
});

test('a write that finds no leader waits, and is definite when its time is up', () => {
  const cluster = startThree();
  const [a, b, c] = cluster.members;
  assert.ok(a && b && c);
  b.crash();
  c.crash();
  cluster.until(() => a.node.status().leader === null, 'no leader');
  const inTime = cluster.put(a, 'key', 'in time', 30_000);
  const late = cluster.put(a, 'key', 'late', 300);
  const error = cluster.refusal(late);
  assert.equal(error.code, 'NO_LEADER');
  assert.equal(error.outcome, 'definite');
  const read = cluster.get(a, 'key', {timeoutMs: 300});
  assert.equal(cluster.refusal(read).outcome, 'definite');
  b.start();
  cluster.done(inTime);
  assert.equal(cluster.read(b, 'key'), 'in time');
});

test('a write in the log of a leader without a majority is unknown at its deadline', () => {
  const cluster = startThree();
  const leader = cluster.leader();
  cluster.isolate(leader.id);
  const startedAtMs = cluster.time.nowMs;
  const attempt = cluster.put(leader, 'key', 'value', 100);
  assert.equal(cluster.refusal(attempt).outcome, 'unknown');
  assert.ok(cluster.time.nowMs - startedAtMs < 200, 'the deadline is kept');
});

test('an answer meant for an earlier life of a member answers nobody', () => {
  const cluster = startThree();
  const leader = cluster.leader();
  const [follower, other] = cluster.members.filter(member => member !== leader);
  assert.ok(follower && other);
  // Without a majority the write stays in the leader's log until the follower is back.
  other.crash();
  cluster.network.setFilter((_from, to, message) =>
    to === follower.id && message.type === 'append' ? 'drop' : 'deliver',
  );
  cluster.put(follower, 'key', 'first life');
  const before = leader.node.status().lastLogIndex;
  cluster.until(() => leader.node.status().lastLogIndex > before, 'it is in the log');
  follower.crash();
  follower.start();
  const {term} = leader.node.status();
  cluster.until(() => follower.node.status().leader === leader.id, 'it follows again', 150);
  // The second life's first write reaches nobody; only the answer to the first life's comes.
  cluster.network.setFilter((_from, to, message) =>
    to === leader.id && message.type === 'forward' ? 'drop' : 'deliver',
  );
  const second = cluster.put(follower, 'key', 'second life', 500);
  assert.equal(cluster.refusal(second).code, 'OUTCOME_UNKNOWN');
  assert.equal(leader.node.status().term, term);
  assert.equal(cluster.read(follower, 'key'), 'first life');
});

test('a read index meant for an earlier life of a member confirms no read', () => {
  const cluster = startThree();
  const leader = cluster.leader();
  const [follower, other] = cluster.members.filter(member => member !== leader);
  assert.ok(follower && other);
  cluster.write(leader, 'key', 'old');
  cluster.settle();
  // Nobody confirms the leader's rounds, and yet writes commit.
  cluster.network.setFilter((_from, _to, message) =>
    message.type === 'heartbeat-response' ? 'drop' : 'deliver',
  );
  cluster.get(follower, 'key');
  cluster.advance(4);
  follower.crash();
  cluster.write(leader, 'key', 'new');
  const commit = leader.node.status().commitIndex;
  // The second life hears from the leader, and does not learn of the write.
  cluster.network.setFilter((from, to, message) => {
    if (message.type === 'append' && to === follower.id) return 'drop';
    return message.type === 'heartbeat-response' && from !== other.id ? 'drop' : 'deliver';
  });
  follower.start();
  cluster.until(() => follower.node.status().leader === leader.id, 'it follows again', 150);
  const read = cluster.get(follower, 'key', {timeoutMs: 1_000});
  cluster.advance(120);
  assert.ok(follower.node.status().appliedIndex < commit, 'the new value is not here yet');
  assert.equal(read.isDone, false, `read ${read.value?.value ?? ''}`);
  cluster.network.setFilter(() => 'deliver');
  assert.equal(cluster.done(read).value, 'new');
});

test('a leader that is stopped hands over, and no request fails', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const cluster = startThree(seed);
    const leader = cluster.leader();
    const attempts: Attempt<unknown>[] = [];
    const others = cluster.members.filter(member => member !== leader);
    let isStopped = false as boolean;
    let count = 0;
    const request = (): void => {
      for (const member of others) {
        attempts.push(cluster.put(member, `key${count++ % 7}`, `${count}`));
        attempts.push(cluster.get(member, 'key1'));
      }
      cluster.turn();
    };
    for (let i = 0; i < 20; i++) request();
    // In its own log when the stop begins: answered before it ends.
    const own = Array.from({length: 10}, (_, i) => cluster.put(leader, `own${i}`, 'value'));
    leader.stop(() => {
      isStopped = true;
    });
    while (!isStopped) request();
    for (let i = 0; i < 20; i++) request();
    for (const attempt of [...own, ...attempts]) cluster.done(attempt);
    assert.notEqual(cluster.leader(), leader);
    leader.start();
    cluster.settle();
  }
});

test('a stopped member refuses new requests with a definite error', () => {
  const cluster = startThree();
  const follower = cluster.follower();
  follower.stop(() => undefined);
  assert.equal(cluster.refusal(cluster.put(follower, 'key', 'value')).code, 'STOPPING');
  assert.equal(cluster.refusal(cluster.get(follower, 'key')).code, 'STOPPING');
});
