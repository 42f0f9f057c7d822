import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {LeaseTable} from '../kv/lease-table.ts';
import type {StateReader} from '../kv/state-reader.ts';
import {logIndex} from '../raft/ids.ts';
import {ReadTable} from './read-table.ts';

const reader: StateReader = {
  leases: new LeaseTable(new FakeRows()),
  revision: () => 1,
  compactedRevision: () => 0,
  keyCount: () => 0,
  get: () => null,
  rangeSlice: () => ({records: [], count: 0, rest: null}),
};

/** A leader that confirms what the test tells it to. */
class Source {
  readonly contexts: number[] = [];
  hasLeader = true;

  readIndex(context: number): boolean {
    if (this.hasLeader) this.contexts.push(context);
    return this.hasLeader;
  }
}

function makeTable(): {
  table: ReadTable;
  source: Source;
  answers: string[];
  ask: (name: string) => void;
} {
  const source = new Source();
  const answers: string[] = [];
  const table = new ReadTable({raft: source, reader, retryAfterMs: 100, firstContext: 1});
  const ask = (name: string): void => {
    table.add(1_000, error => answers.push(error === null ? name : `${name}:${error.code}`));
  };
  return {table, source, answers, ask};
}

test('reads that wait together share one round, later ones the next', () => {
  const {table, source, answers, ask} = makeTable();
  ask('a');
  ask('b');
  table.begin(0);
  ask('c');
  table.begin(1);
  assert.deepEqual(source.contexts, [1]);
  table.onReadStates([{context: 1, index: logIndex(4)}]);
  table.serve(4);
  assert.deepEqual(answers, ['a', 'b']);
  table.begin(2);
  assert.deepEqual(source.contexts, [1, 2]);
});

test('a read that a leader confirmed, and that comes too late, is told so', () => {
  const {table, answers, ask} = makeTable();
  ask('a');
  table.begin(0);
  table.onReadStates([{context: 1, index: logIndex(10)}]);
  table.serve(9);
  ask('b');
  table.begin(1);
  ask('c');
  table.expire(1_000);
  assert.deepEqual(answers.sort(), ['a:READ_TIMEOUT', 'b:NO_LEADER', 'c:NO_LEADER']);
  assert.equal(table.count, 0);
});

test('a confirmed read waits until its index is applied', () => {
  const {table, answers, ask} = makeTable();
  ask('a');
  table.begin(0);
  table.onReadStates([{context: 1, index: logIndex(9)}]);
  table.serve(8);
  assert.deepEqual(answers, []);
  table.serve(9);
  assert.deepEqual(answers, ['a']);
});

test('a round that is not answered is repeated under another context', () => {
  const {table, source, answers, ask} = makeTable();
  ask('a');
  table.begin(0);
  table.begin(99);
  assert.deepEqual(source.contexts, [1]);
  table.begin(100);
  assert.deepEqual(source.contexts, [1, 2]);
  table.onReadStates([{context: 1, index: logIndex(1)}]);
  table.serve(5);
  assert.deepEqual(answers, [], 'the answer to a forgotten round serves nobody');
  table.onReadStates([{context: 2, index: logIndex(5)}]);
  table.serve(5);
  assert.deepEqual(answers, ['a']);
});

test('without a leader reads wait for one, and end definitely at their deadline', () => {
  const {table, source, answers, ask} = makeTable();
  source.hasLeader = false;
  ask('a');
  table.begin(0);
  table.expire(999);
  assert.deepEqual(answers, []);
  table.expire(1_000);
  assert.deepEqual(answers, ['a:NO_LEADER']);
  assert.equal(table.count, 0);
});

test('a change of leader starts the round again', () => {
  const {table, source, ask} = makeTable();
  ask('a');
  table.begin(0);
  table.onLeaderChange();
  table.begin(1);
  assert.deepEqual(source.contexts, [1, 2]);
});

test('a local read needs no leader', () => {
  const {table, source, answers} = makeTable();
  source.hasLeader = false;
  table.addLocal(() => answers.push('local'));
  table.serve(0);
  assert.deepEqual(answers, ['local']);
});
