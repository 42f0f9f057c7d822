/** When a follower hears of a newer commit index: with entries, with a tick, or with its read. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {MemoryCluster} from './testing/memory-cluster.ts';
import {startCluster} from './testing/memory-cluster.ts';

/** One leader whose followers have heard of everything. */
function quietCluster(): MemoryCluster {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.tick('1');
  cluster.stabilize();
  cluster.propose('1', 'first');
  cluster.stabilize();
  return cluster;
}

/** Counts appends without entries on their way until the cluster is quiet. */
function emptyAppends(cluster: MemoryCluster): number {
  let count = 0;
  cluster.stabilize((_node, ready) => {
    for (const message of [...ready.messages, ...ready.messagesAfterPersist]) {
      if (message.type === 'append' && message.entries.length === 0) count += 1;
    }
  });
  return count;
}

test('a commit index rides with the next entries and costs no append of its own', () => {
  const cluster = quietCluster();
  for (const text of ['a', 'b', 'c']) {
    cluster.propose('1', text);
    assert.equal(emptyAppends(cluster), 0, text);
  }
  assert.deepEqual(cluster.appliedCommands('1'), ['first', 'a', 'b', 'c']);
  assert.deepEqual(cluster.appliedCommands('2').slice(0, 3), ['first', 'a', 'b']);
});

test('without entries the next tick tells it, once', () => {
  const cluster = quietCluster();
  cluster.propose('1', 'a');
  cluster.stabilize();
  cluster.tick('1');
  assert.equal(emptyAppends(cluster), 2);
  assert.deepEqual(cluster.appliedCommands('2'), ['first', 'a']);
  cluster.tick('1');
  assert.equal(emptyAppends(cluster), 0);
});

test('a follower that reads hears how far it may apply, without a tick', () => {
  const cluster = quietCluster();
  const index = cluster.propose('1', 'a');
  cluster.stabilize();
  assert.ok(cluster.raft('2').commitIndex < index);
  assert.equal(cluster.raft('2').readIndex(1), true);
  cluster.stabilize();
  assert.equal(cluster.raft('2').commitIndex, index);
  assert.deepEqual(cluster.appliedCommands('2'), ['first', 'a']);
});

test('few entries gather behind those under way, until the answer or a tick', () => {
  const cluster = quietCluster();
  const sent = (): number[] => {
    const appends = cluster.process('1')?.messages.filter(({type}) => type === 'append') ?? [];
    return appends.map(message => (message.type === 'append' ? message.entries.length : -1));
  };
  cluster.propose('1', 'a');
  assert.deepEqual(sent(), [1, 1]);
  cluster.propose('1', 'b');
  cluster.propose('1', 'c');
  assert.deepEqual(sent(), []);
  cluster.tick('1');
  assert.deepEqual(sent(), [2, 2]);
  cluster.propose('1', 'd');
  assert.deepEqual(sent(), []);
  for (let i = 1; i < 128; i++) cluster.propose('1', `many ${i}`);
  // Too many for one append; the others follow it at once.
  assert.equal(
    sent().reduce((sum, count) => sum + count, 0),
    2 * 128,
  );
  cluster.propose('1', 'e');
  cluster.persist('1');
  cluster.stabilize();
  assert.equal(cluster.appliedCommands('1').at(-1), 'e');
});
