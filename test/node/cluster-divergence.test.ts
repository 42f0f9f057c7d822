import assert from 'node:assert/strict';
import {test} from 'node:test';
import {stateHashInterval} from '../../src/node/state-hash-monitor.ts';
import {bytes} from '../contract/commands.ts';
import {isServing, peerOf, TestCluster} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const three = ['node1', 'node2', 'node3'] as const;

/** In a row of the table `latest`: docs/formats.md, "Store rows". */
const versionOffset = 21;

/** Checkpoints soon, and nothing of the log stays behind them. */
const wal = {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0, heldSizeBytesMax: 0};

/** Changes the version in the newest row of `key` behind the state machine's back. */
function damage(member: TestMember, key: string): void {
  const everything = {start: bytes('\x00'), end: bytes('\xff'), isReverse: false};
  const damaged: [Uint8Array, Uint8Array][] = [];
  member.state.scan(everything, (rowKeyView, valueView) => {
    const rowKey = Uint8Array.from(rowKeyView);
    if (!Buffer.from(rowKey).toString('latin1').endsWith(key)) return true;
    const value = Uint8Array.from(valueView);
    value[versionOffset] = (value[versionOffset] ?? 0) ^ 0x10;
    damaged.push([rowKey, value]);
    return true;
  });
  assert.ok(damaged.length > 0, 'something to damage');
  for (const [rowKey, value] of damaged) member.state.put(rowKey, value);
}

function reachNextHash(cluster: TestCluster, value = 'value'): void {
  const target =
    (Math.floor(cluster.leader().node.status().appliedIndex / stateHashInterval) + 1) *
    stateHashInterval;
  while (cluster.leader().node.status().lastLogIndex <= target) {
    const leader = cluster.leader();
    const attempts = Array.from({length: 100}, () => cluster.put(leader, 'other', value));
    cluster.until(() => attempts.every(attempt => attempt.isDone), 'the answers');
  }
}

for (const role of ['follower', 'leader'] as const) {
  test(`a ${role} whose state differs from the majority's stops serving`, () => {
    const cluster = new TestCluster({ids: three});
    cluster.startAll();
    const victim = role === 'leader' ? cluster.leader() : cluster.follower();
    cluster.write(cluster.leader(), 'key', 'value');
    cluster.settle();
    damage(victim, 'key');
    cluster.write(cluster.leader(), 'key', 'next');
    reachNextHash(cluster);
    cluster.until(() => victim.node.status().diverged, 'it is found');
    assert.equal(victim.node.notReady()?.code, 'DIVERGED');
    assert.equal(cluster.refusal(cluster.get(victim, 'key')).code, 'DIVERGED');
    assert.equal(cluster.refusal(cluster.put(victim, 'key', 'x')).code, 'DIVERGED');
    cluster.until(() => cluster.leaderNow()?.node.status().diverged === false, 'a sound leader');
    cluster.write(cluster.leader(), 'key', 'sound');
    const sound = cluster.members.filter(member => !member.node.status().diverged);
    assert.equal(sound.length, 2);

    victim.crash();
    victim.start();
    cluster.advance(1_000);
    assert.equal(victim.node.notReady()?.code, 'DIVERGED', 'after a restart too');
    assert.equal(victim.node.status().diverged, true);
  });
}

test('what waits when a leader turns out to be wrong is not answered from its state', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const victim = cluster.leader();
  const follower = cluster.follower();
  cluster.write(victim, 'key', 'value');
  cluster.settle();
  damage(victim, 'key');
  cluster.write(victim, 'key', 'next');
  let writes: ReturnType<TestCluster['put']>[] = [];
  let reads: ReturnType<TestCluster['get']>[] = [];
  const forwarded: ReturnType<TestCluster['put']>[] = [];
  const endMs = cluster.time.nowMs + 20_000;
  while (!victim.node.status().diverged) {
    assert.ok(cluster.time.nowMs < endMs, 'it is found');
    writes = Array.from({length: 50}, () => cluster.put(victim, 'other', 'value'));
    reads = [cluster.get(victim, 'key'), cluster.get(victim, 'key', {consistency: 'local'})];
    forwarded.push(cluster.put(follower, 'other', 'value'));
    cluster.turn();
  }
  for (const {error} of writes) assert.equal(error?.code, 'OUTCOME_UNKNOWN');
  for (const {error} of reads) assert.equal(error?.code, 'DIVERGED');
  cluster.until(() => forwarded.every(({isDone}) => isDone), 'the answers');
  const codes = new Set(forwarded.map(({error}) => error?.code));
  assert.deepEqual([...codes].sort(), ['OUTCOME_UNKNOWN', undefined]);
  assert.equal(forwarded.at(-1)?.error, null, 'another leader took what was not logged');
});

/** Of a cluster that it starts; `value`: of the writes until it is found. */
function divergedFollower(cluster: TestCluster, value?: string): TestMember {
  cluster.startAll();
  const victim = cluster.follower();
  cluster.write(cluster.leader(), 'key', 'value');
  cluster.settle();
  damage(victim, 'key');
  cluster.write(cluster.leader(), 'key', 'next');
  reachNextHash(cluster, value);
  cluster.until(() => victim.node.status().diverged, 'it is found');
  return victim;
}

test('a diverged member votes when its leader is gone, and the others have a leader again', () => {
  const cluster = new TestCluster({ids: three});
  const victim = divergedFollower(cluster);
  cluster.settleLogs();
  const former = cluster.leader();
  former.crash();
  cluster.until(() => cluster.leaderNow() !== null, 'another leader');
  const leader = cluster.leader();
  assert.ok(leader !== victim && leader !== former);
  cluster.write(leader, 'key', 'without it');
});

test('a diverged member that is made leader gives its place up again', () => {
  const cluster = new TestCluster({ids: three});
  const victim = divergedFollower(cluster);
  cluster.settleLogs();
  // The other follower is away: a leader that stops can only hand over to the diverged one.
  const leader = cluster.leader();
  const [other] = cluster.members.filter(member => member !== leader && member !== victim);
  assert.ok(other);
  other.crash();
  cluster.advance(500);
  leader.node.beginStop();
  cluster.until(() => victim.node.status().state === 'leader', 'it leads');
  cluster.until(() => cluster.leaderNow()?.node.status().diverged === false, 'a sound leader');
});

test('a diverged member repairs nobody: its wrong state does not become that of a majority', () => {
  const cluster = new TestCluster({ids: three, member: {wal}});
  // So much is written that the log begins behind a checkpoint.
  const victim = divergedFollower(cluster, 'x'.repeat(500));
  const leader = cluster.leader();
  const [lost] = cluster.members.filter(member => member !== leader && member !== victim);
  assert.ok(lost);
  cluster.settleLogs();
  cluster.until(
    () => lost.node.status().log.entries < lost.node.status().lastLogIndex,
    'its log no longer begins at entry 1',
    20_000,
  );
  // The names of the released segments change in the background.
  cluster.advance(5_000);
  lost.crash();
  lost.loseCheckpoint();
  // The diverged one is asked first.
  lost.peers = [peerOf(victim.id), peerOf(leader.id)];
  lost.start();
  cluster.until(() => isServing(lost), 'it serves again', 20_000);
  cluster.settleLogs();
  assert.equal(lost.node.status().stateHash, leader.node.status().stateHash);
  reachNextHash(cluster);
  cluster.settleLogs();
  const diverged = cluster.members.filter(member => member.node.status().diverged);
  assert.deepEqual(diverged, [victim]);
});
