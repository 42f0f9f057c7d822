/** Leadership that is asked to move and does not arrive. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {RosettaError} from '../../src/base/errors.ts';
import {nodeId} from '../../src/raft/ids.ts';
import {TestCluster, isServing} from './test-cluster.ts';

test('a member that dies as it is asked to lead fails the transfer, and nothing else', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3'], seed: 1});
  for (const member of cluster.members) member.start();
  cluster.until(() => cluster.members.every(isServing), 'all serve');
  const leader = cluster.leader();
  const heir = cluster.follower();
  const {term} = leader.node.status();
  const failures: (RosettaError | null)[] = [];
  const change = {type: 'lead', id: nodeId(heir.id)} as const;
  leader.node.changeCluster(change, {timeoutMs: 5_000}, error => failures.push(error));
  // In this turn the leader asks it to take over.
  cluster.turn();
  assert.equal(failures.length, 0);
  heir.crash();
  cluster.until(() => failures.length > 0, 'an answer');
  assert.equal(failures[0]?.code, 'TRANSFER_FAILED');
  assert.equal(cluster.leader(), leader);
  assert.equal(leader.node.status().term, term);
  cluster.write(leader, 'k', 'v');
  heir.start();
  cluster.settle();
  assert.equal(cluster.read(heir, 'k'), 'v');
});

test('a transfer that may still come about when its time is over has an unknown outcome', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3'], seed: 1});
  for (const member of cluster.members) member.start();
  cluster.until(() => cluster.members.every(isServing), 'all serve');
  const leader = cluster.leader();
  const heir = cluster.follower();
  const failures: (RosettaError | null)[] = [];
  const change = {type: 'lead', id: nodeId(heir.id)} as const;
  leader.node.changeCluster(change, {timeoutMs: 50}, error => failures.push(error));
  cluster.turn();
  assert.equal(failures.length, 0);
  heir.crash();
  cluster.until(() => failures.length > 0, 'an answer');
  assert.equal(failures[0]?.code, 'OUTCOME_UNKNOWN');
});

test('a transfer has its full time from when a leader took it', () => {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3'], seed: 1});
  for (const member of cluster.members) member.start();
  cluster.until(() => cluster.members.every(isServing), 'all serve');
  const [one, two, three] = cluster.members;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  two.crash();
  three.crash();
  cluster.until(() => one.node.leader() === null, 'nobody leads');
  const failures: (RosettaError | null)[] = [];
  one.node.changeCluster({type: 'lead', id: nodeId('node2')}, {timeoutMs: 60_000}, error =>
    failures.push(error),
  );
  // Longer than a transfer may take.
  cluster.advance(3_000);
  assert.equal(failures.length, 0);
  two.start();
  three.start();
  cluster.until(() => failures.length > 0, 'an answer');
  assert.equal(failures[0], null);
  assert.equal(cluster.leader(), two);
});
