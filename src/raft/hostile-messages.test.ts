/** Messages that are well typed and wrong. None may throw, and none may break an invariant. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import type {Entry} from './entry.ts';
import {makeEntry} from './entry.ts';
import type {LogIndex, Term} from './ids.ts';
import {logIndex, nodeId, term} from './ids.ts';
import type {Message, MessageType} from './message.ts';
import {electionTimeoutTicks, startCluster, testMembership} from './testing/memory-cluster.ts';

const types: Readonly<Record<MessageType, (g: Garbage) => Message>> = {
  'pre-vote': g => ({type: 'pre-vote', ...g.envelope(), last: g.id()}),
  'pre-vote-response': g => ({type: 'pre-vote-response', ...g.envelope(), granted: g.flag()}),
  vote: g => ({type: 'vote', ...g.envelope(), last: g.id(), isTransfer: g.flag()}),
  'vote-response': g => ({type: 'vote-response', ...g.envelope(), granted: g.flag()}),
  append: g => ({
    type: 'append',
    ...g.envelope(),
    previous: g.id(),
    entries: g.entries(),
    // Nothing above what a correct leader could have committed in these runs.
    commit: logIndex(0),
  }),
  'append-accepted': g => ({type: 'append-accepted', ...g.envelope(), matchIndex: logIndex(0)}),
  'append-rejected': g => ({
    type: 'append-rejected',
    ...g.envelope(),
    rejected: g.index(),
    hint: g.id(),
  }),
  heartbeat: g => ({
    type: 'heartbeat',
    ...g.envelope(),
    commit: logIndex(0),
    readRound: g.number(),
  }),
  'heartbeat-response': g => ({
    type: 'heartbeat-response',
    ...g.envelope(),
    readRound: g.number(),
  }),
  snapshot: g => ({
    type: 'snapshot',
    ...g.envelope(),
    meta: g.flag() ? null : {...g.id(), membership: testMembership({voters: []})},
  }),
  'timeout-now': g => ({type: 'timeout-now', ...g.envelope()}),
  'read-index': g => ({type: 'read-index', ...g.envelope(), context: g.number()}),
  'read-index-response': g => ({
    type: 'read-index-response',
    ...g.envelope(),
    context: g.number(),
    index: g.index(),
  }),
};

class Garbage {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  message(): Message {
    const makers = Object.values(types);
    const maker = makers[this.#prng.integer({min: 0, max: makers.length - 1})];
    assert.ok(maker !== undefined);
    return maker(this);
  }

  number(): number {
    const large = this.#prng.float() < 0.1;
    return this.#prng.integer({min: 0, max: large ? Number.MAX_SAFE_INTEGER - 1 : 6});
  }

  flag(): boolean {
    return this.#prng.float() < 0.5;
  }

  index(): LogIndex {
    return logIndex(this.number());
  }

  term(): Term {
    return term(this.number());
  }

  id(): {readonly term: Term; readonly index: LogIndex} {
    return {term: this.term(), index: this.index()};
  }

  envelope() {
    const from = nodeId(String(this.#prng.integer({min: 1, max: 5})));
    return {from, to: nodeId(this.#prng.float() < 0.95 ? '1' : '2'), term: this.term()};
  }

  entries(): Entry[] {
    const count = this.#prng.integer({min: 0, max: 3});
    return Array.from({length: count}, () => {
      const index = logIndex(Math.max(1, this.number()));
      const type = this.flag() ? 'command' : 'membership';
      return makeEntry({term: this.term(), index, type, proposedAtMs: 0, data: new Uint8Array(3)});
    });
  }
}

test('no garbage makes a node throw or break an invariant', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const cluster = startCluster(3, {seed});
    const garbage = new Garbage(seed);
    for (let i = 0; i < 200; i++) {
      cluster.raft('1').step(garbage.message());
      if (i % 7 === 0) cluster.tick('1', electionTimeoutTicks);
      cluster.process('1');
      cluster.persist('1');
      cluster.messages = [];
    }
  }
});

test('garbage to a leader of its own term changes no commit', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const cluster = startCluster(3, {seed});
    cluster.elect('1');
    cluster.propose('1', 'a');
    cluster.stabilize();
    const garbage = new Garbage(seed);
    const raft = cluster.raft('1');
    for (let i = 0; i < 100; i++) raft.step({...garbage.message(), term: raft.term});
    assert.equal(raft.role, 'leader');
    assert.equal(raft.commitIndex, 2);
  }
});
