/** Copies of before in the place of a data directory, that starts alone cannot tell, or not to it. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster, isServing} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';
import {addressOf} from './test-member.ts';

const three = ['node1', 'node2', 'node3'] as const;

/** It has stopped, and stays so. */
function isRefused(victim: TestMember): void {
  assert.match(victim.fatal?.message ?? '', /restored from a backup/);
  assert.throws(() => victim.start(), /restored from a backup/);
}

test('a copy of the time when its member was alone stops when a later member calls it', () => {
  const cluster = new TestCluster({ids: three});
  const one = cluster.member('node1');
  one.peers = [];
  one.start();
  cluster.until(() => isServing(one), 'it serves');
  cluster.write(one, 'key', 'alone');
  one.crash();
  const copy = one.copyDirectory();
  one.start();
  for (const id of ['node2', 'node3'] as const) {
    const member = cluster.member(id);
    member.peers = [];
    member.join = {contacts: [addressOf('node1')], replaces: false};
    member.start();
  }
  const voterCount = (): number => one.node.members().filter(({role}) => role === 'voter').length;
  cluster.until(() => voterCount() === 3, 'three voters');
  cluster.settle();
  one.crash();
  cluster.write(cluster.member('node2'), 'key', 'of three');
  for (const member of cluster.members) if (member !== one) member.crash();
  one.restoreDirectory(copy);
  one.start();
  // It leads the cluster that it knows, of which it is the one member.
  cluster.until(() => isServing(one), 'it leads');
  for (const member of cluster.members) if (member !== one) member.start();
  cluster.until(() => !one.isRunning, 'it stops');
  isRefused(one);
  cluster.until(() => isServing(cluster.member('node3')), 'the others go on');
  assert.equal(cluster.read(cluster.member('node3'), 'key'), 'of three');
});

test('a copy of a running member is refused by the leader to which it had acknowledged more', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const victim = cluster.follower();
  cluster.write(cluster.leader(), 'key', 'before');
  const copy = victim.copyDirectory();
  cluster.write(cluster.leader(), 'key', 'after');
  cluster.settle();
  victim.crash();
  victim.restoreDirectory(copy);
  victim.start();
  cluster.until(() => !victim.isRunning, 'it stops');
  isRefused(victim);
});

test('a copy of a running member that has forgotten nothing is let in', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const victim = cluster.follower();
  cluster.write(cluster.leader(), 'key', 'value');
  cluster.settle();
  const copy = victim.copyDirectory();
  victim.crash();
  victim.restoreDirectory(copy);
  victim.start();
  cluster.settle();
  assert.equal(cluster.read(victim, 'key'), 'value');
});
