/** Raft §5.3: what a follower says of entries that another leader replaces at once. */
import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import {test} from 'node:test';
import {makeEntry} from './entry.ts';
import {logIndex, nodeId, term} from './ids.ts';
import type {Message} from './message.ts';
import {startCluster} from './testing/memory-cluster.ts';

test('entries replaced in the same turn are not acknowledged to the former leader', () => {
  const cluster = startCluster(3);
  cluster.elect('1');
  cluster.stabilize();
  const raft = cluster.raft('3');
  const former = term(raft.term);
  const next = term(former + 1);
  const previous = {index: raft.lastIndex, term: former};
  const first = logIndex(previous.index + 1);
  const append = (from: string, ofTerm: typeof former, text: string): Message => ({
    type: 'append',
    from: nodeId(from),
    to: nodeId('3'),
    term: ofTerm,
    previous,
    entries: [
      makeEntry({
        term: ofTerm,
        index: first,
        proposedAtMs: 1,
        type: 'command',
        data: Buffer.from(text),
      }),
    ],
    commit: logIndex(0),
  });
  raft.step(append('1', former, 'former'));
  raft.step(append('2', next, 'next'));
  const {messages, messagesAfterPersist, entries} = raft.ready();
  assert.deepEqual(
    [...messages, ...messagesAfterPersist].map(({type, to, term: ofTerm}) => [type, to, ofTerm]),
    [['append-accepted', '2', next]],
  );
  assert.deepEqual(
    entries.map(entry => entry.term),
    [next],
  );
});
