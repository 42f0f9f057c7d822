import assert from 'node:assert/strict';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from 'node:test';
import type {EventFields, EventType} from './history.ts';
import {History, readHistory} from './history.ts';
import {countSuccesses, judgeHistory, successCountMin} from './judge.ts';

type Row = readonly [EventType, number, string, Partial<EventFields>?];

/** The verdicts on a history of these events, written to a file and read back. */
function verdicts(rows: readonly Row[], key = 'k'): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'rosetta-history-'));
  try {
    const history = new History(join(directory, 'history.jsonl'));
    for (const [type, process, f, fields] of rows) {
      history.add(type, {process, f, key, node: 'node1', ...fields});
    }
    history.close();
    const events = readHistory(history.path);
    assert.deepEqual(events, history.events);
    return judgeHistory(events).map(row => `${row.workload} ${row.verdict}`);
  } finally {
    rmSync(directory, {recursive: true});
  }
}

const refused = {error: 'PRECONDITION_FAILED', store: 2};

test('registers: an unanswered write may have happened, one that failed may not', () => {
  const write: Row = ['invoke', 0, 'register-write', {value: 'a'}];
  const read: readonly Row[] = [
    ['invoke', 1, 'register-read'],
    ['ok', 1, 'register-read', {value: 'a', rev: 2, version: 1, store: 2}],
  ];
  const info: Row = ['info', 0, 'register-write', {error: 'CLIENT_TIMEOUT'}];
  const fail: Row = ['fail', 0, 'register-write', {error: 'NO_LEADER'}];
  assert.deepEqual(verdicts([write, info, ...read]), ['register ok']);
  assert.deepEqual(verdicts([write, ...read]), ['register ok']);
  assert.deepEqual(verdicts([write, fail, ...read]), ['register illegal']);
});

test('registers: a refused condition is an observation', () => {
  const refusedAt = (rev: number): Row[] => [
    ['invoke', 0, 'register-write', {value: 'a'}],
    ['ok', 0, 'register-write', {rev: 2, version: 1, store: 2}],
    ['invoke', 0, 'register-write', {value: 'b', rev}],
    ['fail', 0, 'register-write', refused],
  ];
  assert.deepEqual(verdicts(refusedAt(2)), ['register illegal']);
  assert.deepEqual(verdicts(refusedAt(9)), ['register ok']);
});

test('sets, lists and counters are read from their events', () => {
  const lost = (type: 'set' | 'counter', value: string[] | number): Row[] => [
    ['invoke', 0, type === 'set' ? 'set-add' : 'counter-increment', {value: 'e'}],
    ['ok', 0, type === 'set' ? 'set-add' : 'counter-increment', {value: type === 'set' ? 'e' : 1}],
    ['invoke', 1, `${type}-read`],
    ['ok', 1, `${type}-read`, {value}],
  ];
  assert.deepEqual(verdicts(lost('set', ['e'])), ['set ok']);
  assert.deepEqual(verdicts(lost('set', [])), ['set illegal']);
  assert.deepEqual(verdicts(lost('counter', 1)), ['counter ok']);
  assert.deepEqual(verdicts(lost('counter', 0)), ['counter illegal']);
  const list = (elements: readonly string[]): Row[] => [
    ['invoke', 0, 'append-append', {value: [['append', 'l', 'e']]}],
    [
      'ok',
      0,
      'append-append',
      {
        value: [
          ['r', 'l', []],
          ['append', 'l', 'e'],
        ],
      },
    ],
    ['invoke', 1, 'append-read'],
    ['ok', 1, 'append-read', {value: [['r', 'l', elements]]}],
  ];
  assert.deepEqual(verdicts(list(['e'])), ['append ok']);
  assert.deepEqual(verdicts(list([])), ['append illegal']);
});

test('what succeeded is counted by workload, reads apart from writes', () => {
  const directory = mkdtempSync(join(tmpdir(), 'rosetta-history-'));
  const history = new History(join(directory, 'history.jsonl'));
  const add = (type: EventType, f: string): void => {
    history.add(type, {process: 0, f, key: 'k', node: 'node1'});
  };
  for (const f of ['register-write', 'register-delete', 'register-read', 'set-read']) {
    add('invoke', f);
    add('ok', f);
    add('invoke', f);
    add('fail', f);
  }
  history.close();
  rmSync(directory, {recursive: true});
  const counts = countSuccesses(history.events);
  assert.deepEqual(counts.get('register'), {reads: 1, writes: 2});
  assert.deepEqual(counts.get('set'), {reads: 1, writes: 0});
  assert.equal(counts.get('append'), undefined);
  assert.equal(successCountMin(45), 5);
  assert.equal(successCountMin(1), 1);
});
