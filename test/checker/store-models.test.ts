import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import type {HistoryOptions} from './reference-store.ts';
import {corrupted, isLegalByBruteForce, randomHistory} from './reference-store.ts';
import {explain, judge} from './search.ts';
import type {StoreCall, StoreInput, StoreOutput} from './store-operation.ts';
import {describeCalls} from './store-operation.ts';
import {judgeKeys, versionedRegister} from './versioned-register.ts';
import {wholeStore} from './whole-store.ts';

const oneKey = {keys: ['a'], hasForeignWrites: true, hasRanges: false};
const threeKeys = {keys: ['a', 'b', 'ab'], hasForeignWrites: false, hasRanges: true};

function crossCheck(
  seeds: number,
  options: Omit<HistoryOptions, 'callCount'>,
  verdictOf: (calls: readonly StoreCall[]) => string,
): void {
  const counts = {ok: 0, illegal: 0};
  for (let seed = 1; seed <= seeds; seed++) {
    const prng = new Prng(seed);
    const callCount = prng.integer({min: 2, max: 8});
    const legal = randomHistory(prng, {...options, callCount});
    assert.equal(verdictOf(legal), 'ok', `seed ${seed}, made legally:\n${describeCalls(legal)}`);
    const forged = corrupted(prng, legal);
    const expected = isLegalByBruteForce(forged, options) ? 'ok' : 'illegal';
    assert.equal(verdictOf(forged), expected, `seed ${seed}, forged:\n${describeCalls(forged)}`);
    counts[expected]++;
  }
  assert.ok(counts.ok > seeds / 20 && counts.illegal > seeds / 4, JSON.stringify(counts));
}

test('the versioned register agrees with brute force on thousands of small histories', () => {
  crossCheck(2_000, oneKey, calls => judge(versionedRegister, calls));
});

test('the whole store agrees with brute force on thousands of small histories', () => {
  crossCheck(3_000, threeKeys, calls => judge(wholeStore, calls));
});

test('a long history of many clients is accepted, and rejected when one answer is forged', () => {
  const calls = randomHistory(new Prng(11), {...oneKey, callCount: 1_000, unknownShare: 0.01});
  assert.equal(judge(versionedRegister, calls), 'ok');
  const victim = calls.findLastIndex(call => call.output?.type === 'record');
  const forged = calls.map((call, i) => {
    if (i !== victim || call.output?.type !== 'record') return call;
    return {...call, output: {...call.output, record: {...call.output.record, value: 'v3'}}};
  });
  assert.equal(judge(versionedRegister, forged), 'illegal');
});

/** `[called, returned]`; without a return the outcome is unknown. */
function call(
  [calledAt, returnedAt]: readonly [number, number?],
  input: StoreInput,
  output?: StoreOutput,
): StoreCall {
  return {input, output, calledAt, returnedAt: returnedAt ?? Infinity};
}

function put(value: string, revision: number | null = null): StoreInput {
  const condition = revision === null ? null : ({type: 'revision', revision} as const);
  return {type: 'put', key: 'k', value, condition};
}

function record(value: string, modRevision: number, version: number): StoreOutput {
  return {
    type: 'record',
    record: {key: 'k', value, modRevision, version},
    revision: modRevision,
  };
}

const get: StoreInput = {type: 'get', key: 'k'};
const written = (revision: number, version: number): StoreOutput => {
  return {type: 'written', version, revision};
};

test('two conditional writes on one revision cannot both succeed', () => {
  const calls = [
    call([0, 1], put('a'), written(2, 1)),
    call([2, 5], put('b', 2), written(3, 2)),
    call([3, 4], put('c', 2), written(4, 2)),
  ];
  assert.equal(judge(versionedRegister, calls), 'illegal');
});

test('a refused write that took effect after all is seen', () => {
  const calls = [
    call([0, 1], put('a'), written(2, 1)),
    call([2, 3], put('b', 2), {type: 'refused', revision: 2}),
    call([4, 5], get, record('b', 3, 2)),
  ];
  assert.equal(judge(versionedRegister, calls), 'illegal');
});

test('an unknown write may take effect between two reads, once', () => {
  const calls = [
    call([0, 1], put('a'), written(2, 1)),
    call([2], put('b')),
    call([3, 4], get, record('a', 2, 1)),
    call([5, 6], get, record('b', 7, 2)),
  ];
  assert.equal(judge(versionedRegister, calls), 'ok');
  const again = [...calls, call([7, 8], get, record('b', 9, 3))];
  assert.equal(judge(versionedRegister, again), 'illegal');
});

test('a range that mixes two moments is illegal, though each key by itself is legal', () => {
  const putOf = (key: string, value: string): StoreInput => {
    return {type: 'put', key, value, condition: null};
  };
  const calls = [
    call([0, 1], putOf('a', '1'), written(2, 1)),
    call([2, 3], putOf('b', '1'), written(3, 1)),
    call([4, 9], putOf('a', '2'), written(4, 2)),
    call([5, 10], putOf('b', '2'), written(5, 2)),
    call(
      [6, 7],
      {type: 'range', prefix: ''},
      {
        type: 'records',
        records: [
          {key: 'a', value: '1', modRevision: 2, version: 1},
          {key: 'b', value: '2', modRevision: 5, version: 2},
        ],
        revision: 5,
      },
    ),
  ];
  assert.equal(judge(wholeStore, calls), 'illegal');
});

test('what cannot be decided within the limits is unknown', () => {
  const calls = randomHistory(new Prng(3), {...oneKey, callCount: 200});
  assert.equal(judge(versionedRegister, calls, {stepCountMax: 50, timeMsMax: 1_000}), 'unknown');
  const limits = {stepCountMax: 50, timeMsMax: 1_000};
  assert.equal(judgeKeys(new Map([['k', calls]]), limits).verdict, 'unknown');
});

test('the shortest illegal prefix ends with the answer that contradicts the others', () => {
  const calls = [
    call([0, 1], put('a'), written(2, 1)),
    call([2, 3], put('b'), written(3, 2)),
    call([4, 5], get, record('a', 2, 1)),
    call([6, 7], get, record('b', 3, 2)),
  ];
  const {verdict, prefix, reached} = explain(versionedRegister, calls);
  assert.equal(verdict, 'illegal');
  assert.equal(prefix.length, 3);
  assert.match(reached, /'b' v2/);
  const {text} = judgeKeys(new Map([['k', calls]]));
  assert.match(text, /key k is not linearizable; the first 3 calls/);
  assert.match(text, /4\.\.5 +get k +-> a @2 v1/);
});
