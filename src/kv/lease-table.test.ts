/**
 * Leases in the state machine, against a plain model: which leases there are, whose each key is,
 * and what is deleted with them. Two replicas apply the same, one of them in steps, and one reloads
 * from its rows now and then.
 */
import {deepEqual, equal, fail} from 'node:assert/strict';
import {test} from 'node:test';
import {
  bytes,
  compare,
  del,
  deleteRange,
  encode,
  get,
  put,
  range,
  text,
  transaction,
} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {must} from '../base/assert.ts';
import {Prng} from '../base/prng.ts';
import type {CommandBody} from './command.ts';
import type {CommandResult} from './result.ts';
import {KvStateMachine} from './state-machine.ts';
import {leaseKeyRow, leaseRow, tables} from './tables.ts';

class Replica {
  readonly rows = new FakeRows();
  readonly machine = new KvStateMachine(this.rows);
  #index = 0;

  run(body: CommandBody): CommandResult {
    return this.machine.apply({
      index: ++this.#index,
      proposedAtMs: this.#index,
      data: encode(body),
    });
  }

  /** By id: the keys of each. */
  leases(): Map<number, string[]> {
    const {leases} = this.machine;
    const all = must(leases.list(0, 10_000), 'rows in memory are in order');
    return new Map(all.map(({id}) => [id, (leases.keys(id, null, 10_000) ?? []).map(text)]));
  }
}

const grant = (id: number, ttlMs = 1_000): CommandBody => ({type: 'lease-grant', id, ttlMs});
const revoke = (id: number, granted = 0): CommandBody => ({
  type: 'lease-revoke',
  leases: [{id, grant: granted}],
});

test('a lease is granted once, and takes its keys with it', () => {
  const replica = new Replica();
  const granted = replica.run(grant(7, 30_000));
  deepEqual(granted, {type: 'lease', revision: 1, id: 7, ttlMs: 30_000, remainingMs: 30_000});
  equal(refusal(replica.run(grant(7))), 'LEASE_EXISTS');
  replica.run(transaction({success: [put('a', '1', {leaseId: 7}), put('b', '2', {leaseId: 7})]}));
  equal(replica.machine.get(bytes('a'), 0)?.leaseId, 7);
  deepEqual(replica.leases(), new Map([[7, ['a', 'b']]]));
  deepEqual(replica.run(revoke(7)), {type: 'lease-revoke', revision: 3, deletedCount: 2});
  equal(replica.machine.keyCount(), 0);
  equal(refusal(replica.run(revoke(7))), 'LEASE_NOT_FOUND');
  equal(
    refusal(replica.run(transaction({success: [put('a', '', {leaseId: 7})]}))),
    'LEASE_NOT_FOUND',
  );
  deepEqual(replica.leases(), new Map());
});

test('ids that are drawn are free, and a replica that reloads draws the same', () => {
  const [first, second] = [new Replica(), new Replica()];
  const drawn = [first, second].map(replica => {
    const ids = [replica.run(grant(0)), replica.run(grant(2 ** 48 + 1)), replica.run(grant(0))];
    replica.machine.saveMeta();
    if (replica === second) replica.machine.reload();
    ids.push(replica.run(grant(0)));
    return ids.map(result => (result.type === 'lease' ? result.id : 0));
  });
  deepEqual(drawn[0], [2 ** 48, 2 ** 48 + 1, 2 ** 48 + 2, 2 ** 48 + 3]);
  deepEqual(drawn[1], drawn[0]);
});

test('a private lease names its key itself, and nothing has to be looked for when it ends', () => {
  const replica = new Replica();
  replica.run(transaction({success: [put('a', '1', {ttlMs: 1_000}), put('b', '', {ttlMs: 5})]}));
  const [first = 0, second = 0] = [...replica.leases().keys()];
  deepEqual([...replica.leases().values()], [['a'], ['b']]);
  deepEqual(replica.machine.leases.keys(first, bytes('a'), 10), []);
  const ofLeaseKeys = {start: Uint8Array.of(tables.leaseKeys), isReverse: false};
  replica.rows.scan({...ofLeaseKeys, end: Uint8Array.of(tables.leaseKeys + 1)}, () =>
    fail('a row for the key of a private lease'),
  );
  // A longer life is another lease.
  replica.run(transaction({success: [put('a', '2', {ttlMs: 9_000})]}));
  equal(refusal(replica.run(revoke(first))), 'LEASE_NOT_FOUND');
  replica.run(revoke(second));
  deepEqual([...replica.leases().values()], [['a']]);
});

test('a private lease of the time when its key had a row of its own ends as any other', () => {
  for (const ends of ['revoked', 'deleted']) {
    const replica = new Replica();
    replica.run(transaction({success: [put('a', '1', {ttlMs: 1_000})]}));
    const [id = 0] = [...replica.leases().keys()];
    const row = must(replica.rows.get(leaseRow(id)), 'it is there');
    replica.rows.put(leaseRow(id), Uint8Array.from(row.subarray(0, 25)));
    replica.rows.put(leaseKeyRow(id, bytes('a')), Uint8Array.of(1));
    // As a start finds them.
    replica.machine.saveMeta();
    replica.machine.reload();
    deepEqual([...replica.leases().values()], [['a']]);
    replica.run(ends === 'revoked' ? revoke(id) : transaction({success: [del('a')]}));
    deepEqual([...replica.leases()], []);
    equal(replica.rows.get(leaseKeyRow(id, bytes('a'))), undefined, ends);
  }
});

test('a private lease is gone with its key, however the key goes', () => {
  const replica = new Replica();
  const withTtl = (key: string): void => {
    replica.run(transaction({success: [put(key, '', {ttlMs: 500})]}));
  };
  for (const end of [
    transaction({success: [put('a', '')]}),
    transaction({success: [del('a')]}),
    transaction({success: [deleteRange(range('', null))]}),
  ]) {
    withTtl('a');
    equal(replica.machine.leases.count, 1);
    replica.run(end);
    equal(replica.machine.leases.count, 0);
  }
  withTtl('a');
  const before = must(replica.machine.get(bytes('a'), 0), 'a').leaseId;
  withTtl('a');
  const after = must(replica.machine.get(bytes('a'), 0), 'a').leaseId;
  equal(replica.machine.leases.count, 1);
  equal(before === after, false);
  // It may be written under its own again.
  const again = replica.run(transaction({success: [put('a', 'y', {leaseId: after})]}));
  equal(again.type, 'transaction');
  equal(replica.machine.get(bytes('a'), 0)?.leaseId, after);
  equal(replica.machine.leases.count, 1);
  // Nobody else's key can be attached to it.
  const attached = replica.run(transaction({success: [put('b', '', {leaseId: after})]}));
  equal(refusal(attached), 'LEASE_NOT_FOUND');
  replica.run(transaction({success: [put('a', 'x', {ignoreLease: true})]}));
  equal(replica.machine.get(bytes('a'), 0)?.leaseId, after);
});

test('a key that has a lifetime of its own gets another when there are all the leases there may be', t => {
  t.after(setLimits({leaseCountMax: 2}));
  const replica = new Replica();
  const withTtl = (...keys: readonly string[]): string =>
    refusal(replica.run(transaction({success: keys.map(key => put(key, '', {ttlMs: 500}))})));
  replica.run(grant(7));
  replica.run(transaction({success: [put('b', '', {leaseId: 7})]}));
  equal(withTtl('a'), 'transaction');
  equal(withTtl('a'), 'transaction');
  equal(replica.machine.leases.count, 2);
  // The lease of this one stays.
  equal(withTtl('b'), 'OVERLOADED');
  equal(withTtl('a', 'c'), 'OVERLOADED');
  equal(replica.machine.leases.count, 2);
});

test('however many ids clients have taken, a command passes over few', () => {
  const replica = new Replica();
  const takenCount = 1_500;
  for (let i = 0; i < takenCount; i++) replica.run(grant(2 ** 48 + 1 + i));
  const withTtl = transaction({success: [put('a', '', {ttlMs: 5}), put('b', '', {ttlMs: 5})]});
  equal(refusal(replica.run(withTtl)), 'OVERLOADED');
  equal(replica.machine.revision(), 1);
  replica.machine.saveMeta();
  replica.machine.reload();
  equal(refusal(replica.run(withTtl)), 'transaction');
  const ids = [...replica.leases().keys()].slice(takenCount);
  deepEqual(ids, [2 ** 48 + takenCount + 1, 2 ** 48 + takenCount + 2]);
  for (let i = 0; i < takenCount; i++) replica.run(grant(2 ** 48 + takenCount + 3 + i));
  equal(refusal(replica.run(grant(0))), 'OVERLOADED');
  equal(refusal(replica.run(grant(0))), 'lease');
});

test('a revocation looks at each key of its lease once', () => {
  const rows = new FakeRows();
  const scan = rows.scan.bind(rows);
  const starts: string[] = [];
  const machine = new KvStateMachine(rows);
  const run = (body: CommandBody, index: number): CommandResult =>
    machine.apply({index, proposedAtMs: index, data: encode(body)});
  run(grant(7), 1);
  const puts = Array.from({length: 100}, (_, i) => put(`k${100 + i}`, '', {leaseId: 7}));
  run(transaction({success: puts}), 2);
  const more = Array.from({length: 100}, (_, i) => put(`m${100 + i}`, '', {leaseId: 7}));
  run(transaction({success: more}), 3);
  rows.scan = (rowRange, visit) => {
    starts.push(text(rowRange.start.subarray(9)));
    scan(rowRange, visit);
  };
  deepEqual(run(revoke(7), 4), {type: 'lease-revoke', revision: 4, deletedCount: 200});
  // Deleted rows cost a scan that begins in front of them: each begins behind the last key.
  deepEqual(starts, ['', 'k163\0', 'm127\0', 'm191\0']);
});

test('nobody sees a lease with some of the keys that a command takes away', () => {
  const replica = new Replica();
  replica.run(grant(7));
  const puts = Array.from({length: 100}, (_, i) => put(`k${100 + i}`, '', {leaseId: 7}));
  replica.run(transaction({success: puts}));
  const {machine} = replica;
  let result = machine.begin({index: 10, proposedAtMs: 10, data: encode(revoke(7))});
  equal(result, null);
  while (result === null) {
    deepEqual(machine.leases.keys(7, null, 1_000), null);
    deepEqual(machine.leases.list(0, 1_000), null);
    result = machine.resume();
  }
  deepEqual(machine.leases.keys(7, null, 1_000), []);
  deepEqual(machine.leases.list(0, 1_000), []);
});

test('a lease has so many keys and no more, however they are attached', t => {
  t.after(setLimits({leaseKeyCountMax: 3}));
  const replica = new Replica();
  replica.run(grant(7));
  const attach = (...names: readonly string[]): CommandResult =>
    replica.run(transaction({success: names.map(name => put(name, '', {leaseId: 7}))}));
  const keyCount = (): number => must(replica.machine.leases.get(7), 'lease').keyCount;
  attach('a', 'b');
  equal(refusal(attach('c', 'd')), 'TOO_MANY_KEYS');
  equal(keyCount(), 2);
  attach('a', 'c');
  equal(refusal(attach('d')), 'TOO_MANY_KEYS');
  // Those that it has may be written again; one that leaves makes room.
  equal(refusal(attach('a', 'b', 'c')), 'transaction');
  replica.run(transaction({success: [put('b', '')]}));
  replica.run(transaction({success: [del('c')]}));
  equal(keyCount(), 1);
  attach('d', 'e');
  equal(keyCount(), 3);
  deepEqual(replica.run(revoke(7)), {type: 'lease-revoke', revision: 8, deletedCount: 3});
});

test('what goes in one revision is bounded: leases behind too many keys are passed over', t => {
  t.after(setLimits({leaseKeyCountMax: 4}));
  const replica = new Replica();
  for (const id of [1, 2, 3]) {
    replica.run(grant(id));
    const puts = ['a', 'b'].map(name => put(`${name}${id}`, '', {leaseId: id}));
    replica.run(transaction({success: puts}));
  }
  const leases = [1, 2, 3].map(id => ({
    id,
    grant: must(replica.machine.leases.get(id), 'it').grant,
  }));
  const command = {type: 'lease-revoke', leases} as const;
  deepEqual(replica.run(command), {type: 'lease-revoke', revision: 5, deletedCount: 4});
  deepEqual(replica.leases(), new Map([[3, ['a3', 'b3']]]));
  deepEqual(replica.run(command), {type: 'lease-revoke', revision: 6, deletedCount: 2});
});

test('a revocation that was decided for one grant leaves a later one alone', () => {
  const replica = new Replica();
  replica.run(grant(7));
  const {grant: first} = must(replica.machine.leases.get(7), 'granted');
  replica.run(revoke(7));
  replica.run(grant(7));
  replica.run(transaction({success: [put('a', '', {leaseId: 7})]}));
  deepEqual(replica.run(revoke(7, first)), {type: 'lease-revoke', revision: 2, deletedCount: 0});
  deepEqual(replica.leases(), new Map([[7, ['a']]]));
});

test('compares see the lease of a key', () => {
  const replica = new Replica();
  replica.run(grant(7));
  replica.run(transaction({success: [put('a', '', {leaseId: 7})]}));
  for (const [operator, value, holds] of [
    ['=', 7, true],
    ['!=', 7, false],
    ['<', 8, true],
    ['>', 7, false],
  ] as const) {
    const result = replica.run(
      transaction({compare: [compare('a', operator, {type: 'lease', value})], success: [get('a')]}),
    );
    equal(result.type === 'transaction' && result.succeeded, holds, operator);
  }
});

test('random commands do with leases what a plain model does', () => {
  for (let seed = 1; seed <= 30; seed++) runRandom(seed);
});

function runRandom(seed: number): void {
  const prng = new Prng(seed);
  const below = (max: number): number => prng.integer({min: 0, max: max - 1});
  const replica = new Replica();
  const twin = new KvStateMachine(new FakeRows());
  /** By key: its lease. */
  const keys = new Map<string, number>();
  const leases = new Map<number, {isPrivate: boolean}>();
  const drop = (key: string): void => {
    const lease = keys.get(key) ?? 0;
    keys.delete(key);
    if (leases.get(lease)?.isPrivate === true) leases.delete(lease);
  };
  const key = (): string => `k${below(8)}`;
  const draw = (): CommandBody => {
    const id = 1 + below(5);
    switch (below(8)) {
      case 0:
        return grant(id);
      case 1:
        return revoke(id);
      case 2:
        return transaction({success: [del(key())]});
      case 3:
        return transaction({success: [deleteRange(range(key(), key()))]});
      case 4:
      case 5:
        return transaction({success: [put(key(), '', {leaseId: id})]});
      case 6:
        return transaction({success: [put(key(), '', {ttlMs: 1_000})]});
      default:
        return transaction({success: [put(key(), '')]});
    }
  };
  const model = (body: CommandBody, isRefused: boolean): void => {
    if (body.type === 'lease-grant') {
      equal(isRefused, leases.has(body.id));
      leases.set(body.id, {isPrivate: false});
    } else if (body.type === 'lease-revoke') {
      const [{id} = {id: 0}] = body.leases;
      equal(isRefused, !leases.has(id));
      for (const [name, lease] of keys) if (lease === id) keys.delete(name);
      leases.delete(id);
    } else if (body.type === 'transaction') {
      const [operation] = body.success;
      if (operation?.type === 'delete') drop(text(operation.key));
      if (operation?.type === 'delete-range') {
        const {start, end} = operation.range;
        for (const name of [...keys.keys()]) {
          if (name >= text(start) && (end === null || name < text(end))) drop(name);
        }
      }
      if (operation?.type !== 'put') return;
      const name = text(operation.key);
      equal(isRefused, operation.leaseId !== 0 && !leases.has(operation.leaseId));
      if (isRefused) return;
      drop(name);
      const {leaseId} = must(replica.machine.get(operation.key, 0), name);
      equal(operation.ttlMs !== 0 || leaseId === operation.leaseId, true);
      if (operation.ttlMs !== 0) leases.set(leaseId, {isPrivate: true});
      keys.set(name, leaseId);
    }
  };
  for (let i = 0; i < 200; i++) {
    const body = draw();
    const result = replica.run(body);
    let other = twin.begin({index: i + 1, proposedAtMs: i + 1, data: encode(body)});
    while (other === null) other = twin.resume();
    deepEqual(other, result);
    model(body, result.type === 'refused');
    if (below(10) === 0) {
      twin.saveMeta();
      twin.reload();
    }
    const expected = new Map<number, string[]>(
      [...leases.keys()].sort(byNumber).map(id => [id, []]),
    );
    for (const name of [...keys.keys()].sort()) expected.get(keys.get(name) ?? 0)?.push(name);
    deepEqual(replica.leases(), expected, `seed ${seed}, command ${i}`);
    for (const [id, names] of expected) {
      equal(replica.machine.leases.get(id)?.keyCount, names.length);
    }
    equal(replica.machine.leases.count, leases.size);
    equal(replica.machine.keyCount(), keys.size);
  }
  equal(twin.stateHash(), replica.machine.stateHash());
  equal(twin.recomputeStateHash(), twin.stateHash());
}

function byNumber(a: number, b: number): number {
  return a - b;
}

function refusal(result: CommandResult): string {
  return result.type === 'refused' ? result.code : result.type;
}
