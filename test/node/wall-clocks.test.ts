/** Wall clocks that jump, and those of members that differ. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {CommandResult} from '../../src/kv/result.ts';
import {encodeCommand} from '../../src/kv/command-codec.ts';
import {put, transaction} from '../contract/commands.ts';
import type {TestMember} from './test-member.ts';
import {TestCluster, isServing} from './test-cluster.ts';

const hourMs = 60 * 60_000;
const keyed = encodeCommand({
  idempotency: {key: 'once', fingerprint: new Uint8Array(16), acknowledged: 0},
  body: transaction({success: [put('counter', 'x')]}),
});

function proposeKeyed(cluster: TestCluster, at: TestMember): CommandResult {
  return cluster.done(cluster.propose(at, keyed));
}

test('an idempotency key outlives a wall clock that jumps an hour ahead', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  const first = proposeKeyed(cluster, cluster.leader());
  cluster.time.wallSkewMs += hourMs;
  cluster.write(cluster.leader(), 'other', 'value');
  assert.deepEqual(proposeKeyed(cluster, cluster.leader()), first);
});

test('an idempotency key outlives a change to a leader whose wall clock is an hour ahead', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  const first = proposeKeyed(cluster, cluster.leader());
  const former = cluster.leader();
  former.crash();
  cluster.time.wallSkewMs += hourMs;
  cluster.write(cluster.leader(), 'other', 'value');
  assert.deepEqual(proposeKeyed(cluster, cluster.leader()), first);
  // Nor does it matter that all start again, and what was seen when is forgotten.
  for (const member of cluster.running()) member.crash();
  cluster.time.wallSkewMs += hourMs;
  for (const member of cluster.members) member.start();
  cluster.until(() => cluster.members.every(isServing), 'all serve');
  cluster.write(cluster.leader(), 'other', 'value');
  assert.deepEqual(proposeKeyed(cluster, cluster.leader()), first);
});

test('a cluster that grows by a member whose wall clock is ahead forgets no idempotency key', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  const [founder, ...others] = cluster.members;
  assert.ok(founder !== undefined);
  const {peers} = founder;
  founder.peers = [];
  founder.start();
  const first = proposeKeyed(cluster, cluster.leader());
  founder.crash();
  founder.peers = peers;
  cluster.time.wallSkewMs += hourMs;
  for (const member of [founder, ...others]) member.start();
  const hasGrown = (): boolean => cluster.leaderNow()?.node.members().length === 3;
  cluster.until(() => hasGrown() && cluster.members.every(isServing), 'the cluster has grown');
  cluster.write(cluster.leader(), 'other', 'value');
  assert.deepEqual(proposeKeyed(cluster, cluster.leader()), first);
});

test('history is as old as the time that passed, not as the wall clock says', () => {
  const cluster = new TestCluster({ids: ['node1'], member: {node: {historyAgeMs: hourMs / 2}}});
  cluster.startAll();
  const leader = cluster.leader();
  for (let i = 0; i < 5; i++) cluster.write(leader, 'key', `${i}`);
  cluster.time.wallSkewMs += hourMs;
  // The leader looks every second.
  cluster.advance(25_000);
  cluster.write(leader, 'key', 'last');
  assert.equal(leader.machine.compactedRevision(), 0);
});
