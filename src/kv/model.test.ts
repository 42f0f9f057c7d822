/**
 * The state machine against a naive model that keeps a whole map per revision. Two replicas get
 * the same entries but scrub at different moments, one of them reloads from its rows now and then;
 * both must agree with the model in every result and every readable revision, and with each other
 * in the state hash. With some seeds the first half of the rows is of a version whose events carry
 * no before images.
 */
import {deepEqual, equal, throws} from 'node:assert/strict';
import {test} from 'node:test';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {makeMetaOlder, withoutImages} from '../../test/contract/older-rows.ts';
import {
  bytes,
  compare,
  del,
  deleteRange,
  encode,
  get,
  list,
  put,
  range,
  text,
  transaction,
} from '../../test/contract/commands.ts';
import {must} from '../base/assert.ts';
import {Prng} from '../base/prng.ts';
import type {Compare, KeyRange, Operation, Transaction} from './command.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import type {SmallLimits} from '../../test/sim/small-limits.ts';
import {KvStateMachine} from './state-machine.ts';
import {validateTransaction} from './transaction-validation.ts';

type State = ReadonlyMap<string, KeyRecord>;

class NaiveStore {
  revision = 1;
  compactedRevision = 0;
  readonly states = new Map<number, State>([[1, new Map()]]);

  at(revision: number): State {
    return must(this.states.get(revision), `state ${revision}`);
  }

  execute(command: Transaction): CommandResult {
    const before = this.at(this.revision);
    const state = new Map(before);
    const {succeeded, results, changeCount} = this.#run(command, before, state);
    if (changeCount > 0) this.states.set(++this.revision, state);
    return {type: 'transaction', revision: this.revision, succeeded, results};
  }

  #run(
    command: Transaction,
    before: State,
    state: Map<string, KeyRecord>,
  ): {succeeded: boolean; results: OperationResult[]; changeCount: number} {
    const succeeded = command.compare.every(item => holds(item, before));
    const results: OperationResult[] = [];
    let changeCount = 0;
    for (const operation of succeeded ? command.success : command.failure) {
      if (operation.type === 'transaction') {
        const nested = this.#run(operation, before, state);
        changeCount += nested.changeCount;
        results.push({type: 'transaction', succeeded: nested.succeeded, results: nested.results});
      } else {
        const size = state.size;
        const result = this.#runOne(operation, state);
        if (operation.type === 'put') changeCount++;
        else changeCount += size - state.size;
        results.push(result);
      }
    }
    return {succeeded, results, changeCount};
  }

  #runOne(
    operation: Exclude<Operation, Transaction>,
    state: Map<string, KeyRecord>,
  ): OperationResult {
    switch (operation.type) {
      case 'put': {
        const previous = state.get(text(operation.key)) ?? null;
        const version = (previous?.version ?? 0) + 1;
        const revision = this.revision + 1;
        state.set(text(operation.key), {
          key: operation.key,
          value: operation.ignoreValue ? must(previous, 'exists').value : operation.value,
          createRevision: previous?.createRevision ?? revision,
          modRevision: revision,
          version,
          leaseId: 0,
        });
        return {type: 'put', version, previous: operation.wantsPrevious ? previous : null};
      }
      case 'get':
        return {type: 'get', record: state.get(text(operation.key)) ?? null};
      case 'range': {
        const all = select(state, operation.range);
        if (operation.isReverse) all.reverse();
        if (operation.countOnly) {
          return {type: 'range', records: [], count: all.length, hasMore: false};
        }
        const some = operation.limit === 0 ? all : all.slice(0, operation.limit);
        const records = operation.keysOnly ? some.map(withoutValue) : some;
        const hasMore = some.length < all.length;
        return {type: 'range', records, count: records.length, hasMore};
      }
      case 'delete':
      case 'delete-range': {
        const found =
          operation.type === 'delete'
            ? [state.get(text(operation.key))].filter(record => record !== undefined)
            : select(state, operation.range);
        for (const record of found) state.delete(text(record.key));
        const previous = operation.wantsPrevious ? found : [];
        return {type: 'delete', deletedCount: found.length, previous};
      }
    }
  }
}

function select(state: State, keys: KeyRange): KeyRecord[] {
  return [...state.keys()]
    .sort()
    .filter(key => key >= text(keys.start) && (keys.end === null || key < text(keys.end)))
    .map(key => must(state.get(key), 'selected'));
}

function holds(item: Compare, state: State): boolean {
  const records: (KeyRecord | undefined)[] =
    'range' in item.keys ? select(state, item.keys.range) : [state.get(text(item.keys.key))];
  if (records.length === 0) records.push(undefined);
  const {target} = item;
  return records.every(record => {
    if (target.type === 'value') {
      if (record === undefined) return false;
      return ordered(item, text(record.value), text(target.value));
    }
    const field = target.type === 'lease' ? 'leaseId' : target.type;
    return ordered(item, record?.[field] ?? 0, target.value);
  });
}

function ordered(item: Compare, a: number | string, b: number | string): boolean {
  if (item.operator === '=') return a === b;
  if (item.operator === '!=') return a !== b;
  return item.operator === '<' ? a < b : a > b;
}

function withoutValue(record: KeyRecord): KeyRecord {
  return {...record, value: new Uint8Array(0)};
}

class Generator {
  readonly #prng: Prng;
  readonly #keyCount: number;

  constructor(prng: Prng, keyCount: number) {
    this.#prng = prng;
    this.#keyCount = keyCount;
  }

  below(max: number): number {
    return this.#prng.integer({min: 0, max: max - 1});
  }

  key(): string {
    return `k${this.below(this.#keyCount).toString(3)}`;
  }

  value(): string {
    return `v${this.below(1000)}`.repeat(this.below(4));
  }

  range(): KeyRange {
    const start = this.below(5) === 0 ? '' : this.key();
    return range(start, this.below(4) === 0 ? null : this.key());
  }

  compare(revision: number): Compare {
    const keys = this.below(3) === 0 ? this.range() : this.key();
    const operator = must((['=', '!=', '<', '>'] as const)[this.below(4)], 'one of four');
    const type = must(
      (['value', 'version', 'createRevision', 'modRevision', 'lease'] as const)[this.below(5)],
      'one of five',
    );
    if (type === 'value') return compare(keys, operator, {type, value: bytes(this.value())});
    return compare(keys, operator, {type, value: this.below(Math.max(3, revision))});
  }

  operation(state: State, revision: number, depth: number): Operation {
    const wantsPrevious = this.below(2) === 0;
    switch (this.below(depth < 3 ? 10 : 9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const key = this.key();
        const ignoreValue = state.has(key) && this.below(5) === 0;
        return put(key, this.value(), {wantsPrevious, ignoreValue, ignoreLease: ignoreValue});
      }
      case 4:
        return get(this.key());
      case 5:
        return list(this.range(), {
          limit: this.below(4),
          isReverse: this.below(2) === 0,
          keysOnly: this.below(3) === 0,
          countOnly: this.below(3) === 0,
        });
      case 6:
      case 7:
        return del(this.key(), wantsPrevious);
      case 8:
        return this.below(3) === 0
          ? deleteRange(this.range(), wantsPrevious)
          : del(this.key(), wantsPrevious);
      default:
        return this.transaction(state, revision, depth + 1);
    }
  }

  transaction(state: State, revision: number, depth = 1): Transaction {
    const operations = (): Operation[] =>
      Array.from({length: this.below(4)}, () => this.operation(state, revision, depth));
    return transaction({
      compare: Array.from({length: this.below(3)}, () => this.compare(revision)),
      success: operations(),
      failure: operations(),
    });
  }
}

function checkReads(machine: KvStateMachine, model: NaiveStore, revision: number): void {
  const state = model.at(revision);
  for (let i = 0; i < 12; i++) {
    const key = `k${i.toString(3)}`;
    deepEqual(machine.get(bytes(key), revision), state.get(key) ?? null, `${key} at ${revision}`);
  }
  const all = select(state, range('', null));
  for (const isReverse of [false, true]) {
    const expected = isReverse ? [...all].reverse() : all;
    deepEqual(readAll(machine, revision, {isReverse, countOnly: false}).records, expected);
    equal(readAll(machine, revision, {isReverse, countOnly: true}).count, all.length);
  }
}

/** Once everything has been scrubbed, replicas agree in every byte of every row. */
function allRows(rows: FakeRows): readonly string[] {
  const found: string[] = [];
  const everything = {start: Uint8Array.of(0), end: Uint8Array.of(255), isReverse: false};
  rows.scan(everything, (rowKeyView, valueView) => {
    const [rowKey, value] = [rowKeyView, valueView].map(view => Buffer.from(view).toString('hex'));
    found.push(`${rowKey} = ${value}`);
    return true;
  });
  return found;
}

/** In slices as small as `revision` makes them, which tries many ways to cut. */
function readAll(
  machine: KvStateMachine,
  revision: number,
  options: {readonly isReverse: boolean; readonly countOnly: boolean},
): {records: KeyRecord[]; count: number} {
  const records: KeyRecord[] = [];
  let count = 0;
  let rest: KeyRange | null = range('', null);
  while (rest !== null) {
    const slice = machine.rangeSlice({
      range: rest,
      revision,
      keysOnly: false,
      countMax: 1 + (revision % 4),
      sizeBytesMax: 1 + (revision % 30),
      rowCountMax: 1 + (revision % 5),
      ...options,
    });
    records.push(...slice.records);
    count += slice.count;
    rest = slice.rest;
  }
  return {records, count};
}

interface Variant {
  readonly seed: number;
  readonly limits: SmallLimits;
  readonly isOld: boolean;
}

function variants(): readonly Variant[] {
  const found: Variant[] = [1, 2, 3, 4].map(seed => ({seed, limits: {}, isOld: false}));
  for (const nearRevisionCount of [0, 1, 6, 40]) {
    for (const beforeImageSizeBytesMax of [0, 4, 1024]) {
      for (const isOld of [false, true]) {
        const chosen = {nearRevisionCount, beforeImageSizeBytesMax};
        found.push({seed: 5 + found.length, limits: chosen, isOld});
      }
    }
  }
  return found;
}

/** The machine of the older version stops, and this one starts on its rows. */
function upgraded(machine: KvStateMachine, rows: FakeRows): KvStateMachine {
  machine.saveMeta();
  makeMetaOlder(rows);
  return new KvStateMachine(rows);
}

for (const {seed, limits, isOld} of variants()) {
  const name = `seed ${seed}, ${JSON.stringify(limits)}${isOld ? ', older rows' : ''}`;
  test(`replicas agree with the naive model and each other (${name})`, t => {
    const putBack = setLimits(limits);
    t.after(putBack);
    if (isOld) setLimits(withoutImages);
    const prng = new Prng(seed);
    const generator = new Generator(prng, seed % 2 === 0 ? 3 : 12);
    const model = new NaiveStore();
    const firstRows = new FakeRows();
    let first = new KvStateMachine(firstRows);
    const secondRows = new FakeRows();
    let second = new KvStateMachine(secondRows);
    for (let index = 1; index <= 400; index++) {
      if (isOld && index === 200) {
        setLimits(limits);
        first = upgraded(first, firstRows);
        second = upgraded(second, secondRows);
      }
      const entry = {index, proposedAtMs: index * 7_000, data: new Uint8Array(0)};
      if (generator.below(25) === 0) {
        const revision = generator.below(model.revision + 1);
        const data = encode({type: 'compact', revision});
        model.compactedRevision = Math.max(model.compactedRevision, revision);
        const {compactedRevision} = model;
        const expected = {type: 'compact', revision: model.revision, compactedRevision};
        deepEqual(first.apply({...entry, data}), expected);
        deepEqual(second.apply({...entry, data}), expected);
      } else {
        const state = model.at(model.revision);
        const command =
          generator.below(2) === 0
            ? transaction({success: [generator.operation(state, model.revision, 1)]})
            : generator.transaction(state, model.revision);
        if (validateTransaction(command) !== null) continue;
        const data = encode(command);
        const expected = model.execute(command);
        deepEqual(first.apply({...entry, data}), expected, `entry ${index}`);
        deepEqual(second.apply({...entry, data}), expected, `entry ${index}`);
      }
      if (generator.below(4) === 0) first.scrub(2 + generator.below(20));
      if (generator.below(60) === 0) while (second.scrub(50));
      if (generator.below(50) === 0) {
        first.saveMeta();
        first = new KvStateMachine(firstRows);
      }
      equal(first.keyCount(), model.at(model.revision).size);
      equal(first.stateHash(), second.stateHash());
      if (index % 40 !== 0) continue;
      const oldest = Math.max(1, model.compactedRevision);
      for (let revision = oldest; revision <= model.revision; revision++) {
        checkReads(first, model, revision);
        checkReads(second, model, revision);
      }
      equal(first.recomputeStateHash(), first.stateHash());
      if (oldest > 1)
        throws(() => first.get(bytes('k0'), oldest - 1), {code: 'REVISION_COMPACTED'});
    }
    while (first.scrub(10));
    while (second.scrub(1000));
    first.saveMeta();
    second.saveMeta();
    deepEqual(allRows(secondRows), allRows(firstRows));
    equal(second.recomputeStateHash(), first.stateHash());
    checkReads(first, model, model.revision);
  });
}
