import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import type {ListOperation, ListTransaction} from './append-cycles.ts';
import {findAppendAnomaly} from './append-cycles.ts';
import {findCounterAnomaly} from './counter.ts';
import {findSetAnomaly} from './set-full.ts';

/** `a x 1` appends, `r x 1,2` reads; several with `;`. No return: the outcome is unknown. */
function transaction(
  [calledAt, returnedAt]: readonly [number, number?],
  text: string,
): ListTransaction {
  const operations = text.split(';').map((part): ListOperation => {
    const [verb, key = '', rest = ''] = part.trim().split(' ');
    if (verb === 'a') return {type: 'append', key, element: rest};
    return {type: 'read', key, elements: rest === '' ? [] : rest.split(',')};
  });
  return {operations, calledAt, returnedAt: returnedAt ?? Infinity};
}

const legalLists: Readonly<Record<string, readonly ListTransaction[]>> = {
  'an empty history': [],
  'appends at once, in either order': [
    transaction([0, 3], 'a x 1'),
    transaction([1, 2], 'a x 2'),
    transaction([4, 5], 'r x 2,1'),
  ],
  'an append of unknown outcome that took effect': [
    transaction([0], 'a x 1'),
    transaction([1, 2], 'r x'),
    transaction([3, 4], 'r x 1'),
  ],
  'a conditional append right behind what it read': [
    transaction([0, 1], 'r x; a x 1'),
    transaction([2, 3], 'r x 1; a x 2'),
  ],
  'two lists read at one moment': [
    transaction([0, 9], 'a x 1'),
    transaction([1, 8], 'a y 1'),
    transaction([2, 3], 'r x; r y 1'),
    transaction([4, 5], 'r x 1; r y 1'),
  ],
};

const illegalLists: Readonly<Record<string, readonly [RegExp, ...(readonly ListTransaction[])]>> = {
  'a lost append': [/rw.*rt|rt.*rw/s, transaction([0, 1], 'a x 1'), transaction([2, 3], 'r x')],
  'a stale read': [
    /rw/,
    transaction([0, 1], 'a x 1'),
    transaction([2, 3], 'a x 2'),
    transaction([4, 5], 'r x 1,2'),
    transaction([6, 7], 'r x 1'),
  ],
  'a lost update of two conditional appends': [
    /rw/,
    transaction([0, 5], 'r x; a x 1'),
    transaction([1, 4], 'r x; a x 2'),
    transaction([6, 7], 'r x 1,2'),
  ],
  'two unseen conditional appends to one list': [
    /rw/,
    transaction([0, 5], 'r x; a x 1'),
    transaction([1, 4], 'r x; a x 2'),
  ],
  'an element from nowhere': [/nobody may have appended/, transaction([0, 1], 'r x 7')],
  'an element that is there twice': [
    /twice/,
    transaction([0, 1], 'a x 1'),
    transaction([2, 3], 'r x 1,1'),
  ],
  'two readers that disagree on the order': [
    /disagree/,
    transaction([0, 9], 'a x 1'),
    transaction([1, 8], 'a x 2'),
    transaction([2, 3], 'r x 1,2'),
    transaction([4, 5], 'r x 2,1'),
  ],
  'two readers that see two lists in different orders': [
    /rw/,
    transaction([0, 9], 'a x 1'),
    transaction([1, 8], 'a y 1'),
    transaction([2, 5], 'r x 1; r y'),
    transaction([3, 4], 'r x; r y 1'),
  ],
  'a write seen before its call': [
    /wr.*rt|rt.*wr/s,
    transaction([0, 1], 'r x 1'),
    transaction([2, 3], 'a x 1'),
  ],
};

for (const [name, transactions] of Object.entries(legalLists)) {
  test(`lists: accepts ${name}`, () => assert.equal(findAppendAnomaly(transactions), null));
}

for (const [name, [pattern, ...transactions]] of Object.entries(illegalLists)) {
  test(`lists: rejects ${name}`, () => {
    assert.match(findAppendAnomaly(transactions) ?? 'accepted', pattern);
  });
}

/** Two lists, each transaction performed at one instant between call and return. */
function manyTransactions(prng: Prng, count: number): ListTransaction[] {
  const lists = new Map<string, string[]>();
  const transactions: ListTransaction[] = [];
  for (let i = 0; i < count; i++) {
    // A list is left after a while, so that reads stay short.
    const key = `${i % 2}-${Math.floor(i / 40)}`;
    const list = lists.get(key) ?? [];
    lists.set(key, list);
    const operations: ListOperation[] = [{type: 'read', key, elements: [...list]}];
    if (prng.float() < 0.6) {
      operations.push({type: 'append', key, element: `${i}`});
      list.push(`${i}`);
    }
    const calledAt = 10 * i - prng.float() * 50;
    transactions.push({operations, calledAt, returnedAt: 10 * i + prng.float() * 50});
  }
  return transactions;
}

test('lists: a hundred thousand transactions take seconds, and one stale read is found', () => {
  const transactions = manyTransactions(new Prng(5), 100_000);
  assert.equal(findAppendAnomaly(transactions), null);
  const victim = transactions.findLastIndex(({operations: [first]}) => {
    return first?.type === 'read' && first.elements.length > 15;
  });
  const forged = transactions.map((row, i) => {
    const [first] = row.operations;
    if (i !== victim || first?.type !== 'read') return row;
    return {...row, operations: [{...first, elements: first.elements.slice(0, 2)}]};
  });
  assert.match(findAppendAnomaly(forged) ?? 'accepted', /have no order/);
});

const add = (element: string, calledAt: number, returnedAt = Infinity) => {
  return {element, calledAt, returnedAt};
};
const readSet = (calledAt: number, returnedAt: number, ...elements: readonly string[]) => {
  return {calledAt, returnedAt, elements: new Set(elements)};
};

test('sets: an element may appear while it is added, or late when its outcome is unknown', () => {
  const adds = [add('1', 0, 5), add('2', 1), add('3', 2)];
  const reads = [readSet(3, 4, '1'), readSet(6, 7, '1'), readSet(8, 9, '1', '2')];
  assert.equal(findSetAnomaly(adds, reads), null);
});

test('sets: lost, vanished, foreign and early elements and forked reads are found', () => {
  assert.match(findSetAnomaly([add('1', 0, 1)], [readSet(2, 3)]) ?? '', /acknowledged.*missing/);
  const vanished = [readSet(1, 2, '1'), readSet(3, 4)];
  assert.match(findSetAnomaly([add('1', 0)], vanished) ?? '', /was seen by.*missing/);
  assert.match(findSetAnomaly([], [readSet(0, 1, '1')]) ?? '', /never added/);
  assert.match(findSetAnomaly([add('1', 5, 6)], [readSet(0, 1, '1')]) ?? '', /after/);
  const forked = [readSet(2, 5, '1'), readSet(3, 4, '2')];
  assert.match(findSetAnomaly([add('1', 0), add('2', 1)], forked) ?? '', /saw others/);
});

const increment = (value: number | null, calledAt: number, returnedAt = Infinity) => {
  return {value, calledAt, returnedAt};
};
const readCounter = (value: number, calledAt: number, returnedAt: number) => {
  return {value, calledAt, returnedAt};
};

test('counters: increments of unknown outcome count once or never', () => {
  const increments = [increment(1, 0, 1), increment(null, 2), increment(3, 4, 6)];
  const reads = [readCounter(1, 2.5, 3), readCounter(2, 4.5, 5), readCounter(3, 7, 8)];
  assert.equal(findCounterAnomaly(increments, reads), null);
});

test('counters: lost, doubled and stale counts are found', () => {
  const lost = [increment(1, 0, 3), increment(1, 1, 2)];
  assert.match(findCounterAnomaly(lost, []) ?? '', /two increments made 1/);
  const doubled = findCounterAnomaly([increment(1, 0, 1)], [readCounter(2, 2, 3)]);
  assert.match(doubled ?? '', /only 1 increments had been asked for/);
  const stale = findCounterAnomaly([increment(1, 0, 1)], [readCounter(0, 2, 3)]);
  assert.match(stale ?? '', /acknowledged before/);
  const back = [readCounter(1, 1, 2), readCounter(0, 3, 4)];
  assert.match(findCounterAnomaly([increment(null, 0)], back) ?? '', /after 1 had been seen/);
  const unknown = {value: null, asked: 1, calledAt: 0, returnedAt: Infinity};
  const both = [{...unknown}, {...unknown}];
  assert.equal(findCounterAnomaly(both, [readCounter(1, 2, 3)]), null);
  // The second was said to have failed, and took effect.
  assert.match(findCounterAnomaly(both, [readCounter(2, 2, 3)]) ?? '', /which nobody had made/);
  const jumped = findCounterAnomaly([increment(2, 0, 1)], []);
  assert.match(jumped ?? '', /the increment .* found 1, but only 0/);
});
