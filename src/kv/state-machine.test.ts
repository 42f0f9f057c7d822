import {deepEqual, equal, match, notEqual, throws} from 'node:assert/strict';
import {test} from 'node:test';
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
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {limits} from '../base/limits.ts';
import type {CommandBody, Operation} from './command.ts';
import type {CommandResult} from './result.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import type {RowReader} from './rows.ts';
import {KvStateMachine} from './state-machine.ts';

type Idempotency = Parameters<typeof encode>[1];

/** Applies commands to a machine of its own, in the log's time `nowMs`. */
class Replica {
  readonly rows = new FakeRows();
  machine = new KvStateMachine(this.rows);
  nowMs = 1_000_000;
  #index = 0;

  apply(body: CommandBody, idempotency: Idempotency = null): CommandResult {
    return this.applyBytes(encode(body, idempotency));
  }

  run(...success: Operation[]): CommandResult {
    return this.apply(transaction({success}));
  }

  applyBytes(data: Uint8Array): CommandResult {
    return this.machine.apply({index: ++this.#index, proposedAtMs: this.nowMs, data});
  }

  restart(): void {
    this.machine.saveMeta();
    this.machine = new KvStateMachine(this.rows);
  }
}

function refusal(result: CommandResult): string {
  return result.type === 'refused' ? result.code : 'not refused';
}

test('an empty store is at revision 1 and every change takes the next one', () => {
  const replica = fresh();
  const {machine} = replica;
  equal(machine.revision(), 1);
  deepEqual(replica.run(put('a', '1')), {
    type: 'transaction',
    revision: 2,
    succeeded: true,
    results: [{type: 'put', version: 1, previous: null}],
  });
  equal(replica.run(put('a', '1')).revision, 3);
  equal(replica.run(del('b')).revision, 3);
  equal(replica.run(get('a')).revision, 3);
  equal(replica.run(put('c', ''), put('d', '')).revision, 4);
  equal(replica.run(deleteRange(range('', null))).revision, 5);
  equal(machine.keyCount(), 0);
});

test('version and createRevision begin anew after a delete', () => {
  const replica = fresh();
  const {machine} = replica;
  replica.run(put('a', '1'));
  replica.run(put('a', '2'));
  replica.run(del('a'));
  replica.run(put('a', '3'));
  const expected = {createRevision: 5, modRevision: 5, version: 1, leaseId: 0};
  deepEqual(machine.get(bytes('a'), 0), {key: bytes('a'), value: bytes('3'), ...expected});
  equal(machine.get(bytes('a'), 4), null);
  equal(text(machine.get(bytes('a'), 3)?.value ?? bytes('')), '2');
  throws(() => machine.get(bytes('a'), 6), {code: 'REVISION_IN_FUTURE'});
});

test('a condition that fails takes the other branch and changes nothing by itself', () => {
  const replica = fresh();
  replica.run(put('a', '1'));
  const conditional = transaction({
    compare: [compare('a', '=', {type: 'modRevision', value: 7})],
    success: [put('a', '2')],
    failure: [get('a')],
  });
  const result = replica.apply(conditional);
  equal(result.type === 'transaction' && result.succeeded, false);
  equal(result.revision, 2);
});

test('compares of nested transactions see the state before the whole transaction', () => {
  const replica = fresh();
  const isAbsent = compare('a', '=', {type: 'version', value: 0});
  const result = replica.apply(
    transaction({
      success: [put('a', '1'), transaction({compare: [isAbsent], success: [get('a')]})],
    }),
  );
  const nested = result.type === 'transaction' ? result.results[1] : undefined;
  equal(nested?.type === 'transaction' && nested.succeeded, true);
  const read = nested?.type === 'transaction' ? nested.results[0] : undefined;
  equal(read?.type === 'get' && read.record !== null && text(read.record.value), '1');
});

test('a refusal anywhere in a transaction leaves nothing changed', () => {
  const replica = fresh();
  replica.run(put('a', '1'));
  const hash = replica.machine.stateHash();
  const refusals = new Map<Operation, string>([
    [put('x', '', {leaseId: 5}), 'LEASE_NOT_FOUND'],
    [put('x', '', {ignoreValue: true}), 'KEY_NOT_FOUND'],
    [put('x', '', {ignoreLease: true}), 'KEY_NOT_FOUND'],
    [put('b', '3'), 'DUPLICATE_KEY'],
    [del('b'), 'DUPLICATE_KEY'],
    [deleteRange(range('b', null)), 'DUPLICATE_KEY'],
  ]);
  for (const [operation, code] of refusals) {
    equal(refusal(replica.run(put('b', '2'), operation)), code);
    equal(replica.machine.revision(), 2);
    equal(replica.machine.stateHash(), hash);
  }
});

test('a range of more than 10,000 keys is not deleted', () => {
  const replica = fresh();
  const max = limits.deleteRangeKeyCountMax;
  for (let i = 0; i <= max; i++) replica.run(put(`k${i}`, ''));
  const tooMany = replica.run(deleteRange(range('', null)));
  equal(refusal(tooMany), 'TOO_MANY_KEYS');
  equal(refusal(replica.run(put('a', ''), deleteRange(range('k', 'l')))), 'TOO_MANY_KEYS');
  equal(replica.machine.keyCount(), max + 1);
  replica.run(del('k0'));
  const all = replica.run(deleteRange(range('k', 'l')));
  deepEqual(all.type === 'transaction' && all.results[0], {
    type: 'delete',
    deletedCount: max,
    previous: [],
  });
  equal(replica.machine.keyCount(), 0);
});

test('the answer of one command is bounded: ranges end early, single reads are refused', () => {
  const replica = fresh();
  const value = 'x'.repeat(1_500_000);
  for (let i = 0; i < 7; i++) replica.run(put(`k${i}`, value));
  const listed = replica.run(list(range('', null)));
  const [first] = listed.type === 'transaction' ? listed.results : [];
  equal(first?.type === 'range' && first.hasMore && first.count, 5);
  const gets = Array.from({length: 7}, (_, i) => get(`k${i}`));
  equal(refusal(replica.run(...gets, put('a', ''))), 'TOO_MANY_KEYS');
  equal(refusal(replica.run(deleteRange(range('', null), true))), 'TOO_MANY_KEYS');
  equal(replica.machine.keyCount(), 7);
});

test('an idempotency key gets the first answer again, after a restart too', () => {
  const replica = fresh();
  const first = replica.apply(transaction({success: [put('a', '1')]}), {key: 'once', request: 1});
  replica.run(put('a', '2'));
  replica.restart();
  const again = replica.apply(transaction({success: [put('a', '1')]}), {key: 'once', request: 1});
  deepEqual(again, first);
  equal(text(replica.machine.get(bytes('a'), 0)?.value ?? bytes('')), '2');
  const other = replica.apply(transaction({success: [put('b', '')]}), {key: 'once', request: 2});
  equal(refusal(other), 'IDEMPOTENCY_KEY_REUSED');
});

test('a kept refusal stays a refusal when the reason is gone', () => {
  const replica = fresh();
  const keep = transaction({success: [put('a', '', {ignoreValue: true})]});
  const first = replica.apply(keep, {key: 'once', request: 1});
  equal(refusal(first), 'KEY_NOT_FOUND');
  replica.run(put('a', '1'));
  deepEqual(replica.apply(keep, {key: 'once', request: 1}), first);
});

test('a refusal for the moment is not kept', t => {
  t.after(setLimits({leaseCountMax: 1}));
  const replica = fresh();
  const commands: readonly CommandBody[] = [
    {type: 'lease-grant', id: 8, ttlMs: 500},
    transaction({success: [put('a', '', {ttlMs: 500})]}),
  ];
  replica.apply({type: 'session', action: 'open', id: 's'});
  for (const command of commands) {
    for (const key of [`${command.type} once`, command === commands[0] ? 's/1' : 's/2']) {
      replica.apply({type: 'lease-grant', id: 7, ttlMs: 500});
      equal(refusal(replica.apply(command, {key, request: 1})), 'OVERLOADED');
      replica.apply({type: 'lease-revoke', leases: [{id: 7, grant: 0}]});
      const done = replica.apply(command, {key, request: 1});
      equal(refusal(done), 'not refused');
      deepEqual(replica.apply(command, {key, request: 1}), done);
      replica.apply({type: 'lease-revoke', leases: [{id: 8, grant: 0}]});
      replica.run(del('a'));
    }
  }
});

test('idempotency keys expire by the log\u2019s time, a few per command', () => {
  const replica = fresh();
  const command = transaction({success: [put('a', '')]});
  for (let i = 0; i < 6; i++) replica.apply(command, {key: `k${i}`, request: 1});
  replica.nowMs += limits.idempotencyAgeMs;
  equal(replica.apply(command, {key: 'k0', request: 1}).revision, 2);
  replica.nowMs++;
  const rowCount = replica.rows.size;
  replica.run(get('a'));
  equal(replica.rows.size, rowCount - 8);
  replica.run(get('a'));
  equal(replica.rows.size, rowCount - 12);
  equal(replica.apply(command, {key: 'k0', request: 1}).revision, 8);
});

test('a table full of young answers refuses keyed commands only', () => {
  const replica = fresh();
  replica.run(put('a', 'x'.repeat(1_500_000)));
  const read = transaction({success: [get('a')]});
  let keptCount = 0;
  while (refusal(replica.apply(read, {key: `k${keptCount}`, request: 1})) === 'not refused') {
    keptCount++;
  }
  const valuesMax = limits.idempotencySizeBytesMax - limits.keptAnswersReserveSizeBytes;
  equal(keptCount, Math.floor(valuesMax / 1_500_000));
  const small = transaction({success: [get('absent')]});
  equal(refusal(replica.apply(small, {key: 'small', request: 1})), 'not refused');
  equal(refusal(replica.apply(read, {key: 'more', request: 1})), 'OVERLOADED');
  equal(replica.run(put('b', '')).revision, 3);
  equal(replica.apply(read, {key: 'k0', request: 1}).revision, 2);
  replica.nowMs += limits.idempotencyAgeMs + 1;
  equal(refusal(replica.apply(read, {key: 'more', request: 1})), 'not refused');
});

test('a key of a session that nobody opened is never run', () => {
  const replica = fresh();
  const command = transaction({success: [put('a', '')]});
  equal(refusal(replica.apply(command, {key: 'abc/17', request: 1})), 'SESSION_EXPIRED');
  equal(replica.machine.revision(), 1);
  for (const key of ['a/b/1', 'abc/', 'abc/1x']) {
    equal(refusal(replica.apply(command, {key, request: 1})), 'not refused');
  }
});

test('compaction takes no revision, refuses the future and never goes back', () => {
  const replica = fresh();
  for (const value of ['1', '2', '3']) replica.run(put('a', value));
  const hash = replica.machine.stateHash();
  const compacted = {type: 'compact', revision: 4, compactedRevision: 3};
  deepEqual(replica.apply({type: 'compact', revision: 3}), compacted);
  deepEqual(replica.apply({type: 'compact', revision: 2}), compacted);
  equal(refusal(replica.apply({type: 'compact', revision: 5})), 'REVISION_IN_FUTURE');
  notEqual(replica.machine.stateHash(), hash);
  throws(() => replica.machine.get(bytes('a'), 2), {code: 'REVISION_COMPACTED'});
  equal(text(replica.machine.get(bytes('a'), 3)?.value ?? bytes('')), '2');
});

test('what is left of a compacted history is one event per key, and nothing of deleted keys', () => {
  const replica = fresh();
  for (let i = 0; i < 40; i++) replica.run(put('a', `${i}`), put('b', `${i}`));
  replica.run(del('b'));
  const {machine} = replica;
  replica.apply({type: 'compact', revision: machine.revision()});
  while (machine.scrub(7));
  // The latest row and the event of `a`, and one time sample.
  equal(replica.rows.size, 3);
  equal(machine.scrub(7), false);
  equal(text(machine.get(bytes('a'), machine.revision())?.value ?? bytes('')), '39');
  equal(machine.recomputeStateHash(), machine.stateHash());
});

test('scrubbing starts over without harm when its progress was lost', () => {
  const replica = fresh();
  for (let i = 0; i < 30; i++) replica.run(i % 7 === 6 ? del('a') : put('a', `${i}`));
  replica.apply({type: 'compact', revision: 20});
  replica.machine.saveMeta();
  replica.machine.scrub(12);
  const scrubbed = new KvStateMachine(replica.rows);
  while (scrubbed.scrub(5));
  for (let revision = 20; revision <= scrubbed.revision(); revision++) {
    deepEqual(scrubbed.get(bytes('a'), revision), replica.machine.get(bytes('a'), revision));
  }
});

test('a read of an old revision takes a logarithmic number of rows', () => {
  const replica = fresh();
  const updateCount = 4096;
  for (let i = 0; i < updateCount; i++) replica.run(put('a', `${i}`));
  let readCount = 0;
  const {rows} = replica;
  const counting: RowReader = {
    get: rowKey => {
      readCount++;
      return rows.get(rowKey);
    },
    scan: (rowRange, visit) => {
      rows.scan(rowRange, visit);
    },
  };
  replica.machine.saveMeta();
  const machine = new KvStateMachine({
    ...counting,
    put: () => undefined,
    delete: () => undefined,
    prune: () => undefined,
    prunedTo: () => null,
    isReadyToScan: () => true,
    prepareScans: () => undefined,
  });
  let worst = 0;
  for (let revision = 2; revision <= updateCount; revision += 13) {
    readCount = 0;
    equal(text(machine.get(bytes('a'), revision)?.value ?? bytes('')), `${revision - 2}`);
    worst = Math.max(worst, readCount);
  }
  equal(worst <= 3 * Math.log2(updateCount), true, `${worst} rows`);
});

test('the leader is told to compact what is older than the retention', () => {
  const replica = fresh();
  const {machine} = replica;
  const minuteMs = 60_000;
  const target = (sizeBytesMax: number): number =>
    machine.compactionTarget({nowMs: replica.nowMs, ageMs: 60 * minuteMs, sizeBytesMax});
  for (let i = 0; i < 120; i++) {
    replica.run(put('a', `${i}`));
    replica.nowMs += minuteMs;
  }
  // The put of revision r came r - 2 minutes after the first; now is minute 120.
  equal(target(Infinity), 62);
  equal(target(0), machine.revision() - 1);
  replica.apply({type: 'compact', revision: 62});
  while (machine.scrub(100));
  equal(target(Infinity), 0);
  replica.nowMs += 1000 * minuteMs;
  equal(target(Infinity), machine.revision() - 1);
  replica.apply({type: 'compact', revision: machine.revision() - 1});
  while (machine.scrub(100));
  equal(target(0), 0);
});

test('the state hash depends on the state and not on the way to it', () => {
  const a = fresh();
  const b = fresh();
  a.run(put('x', '1'), put('y', '2'));
  b.run(put('y', '2'), put('x', '1'));
  equal(a.machine.stateHash(), b.machine.stateHash());
  match(a.machine.stateHash(), /^[0-9a-f]{16}$/);
  a.run(put('z', '1'));
  notEqual(a.machine.stateHash(), b.machine.stateHash());
  a.run(del('z'));
  equal(a.machine.stateHash(), b.machine.stateHash());
});

test('a count of the whole current space looks at no row', () => {
  const replica = fresh();
  replica.run(put('a', ''), put('b', ''));
  const all = {range: range('', null), isReverse: false, keysOnly: false, countOnly: true};
  const slice = {...all, countMax: 1, sizeBytesMax: 1, rowCountMax: 1};
  deepEqual(replica.machine.rangeSlice({...slice, revision: 0}), {
    records: [],
    count: 2,
    rest: null,
  });
});

test('bytes that are no command stop the program', () => {
  const replica = fresh();
  throws(() => replica.applyBytes(bytes('garbage')), {name: 'AssertionError'});
});

function fresh(): Replica {
  return new Replica();
}
