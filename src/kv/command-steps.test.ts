/**
 * Commands that take many steps: however often one stands still, rows, results and state hash are
 * those of a command at one stretch, and until its last step nobody sees anything of it.
 */
import {deepEqual, equal, notEqual, ok, throws} from 'node:assert/strict';
import {test} from 'node:test';
import {
  bytes,
  compare,
  del,
  deleteRange,
  encode,
  list,
  put,
  range,
  text,
  transaction,
} from '../../test/contract/commands.ts';
import {CountedRows} from '../../test/contract/counted-rows.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import type {CommandBody, Operation} from './command.ts';
import type {CommandResult, KeyRecord} from './result.ts';
import {KvStateMachine} from './state-machine.ts';

const keyCount = 600;
const everything = range('', null);

function keyOf(number: number): string {
  return `k${String(number).padStart(5, '0')}`;
}

interface Entry {
  readonly index: number;
  readonly proposedAtMs: number;
  readonly data: Uint8Array;
}

let nextIndex = 1;

function entryOf(body: CommandBody, key: string | null = null): Entry {
  const index = nextIndex++;
  const data = encode(body, key === null ? null : {key, request: 1});
  return {index, proposedAtMs: index * 1000, data};
}

/** Calls `pause` wherever the command stands still; how often that was, and the result. */
function inSteps(
  machine: KvStateMachine,
  entry: Entry,
  pause: () => void = () => undefined,
): {readonly result: CommandResult; readonly pauseCount: number} {
  let pauseCount = 0;
  let result = machine.begin(entry);
  while (result === null) {
    equal(machine.isSuspended(), true);
    pauseCount++;
    pause();
    result = machine.resume();
  }
  equal(machine.isSuspended(), false);
  return {result, pauseCount};
}

function fill(): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0; i < keyCount; i += 100) {
    const success = Array.from({length: 100}, (_, j) => put(keyOf(i + j), `value ${i + j}`));
    entries.push(entryOf(transaction({success})));
  }
  return entries;
}

function filled(rows = new FakeRows()): KvStateMachine {
  const machine = new KvStateMachine(rows);
  for (const entry of fill()) machine.apply(entry);
  return machine;
}

function rowsOf(rows: FakeRows): string[] {
  const found: string[] = [];
  const all = {start: Uint8Array.of(0), end: Uint8Array.of(255), isReverse: false};
  rows.scan(all, (rowKeyView, valueView) => {
    const [rowKey, value] = [rowKeyView, valueView].map(view => Buffer.from(view).toString('hex'));
    found.push(`${rowKey} = ${value}`);
    return true;
  });
  return found;
}

/** All that a reader can learn of the state at `revision`, in one slice. */
function seen(machine: KvStateMachine, revision: number): unknown {
  const slice = machine.rangeSlice({
    range: everything,
    revision,
    isReverse: false,
    keysOnly: false,
    countOnly: false,
    countMax: 100_000,
    sizeBytesMax: limits.rangeSizeBytesMax,
    rowCountMax: 100_000,
  });
  const records = slice.records.map(record => `${text(record.key)} ${record.modRevision}`);
  return {
    records,
    count: slice.count,
    rest: slice.rest,
    newest: machine.revision(),
    keyCount: machine.keyCount(),
    compactedRevision: machine.compactedRevision(),
    stateHash: machine.stateHash(),
    one: machine.get(bytes(keyOf(1)), revision),
  };
}

test('a delete of many keys stands still often, and readers see the state before it', () => {
  const machine = filled();
  const revision = machine.revision();
  const before = seen(machine, 0);
  const entry = entryOf(transaction({success: [deleteRange(everything)]}));
  const {result, pauseCount} = inSteps(machine, entry, () => {
    deepEqual(seen(machine, 0), before);
    deepEqual(seen(machine, revision), before);
    equal(machine.get(bytes(keyOf(keyCount - 1)), 0)?.version, 1);
    throws(() => machine.get(bytes('k'), revision + 1), {code: 'REVISION_IN_FUTURE'});
  });
  ok(pauseCount >= 2 * (keyCount / 128), `${pauseCount} pauses`);
  deepEqual(result, {
    type: 'transaction',
    revision: revision + 1,
    succeeded: true,
    results: [{type: 'delete', deletedCount: keyCount, previous: []}],
  });
  equal(machine.keyCount(), 0);
  equal(machine.get(bytes(keyOf(1)), 0), null);
  equal(machine.get(bytes(keyOf(1)), revision)?.version, 1);
  equal(machine.recomputeStateHash(), machine.stateHash());
});

test('a step looks at few rows, and at fewer when their values are large', () => {
  for (const value of ['small', 'x'.repeat(200_000)]) {
    const rows = new CountedRows();
    const machine = new KvStateMachine(rows);
    for (let i = 0; i < 300; i++) {
      machine.apply(entryOf(transaction({success: [put(keyOf(i), value)]})));
    }
    rows.reset();
    const success = [deleteRange(everything)];
    const {pauseCount} = inSteps(machine, entryOf(transaction({success})), () => rows.check());
    rows.check();
    ok(pauseCount > 4, `${pauseCount} pauses`);
    equal(machine.keyCount(), 0);
  }
});

const manyKeys = Array.from({length: 64}, (_, i) => keyOf(i));
const always = {type: 'version', value: 0} as const;
const largeValueCommands: Record<string, CommandBody> = {
  compares: transaction({compare: manyKeys.map(key => compare(key, '>', always))}),
  puts: transaction({success: manyKeys.map(key => put(key, 'x'))}),
  deletes: transaction({success: manyKeys.map(key => del(key))}),
  'puts that look first': transaction({
    success: manyKeys.map(key => put(key, 'x', {ignoreLease: true})),
  }),
  'what comes behind a range': transaction({
    success: [list(range('k', null), {countOnly: true}), ...manyKeys.map(key => put(key, 'x'))],
  }),
  'keys of a lease': {type: 'lease-revoke', leases: [{id: 7, grant: 0}]},
};

for (const [name, body] of Object.entries(largeValueCommands)) {
  test(`a command of single keys with large values stands still often: ${name}`, () => {
    const rows = new CountedRows();
    const [expected, machine] = [new KvStateMachine(new CountedRows()), new KvStateMachine(rows)];
    const before: CommandBody[] = [{type: 'lease-grant', id: 7, ttlMs: 1000}];
    for (const key of manyKeys) {
      before.push(transaction({success: [put(key, 'x'.repeat(100_000), {leaseId: 7})]}));
    }
    for (const entry of before.map(each => entryOf(each))) {
      expected.apply(entry);
      machine.apply(entry);
    }
    for (const key of ['with a key', null]) {
      rows.reset();
      const entry = entryOf(body, key);
      const {result, pauseCount} = inSteps(machine, entry, () => rows.check());
      rows.check();
      ok(key === null || pauseCount > 8, `${pauseCount} pauses`);
      deepEqual(result, expected.apply(entry));
    }
    equal(machine.stateHash(), expected.stateHash());
    equal(machine.recomputeStateHash(), machine.stateHash());
  });
}

test('a refused command of many steps changes nothing', () => {
  const machine = filled();
  const before = seen(machine, 0);
  const success: Operation[] = [deleteRange(everything), put('k', 'second write')];
  const conflicting = inSteps(machine, entryOf(transaction({success})));
  equal(conflicting.result.type, 'refused');
  const counts = Array.from({length: 128}, () => list(range('k', null), {countOnly: true}));
  const compares = Array.from({length: 64}, () =>
    compare(everything, '=', {type: 'version', value: 1}),
  );
  const tooMany = inSteps(machine, entryOf(transaction({compare: compares, success: counts})));
  equal(tooMany.result.type, 'refused');
  ok(tooMany.pauseCount > 300, `${tooMany.pauseCount} pauses`);
  deepEqual(seen(machine, 0), before);
});

test('in the middle of a command nothing is begun, saved, scrubbed or verified', () => {
  const machine = filled();
  const other = entryOf(transaction({success: [put('other', '')]}));
  equal(machine.begin(entryOf(transaction({success: [deleteRange(everything)]}))), null);
  throws(() => machine.begin({...other, index: nextIndex++}), /entry/);
  throws(() => machine.saveMeta(), /in the middle/);
  throws(() => machine.scrub(10), /in the middle/);
  throws(() => machine.recomputeStateHash(), /in the middle/);
  while (machine.resume() === null);
  machine.saveMeta();
  equal(machine.scrub(10), false);
  throws(() => machine.resume(), /no command has begun/);
});

test('a crash in the middle of a command loses all of it, and it is applied again', () => {
  const rows = new FakeRows();
  const machine = filled(rows);
  machine.saveMeta();
  const saved = rowsOf(rows);
  const hash = machine.stateHash();
  const whole = filled();
  const entry = entryOf(transaction({success: [deleteRange(everything)]}), 'key');
  // The same entries give the same rows, whatever their indices.
  equal(whole.stateHash(), hash);
  whole.apply(entry);

  equal(machine.begin(entry), null);
  for (let i = 0; i < 12; i++) equal(machine.resume(), null);
  notEqual(rowsOf(rows).length, saved.length);
  // What is installed, or found at the next start, are the rows of the last checkpoint.
  for (const line of rowsOf(rows)) rows.delete(Buffer.from(line.split(' = ')[0] ?? '', 'hex'));
  for (const line of saved) {
    const [rowKey = '', value = ''] = line.split(' = ');
    rows.put(Buffer.from(rowKey, 'hex'), Buffer.from(value, 'hex'));
  }
  machine.reload();
  equal(machine.isSuspended(), false);
  equal(machine.stateHash(), hash);
  equal(machine.keyCount(), keyCount);
  // A refusal asserts that nothing has been changed: nothing is left of the former life.
  const refused = transaction({success: [put('absent', '', {ignoreValue: true})]});
  equal(machine.apply(entryOf(refused)).type, 'refused');
  const again = machine.apply({...entry, index: nextIndex++});
  equal(again.type, 'transaction');
  equal(machine.stateHash(), whole.stateHash());
  equal(machine.recomputeStateHash(), machine.stateHash());
});

function randomOperation(prng: Prng): Operation {
  const number = (): number => prng.uint32() % keyCount;
  const [a, b] = [number(), number()].sort((x, y) => x - y) as [number, number];
  const keys = range(keyOf(a), prng.uint32() % 5 === 0 ? null : keyOf(b));
  switch (prng.uint32() % 6) {
    case 0:
      return deleteRange(keys, prng.uint32() % 2 === 0);
    case 1:
      return list(keys, {isReverse: prng.uint32() % 2 === 0, countOnly: prng.uint32() % 3 === 0});
    case 2:
      return del(keyOf(a));
    case 3:
      return transaction({
        compare: [compare(keys, '>', {type: 'version', value: prng.uint32() % 2})],
        success: [deleteRange(keys)],
        failure: [put(keyOf(b), 'failure'), list(keys, {limit: 300})],
      });
    default:
      return put(keyOf(a), 'x'.repeat(prng.uint32() % 30), {wantsPrevious: true});
  }
}

for (const seed of [1, 2, 3]) {
  test(`replicas that stand still and replicas that do not agree (seed ${seed})`, () => {
    const prng = new Prng(seed);
    const wholeRows = new FakeRows();
    const slicedRows = new FakeRows();
    const whole = new KvStateMachine(wholeRows);
    const sliced = new KvStateMachine(slicedRows);
    let pauseTotal = 0;
    for (let round = 0; round < 12; round++) {
      const commands = fill();
      for (let i = 0; i < 8; i++) {
        const success = Array.from({length: 1 + (prng.uint32() % 2)}, () => randomOperation(prng));
        commands.push(entryOf(transaction({success}), i % 3 === 0 ? `key ${round} ${i}` : null));
      }
      const revision = Math.max(1, whole.revision() - 3);
      commands.push(entryOf({type: 'compact', revision}));
      for (const entry of commands) {
        const expected = whole.apply(entry);
        const before = seen(sliced, 0);
        const {result, pauseCount} = inSteps(sliced, entry, () => {
          if (prng.uint32() % 8 === 0) deepEqual(seen(sliced, 0), before);
        });
        deepEqual(result, expected);
        equal(sliced.stateHash(), whole.stateHash());
        pauseTotal += pauseCount;
      }
      if (round % 2 === 0) while (sliced.scrub(100));
      equal(sliced.recomputeStateHash(), whole.recomputeStateHash());
    }
    ok(pauseTotal > 100, `${pauseTotal} pauses`);
    while (sliced.scrub(1000));
    while (whole.scrub(1000));
    sliced.saveMeta();
    whole.saveMeta();
    deepEqual(rowsOf(slicedRows), rowsOf(wholeRows));
  });
}

test('a slice that reads many old revisions ends early', () => {
  const rows = new FakeRows({isStrict: false});
  const machine = new KvStateMachine(rows);
  const updateCount = 200;
  for (let i = 0; i < updateCount; i++) {
    const success = Array.from({length: 40}, (_, j) => put(keyOf(j), `${i}`));
    machine.apply(entryOf(transaction({success})));
  }
  const request = {
    revision: 40,
    isReverse: false,
    keysOnly: false,
    countOnly: false,
    countMax: 1000,
    sizeBytesMax: 100_000,
    rowCountMax: 100,
  };
  const found: KeyRecord[] = [];
  let sliceCount = 0;
  for (let rest: typeof everything | null = everything; rest !== null; sliceCount++) {
    const slice = machine.rangeSlice({...request, range: rest});
    found.push(...slice.records);
    rest = slice.rest;
  }
  equal(found.length, 40);
  ok(found.every(record => record.modRevision === 40));
  // Each of the 40 keys takes several steps through its history.
  ok(sliceCount > 2, `${sliceCount} slices`);
  equal(must(found[39], 'forty').version, 39);
});
