import assert from 'node:assert/strict';
import {test} from 'node:test';
import {deleteRange, encode, range, transaction} from '../contract/commands.ts';
import {TestCluster} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const historyAgeMs = 30_000;
const keyCount = 50;

/** A cluster that was filled and emptied within the same minute, and is left alone then. */
function emptied(ids: readonly string[]): {readonly cluster: TestCluster; readonly atMs: number} {
  const cluster = new TestCluster({ids, member: {node: {historyAgeMs}}});
  cluster.startAll();
  const leader = cluster.leader();
  for (let i = 0; i < keyCount; i++) cluster.write(leader, `key${i}`, `value ${i}`);
  const emptying = transaction({success: [deleteRange(range('', null))]});
  const attempt = cluster.propose(leader, encode(emptying));
  cluster.until(() => attempt.isDone, 'the answer');
  assert.equal(attempt.error, null);
  return {cluster, atMs: cluster.time.nowMs};
}

function rowCount(member: TestMember): number {
  let count = 0;
  const all = {start: Uint8Array.of(1), end: Uint8Array.of(0xff), isReverse: false};
  member.state.scan(all, () => {
    count++;
    return true;
  });
  return count;
}

test('what was deleted is freed when its time is up, though nobody writes any more', () => {
  const {cluster, atMs} = emptied(['node1']);
  const [member] = cluster.members;
  assert.ok(member);
  const {revision} = member.node.status();
  cluster.advance(historyAgeMs - 100);
  assert.ok(cluster.time.nowMs - atMs < historyAgeMs);
  assert.ok(member.node.status().compactedRevision < revision, 'not before its time');
  assert.ok(rowCount(member) > 2 * keyCount);
  cluster.advance(3_000);
  assert.equal(member.node.status().compactedRevision, revision);
  assert.ok(rowCount(member) < 10, `${rowCount(member)} rows are left`);
  assert.equal(cluster.read(member, 'key1'), null);
  // There is nothing more to compact: the log stands still.
  const {lastLogIndex} = member.node.status();
  cluster.advance(60_000);
  assert.equal(member.node.status().lastLogIndex, lastLogIndex);
});

test('a new leader of an idle cluster does not begin to count anew', () => {
  const {cluster} = emptied(['node1', 'node2', 'node3']);
  const first = cluster.leader();
  const {revision} = first.node.status();
  cluster.advance(historyAgeMs - 5_000);
  first.crash();
  cluster.until(() => cluster.leaderNow() !== null, 'another leader');
  cluster.advance(10_000);
  for (const member of cluster.running()) {
    assert.equal(member.node.status().compactedRevision, revision);
    assert.ok(rowCount(member) < 10, `${rowCount(member)} rows are left`);
  }
});
