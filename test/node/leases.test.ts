/** Leases in a cluster on virtual time: never early, soon after, through changes of the leader. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../../src/base/limits.ts';
import type {CommandBody} from '../../src/kv/command.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import {bytes, encode, put, transaction} from '../contract/commands.ts';
import {TestCluster} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const ids = ['node1', 'node2', 'node3'] as const;
const lateMsMax = 1_000;

function started(): TestCluster {
  const cluster = new TestCluster({ids});
  cluster.startAll();
  return cluster;
}

function run(cluster: TestCluster, at: TestMember, body: CommandBody): CommandResult {
  return cluster.done(cluster.propose(at, encode(body)));
}

function putWithTtl(cluster: TestCluster, at: TestMember, key: string, ttlMs: number): void {
  run(cluster, at, transaction({success: [put(key, '', {ttlMs})]}));
}

const keepalive = (id: number): CommandBody => ({type: 'lease-query', id, isKeepalive: true});

/** When the key is gone from everywhere, after `fromMs`. */
function goneAfterMs(cluster: TestCluster, key: string, fromMs: number): number {
  const exists = (member: TestMember): boolean => member.machine.get(bytes(key), 0) !== null;
  cluster.until(() => cluster.running().every(exists), 'it is everywhere', 1_000);
  const firstGone = (): boolean => !cluster.running().every(exists);
  cluster.until(firstGone, 'it is gone somewhere', 60_000);
  const atMs = cluster.time.nowMs - fromMs;
  cluster.until(() => !cluster.running().some(exists), 'it is gone everywhere', 1_000);
  return atMs;
}

test('a key with a lifetime goes on time, whoever was asked', () => {
  const cluster = started();
  for (const at of [cluster.leader(), cluster.follower()]) {
    for (const ttlMs of [100, 3_000, 20_000]) {
      putWithTtl(cluster, at, 'a', ttlMs);
      const fromMs = cluster.time.nowMs;
      const goneMs = goneAfterMs(cluster, 'a', fromMs);
      assert.ok(goneMs >= ttlMs, `${goneMs} of ${ttlMs}`);
      assert.ok(goneMs <= ttlMs + lateMsMax, `${goneMs} of ${ttlMs}`);
    }
  }
  cluster.settle();
});

test('a keepalive through any member gives the full time anew', () => {
  const cluster = started();
  run(cluster, cluster.follower(), {type: 'lease-grant', id: 7, ttlMs: 1_000});
  run(cluster, cluster.leader(), transaction({success: [put('a', '', {leaseId: 7})]}));
  for (let i = 0; i < 10; i++) {
    cluster.advance(900);
    const at = i % 2 === 0 ? cluster.leader() : cluster.follower();
    const answer = run(cluster, at, keepalive(7));
    assert.equal(answer.type === 'lease' && answer.remainingMs, 1_000);
  }
  const goneMs = goneAfterMs(cluster, 'a', cluster.time.nowMs);
  assert.ok(goneMs >= 1_000 && goneMs <= 1_000 + lateMsMax, `${goneMs}`);
  const late = run(cluster, cluster.follower(), keepalive(7));
  assert.equal(late.type === 'refused' && late.code, 'LEASE_NOT_FOUND');
  cluster.settle();
});

test('a new leader gives the full time again, and ends it then', () => {
  const cluster = started();
  putWithTtl(cluster, cluster.leader(), 'a', 2_000);
  cluster.advance(1_900);
  cluster.leader().crash();
  const leader = cluster.leader();
  const fromMs = cluster.time.nowMs;
  assert.notEqual(leader.machine.get(bytes('a'), 0), null);
  const goneMs = goneAfterMs(cluster, 'a', fromMs);
  assert.ok(goneMs >= 2_000 && goneMs <= 2_000 + lateMsMax, `${goneMs}`);
});

test('a leader that is cut off ends nothing, and a keepalive of the next one counts', () => {
  const cluster = started();
  run(cluster, cluster.leader(), {type: 'lease-grant', id: 7, ttlMs: 500});
  run(cluster, cluster.leader(), transaction({success: [put('a', '', {leaseId: 7})]}));
  const old = cluster.leader();
  cluster.isolate(old.id);
  cluster.until(() => cluster.leaderNow() !== old && cluster.leaderNow() !== null, 'another leads');
  // Longer than the lease: only keepalives hold it.
  for (let i = 0; i < 8; i++) {
    const next = cluster.leader();
    assert.notEqual(next, old);
    assert.equal(run(cluster, next, keepalive(7)).type, 'lease');
    cluster.advance(400);
    assert.notEqual(old.machine.get(bytes('a'), 0), null);
  }
  cluster.heal();
  run(cluster, cluster.leader(), keepalive(7));
  cluster.advance(400);
  for (const member of cluster.running()) assert.notEqual(member.machine.get(bytes('a'), 0), null);
});

test('without a majority nothing ends', () => {
  const cluster = started();
  putWithTtl(cluster, cluster.leader(), 'a', 500);
  const leader = cluster.leader();
  for (const member of cluster.members) if (member !== leader) member.crash();
  cluster.advance(5_000);
  assert.notEqual(leader.machine.get(bytes('a'), 0), null);
});

test('many leases that end together go in batches, and writes go on between them', () => {
  const cluster = started();
  const leader = cluster.leader();
  const count = 3_000;
  for (let i = 0; i < count; i += 100) {
    const success = Array.from({length: 100}, (_, n) => put(`k${i + n}`, '', {ttlMs: 5_000}));
    run(cluster, leader, transaction({success}));
  }
  const revision = leader.machine.revision();
  cluster.until(() => leader.machine.keyCount() < count, 'the first are gone', 10_000);
  const before = cluster.time.nowMs;
  cluster.write(leader, 'w', '1');
  assert.ok(cluster.time.nowMs - before < 100);
  cluster.until(() => leader.machine.keyCount() === 1, 'all are gone', lateMsMax);
  const batchCount = Math.ceil(count / limits.leaseRevokeCountMax);
  assert.ok(leader.machine.revision() - revision < batchCount + 20);
  assert.equal(leader.machine.leases.count, 0);
  cluster.settle();
});
