/** Raft §5.3, §5.4, §8: the log, its replication, what is committed when. One test a rule. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Entry} from './entry.ts';
import {makeEntry} from './entry.ts';
import {logIndex, nodeId, term} from './ids.ts';
import type {AppendMessage, Message} from './message.ts';
import type {MemoryCluster} from './testing/memory-cluster.ts';
import {startCluster} from './testing/memory-cluster.ts';

const [one, two] = [nodeId('1'), nodeId('2')];

function entry(inTerm: number, index: number): Entry {
  const data = new TextEncoder().encode(`${inTerm}/${index}`);
  const ids = {term: term(inTerm), index: logIndex(index)};
  return makeEntry({...ids, type: 'command', proposedAtMs: 0, data});
}

/** A leader 2 of `inTerm` sends `entries` after `previous` to node 1. */
function append(
  inTerm: number,
  previous: readonly [number, number],
  entries: readonly Entry[],
  commit = 0,
): AppendMessage {
  return {
    type: 'append',
    from: two,
    to: one,
    term: term(inTerm),
    previous: {term: term(previous[0]), index: logIndex(previous[1])},
    entries,
    commit: logIndex(commit),
  };
}

function takeAnswer(cluster: MemoryCluster): Message | undefined {
  cluster.process('1');
  cluster.persist('1');
  cluster.process('1');
  return cluster.messages.splice(0).at(-1);
}

function terms(cluster: MemoryCluster, id: string): number[] {
  return cluster
    .node(id)
    .log.allEntries()
    .map(({term: entryTerm}) => entryTerm);
}

test('§5.3: an entry is committed when a majority has it, and then applied everywhere', () => {
  const cluster = startCluster(5);
  cluster.elect('1');
  cluster.isolate('4');
  cluster.isolate('5');
  const index = cluster.propose('1', 'a');
  cluster.stabilize();
  assert.equal(cluster.raft('1').commitIndex, index);
  cluster.raft('1').tick();
  cluster.stabilize();
  assert.deepEqual(cluster.appliedCommands('3'), ['a']);
  cluster.isolate('3');
  cluster.propose('1', 'b');
  cluster.stabilize();
  assert.equal(cluster.raft('1').commitIndex, index);
});

test('§5.3: the leader itself counts only what is on its disk', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.isolate('3');
  const index = cluster.propose('1', 'a');
  cluster.process('1');
  for (const message of [...cluster.messages]) cluster.deliver(message);
  cluster.process('2');
  cluster.persist('2');
  for (const message of [...cluster.messages]) cluster.deliver(message);
  assert.ok(cluster.raft('1').commitIndex < index);
  cluster.persist('1');
  assert.equal(cluster.raft('1').commitIndex, index);
});

test('§5.3: an append after an unknown entry is refused', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(append(2, [1, 3], [entry(2, 4)]));
  const answer = takeAnswer(cluster);
  assert.equal(answer?.type, 'append-rejected');
  assert.equal(answer.rejected, 3);
  assert.equal(cluster.raft('1').lastIndex, 0);
});

test('§5.3: a conflicting entry goes with everything after it', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(append(1, [0, 0], [entry(1, 1), entry(1, 2), entry(1, 3)]));
  takeAnswer(cluster);
  cluster.raft('1').step(append(2, [1, 1], [entry(2, 2)]));
  takeAnswer(cluster);
  assert.deepEqual(terms(cluster, '1'), [1, 2]);
});

test('§5.3: an old append that agrees truncates nothing', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(append(1, [0, 0], [entry(1, 1), entry(1, 2), entry(1, 3)]));
  cluster.raft('1').step(append(1, [0, 0], [entry(1, 1)]));
  takeAnswer(cluster);
  assert.deepEqual(terms(cluster, '1'), [1, 1, 1]);
});

test('§5.3: a follower commits no further than the entries it knows to be equal', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(append(1, [0, 0], [entry(1, 1), entry(1, 2), entry(1, 3)]));
  cluster.raft('1').step(append(2, [1, 1], [], 3));
  assert.equal(cluster.raft('1').commitIndex, 1);
});

test('§5.3: an append is acknowledged only when it is durable', () => {
  const cluster = startCluster(3);
  cluster.raft('1').step(append(1, [0, 0], [entry(1, 1)]));
  cluster.process('1');
  assert.equal(cluster.messages.length, 0);
  cluster.persist('1');
  assert.deepEqual(
    cluster.messages.map(message => message.type),
    ['append-accepted'],
  );
});

test('§5.3: the leader brings every log of figure 7 into line', () => {
  const figure: readonly (readonly number[])[] = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  for (const followerTerms of figure) {
    const cluster = startCluster(3);
    seed(cluster, '2', leaderTerms);
    seed(cluster, '1', followerTerms);
    seed(cluster, '3', leaderTerms.slice(0, 1));
    const third = cluster.raft('3');
    third.step({
      type: 'heartbeat-response',
      from: one,
      to: nodeId('3'),
      term: term(8),
      readRound: 0,
    });
    cluster
      .raft('2')
      .step({type: 'heartbeat-response', from: one, to: two, term: term(8), readRound: 0});
    cluster.stabilize();
    cluster.elect('2');
    assert.deepEqual(terms(cluster, '1'), [...leaderTerms, 9], followerTerms.join());
    assert.deepEqual(terms(cluster, '3'), [...leaderTerms, 9]);
  }
});

test('§5.3: a divergent tail costs a round trip a term, not an entry', () => {
  const cluster = startCluster(3);
  seed(cluster, '1', [1, ...Array<number>(200).fill(2)]);
  seed(cluster, '2', [1, ...Array<number>(300).fill(3)]);
  seed(cluster, '3', [1]);
  cluster.stabilize();
  let rejections = 0;
  cluster.raft('2').campaign();
  cluster.stabilize((_, ready) => {
    const sent = [...ready.messages, ...ready.messagesAfterPersist];
    rejections += sent.filter(({type, from}) => type === 'append-rejected' && from === one).length;
  });
  assert.equal(cluster.raft('1').lastIndex, cluster.raft('2').lastIndex);
  assert.ok(rejections <= 2, `${rejections} rejections`);
});

test('§5.4.2: an entry of an earlier term commits only with one of the own term', () => {
  const cluster = startCluster(3);
  seed(cluster, '1', [1, 1]);
  seed(cluster, '2', [1, 1]);
  cluster.raft('1').campaign();
  cluster.isolate('3');
  cluster.stabilize();
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').commitIndex, 3);
});

test('§5.4.2: an old entry on every disk is not committed by counting', () => {
  const cluster = startCluster(2, {appendSizeBytesMax: 1});
  seed(cluster, '1', [1, 1]);
  seed(cluster, '2', [1]);
  cluster.raft('1').campaign();
  for (let i = 0; i < 100 && cluster.raft('2').stableIndex < 2; i++) {
    for (const id of ['1', '2']) {
      cluster.process(id);
      cluster.persist(id);
    }
    for (const message of [...cluster.messages]) cluster.deliver(message);
  }
  for (const message of [...cluster.messages]) cluster.deliver(message);
  assert.equal(cluster.raft('1').role, 'leader');
  assert.equal(cluster.raft('1').progress(two)?.matchIndex, 2);
  assert.equal(cluster.raft('1').commitIndex, 0);
  cluster.stabilize();
  assert.equal(cluster.raft('1').commitIndex, 3);
});

test('§8: a new leader commits a no-op at the start of its term', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  const [first] = cluster.node('2').log.allEntries();
  assert.equal(first?.type, 'noop');
  assert.equal(cluster.raft('1').commitIndex, 1);
});

test('proposals of one turn travel as one append, with the commit index on it', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  for (let i = 0; i < 10; i++) cluster.propose('1', 'x');
  const ready = cluster.process('1');
  const sizes = ready?.messages.map(m => (m.type === 'append' ? m.entries.length : -1));
  assert.deepEqual(sizes, [10, 10]);
});

test('proposedAtMs never decreases along the log', () => {
  const cluster = startCluster(1);
  cluster.elect('1');
  const raft = cluster.raft('1');
  for (const atMs of [5, 3, 9, 0]) raft.propose(new Uint8Array(1), atMs);
  cluster.stabilize();
  const times = cluster
    .node('1')
    .log.allEntries()
    .map(({proposedAtMs}) => proposedAtMs);
  assert.deepEqual(times, [0, 5, 5, 9, 9]);
});

test('proposals beyond the bound of uncommitted bytes are dropped, and accepted again later', () => {
  const cluster = startCluster(3, {uncommittedSizeBytesMax: 300});
  cluster.elect('1');
  const raft = cluster.raft('1');
  const data = new Uint8Array(100);
  assert.equal(raft.propose(data, 0).type, 'accepted');
  assert.equal(raft.propose(data, 0).type, 'accepted');
  assert.deepEqual(raft.propose(data, 0), {type: 'dropped', reason: 'overloaded'});
  cluster.stabilize();
  assert.equal(raft.propose(data, 0).type, 'accepted');
});

test('an append of nonsense changes nothing', () => {
  const cluster = startCluster(3);
  const raft = cluster.raft('1');
  raft.step(append(1, [0, 0], [entry(1, 1)]));
  takeAnswer(cluster);
  const membership = makeEntry({
    term: term(1),
    index: logIndex(2),
    type: 'membership',
    proposedAtMs: 0,
    data: new Uint8Array([255]),
  });
  raft.step(append(1, [1, 1], [entry(1, 3)]));
  raft.step(append(1, [1, 1], [entry(2, 2)]));
  raft.step(append(3, [1, 1], [entry(3, 2), entry(2, 3)]));
  raft.step(append(3, [1, 1], [membership]));
  assert.equal(raft.ignoredCount, 4);
  assert.equal(raft.lastIndex, 1);
});

/** Gives a node, through a made-up leader of each term, a log with these terms. */
function seed(cluster: MemoryCluster, id: string, logTerms: readonly number[]): void {
  const raft = cluster.raft(id);
  const entries = logTerms.map((entryTerm, i) => entry(entryTerm, i + 1));
  const message = append(Math.max(...logTerms), [0, 0], entries);
  raft.step({...message, from: nodeId('9'), to: nodeId(id)});
  cluster.process(id);
  cluster.persist(id);
  cluster.restart(id);
  cluster.messages = [];
}
