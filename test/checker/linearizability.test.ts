import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import type {Operation} from './linearizability.ts';
import {describeViolation, findViolation, isRegisterLinearizable} from './linearizability.ts';

/** `w1 0..5`: write of 1; `r- 2..3`: read of nothing; `w1 0..`: outcome unknown. */
function history(...lines: readonly string[]): Operation[] {
  return lines.map(line => {
    const match = /^([rw])(\S+) (\d+)\.\.(\d*)$/.exec(line);
    assert.ok(match !== null, line);
    const [, type, value, calledAt, returnedAt] = match;
    return {
      key: 'k',
      type: type === 'r' ? 'read' : 'write',
      value: value === '-' ? null : (value ?? ''),
      calledAt: Number(calledAt),
      returnedAt: returnedAt === '' ? Infinity : Number(returnedAt),
    };
  });
}

const legal: Readonly<Record<string, readonly Operation[]>> = {
  'an empty history': [],
  'a read of nothing at first': history('r- 0..1'),
  'a read after a write': history('w1 0..1', 'r1 2..3'),
  'a read beside a write sees the old value': history('w1 0..1', 'w2 2..5', 'r1 3..4'),
  'a read beside a write sees the new value': history('w1 0..1', 'w2 2..5', 'r2 3..4'),
  'two writes at once in either order': history('w1 0..3', 'w2 1..2', 'r1 4..5'),
  'an unknown write that takes effect late': history('w1 0..1', 'w2 2..', 'r1 3..4', 'r2 5..6'),
  'an unknown write that never happens': history('w1 0..1', 'w2 2..', 'r1 3..4', 'r1 5..6'),
  'a delete of unknown outcome': history('w1 0..1', 'w- 2..', 'r1 3..4', 'r- 5..6', 'w3 7..8'),
  'readers that overlap a write and each other': history(
    'w1 0..9',
    'r- 1..4',
    'r1 3..6',
    'r1 5..8',
  ),
};

const illegal: Readonly<Record<string, readonly Operation[]>> = {
  'a lost write': history('w1 0..1', 'r- 2..3'),
  'a stale read': history('w1 0..1', 'w2 2..3', 'r1 4..5'),
  'a value nobody wrote': history('w1 0..1', 'r7 2..3'),
  'a read from the future': history('r1 0..1', 'w1 2..3'),
  'two reads that go back in time beside a write': history(
    'w1 0..1',
    'w2 2..9',
    'r2 3..4',
    'r1 5..6',
  ),
  'an unknown write that happens twice': history(
    'w1 0..',
    'r1 1..2',
    'w2 3..4',
    'r2 5..6',
    'r1 7..8',
  ),
  'an unknown write seen before its call': history('r2 0..1', 'w2 2..'),
  'a deleted value that comes back': history('w1 0..1', 'w- 2..3', 'r- 4..5', 'r1 6..7'),
  'two readers that disagree on the order of two writes': history(
    'w1 0..9',
    'w2 1..10',
    'r1 11..12',
    'r2 13..14',
    'r1 15..16',
  ),
};

for (const [name, operations] of Object.entries(legal)) {
  test(`accepts ${name}`, () => assert.equal(findViolation(operations), null));
}

for (const [name, operations] of Object.entries(illegal)) {
  test(`rejects ${name}`, () => assert.equal(isRegisterLinearizable(operations), false));
}

test('keys are judged apart and the guilty one is named with its shortest prefix', () => {
  const innocent = history('w1 0..1', 'r1 2..3').map(o => ({...o, key: 'innocent'}));
  const guilty = history('w1 4..5', 'r- 6..7', 'r1 8..9').map(o => ({...o, key: 'guilty'}));
  const violation = findViolation([...innocent, ...guilty]);
  assert.ok(violation !== null);
  assert.equal(violation.key, 'guilty');
  assert.equal(violation.prefix.length, 2);
  assert.match(describeViolation(violation), /guilty is not linearizable/);
});

test('agrees with brute force on thousands of small random histories', () => {
  const counts = {legal: 0, illegal: 0};
  for (let seed = 1; seed <= 4_000; seed++) {
    const operations = randomHistory(new Prng(seed));
    const expected = isLegalByBruteForce(operations, null);
    assert.equal(isRegisterLinearizable(operations), expected, `seed ${seed}`);
    counts[expected ? 'legal' : 'illegal']++;
  }
  assert.ok(counts.legal > 400 && counts.illegal > 400, JSON.stringify(counts));
});

test('a long history of a real register is accepted, and rejected after one stale read', () => {
  const operations = simulatedHistory(new Prng(7), 4_000);
  assert.equal(isRegisterLinearizable(operations), true);
  const victim = operations.findLastIndex(operation => operation.type === 'read');
  const forged = operations.map((operation, i) =>
    i === victim
      ? {...operation, value: operations.find(o => o.type === 'write')?.value ?? null}
      : operation,
  );
  assert.equal(isRegisterLinearizable(forged), false);
});

/** Tries every order that respects real time. */
function isLegalByBruteForce(open: readonly Operation[], value: string | null): boolean {
  if (open.every(operation => operation.returnedAt === Infinity)) return true;
  const firstReturn = Math.min(...open.map(operation => operation.returnedAt));
  return open.some(operation => {
    if (operation.calledAt > firstReturn) return false;
    if (operation.type === 'read' && operation.value !== value) return false;
    const rest = open.filter(other => other !== operation);
    return isLegalByBruteForce(rest, operation.value);
  });
}

function randomHistory(prng: Prng): Operation[] {
  const count = prng.integer({min: 2, max: 6});
  const instants = Array.from({length: count * 2}, (_, i) => ({i, order: prng.uint32()}))
    .sort((a, b) => a.order - b.order)
    .map(({i}) => i);
  let writeCount = 0;
  return Array.from({length: count}, (_, i): Operation => {
    const [a = 0, b = 0] = [instants[2 * i], instants[2 * i + 1]];
    const isWrite = prng.float() < 0.5;
    const isUnknown = isWrite && prng.float() < 0.25;
    if (isWrite) writeCount++;
    const readValue = prng.integer({min: 0, max: Math.max(1, writeCount)});
    return {
      key: 'k',
      type: isWrite ? 'write' : 'read',
      value: isWrite ? `${writeCount}` : readValue === 0 ? null : `${readValue}`,
      calledAt: Math.min(a, b),
      returnedAt: isUnknown ? Infinity : Math.max(a, b),
    };
  });
}

/** Eight clients on one true register, each operation at an instant between call and return. */
function simulatedHistory(prng: Prng, count: number): Operation[] {
  const operations: Operation[] = [];
  let value: string | null = null;
  let now = 0;
  const open: {calledAt: number; type: 'read' | 'write'; value: string | null; isDone: boolean}[] =
    [];
  while (operations.length < count) {
    const choice = prng.integer({min: 0, max: 2});
    const index = prng.integer({min: 0, max: 7});
    const operation = open[index];
    if (operation === undefined) {
      const type = prng.float() < 0.5 ? 'read' : 'write';
      open.push({calledAt: now++, type, value: type === 'write' ? `v${now}` : null, isDone: false});
    } else if (!operation.isDone && choice > 0) {
      if (operation.type === 'write') value = operation.value;
      else operation.value = value;
      operation.isDone = true;
    } else if (operation.isDone) {
      const {type, calledAt} = operation;
      const returnedAt = prng.float() < 0.02 && type === 'write' ? Infinity : now++;
      operations.push({key: 'k', type, value: operation.value, calledAt, returnedAt});
      open.splice(index, 1);
    }
  }
  return operations;
}
