import assert from 'node:assert/strict';
import {test} from 'node:test';
import {deleteRange, encode, get, put, range, transaction} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {membershipOf} from '../../test/node/driven-raft.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import type {Clock} from '../base/clock.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {Entry, EntryType} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, noIndex, noTerm, term} from '../raft/ids.ts';
import {emptyMembership, encodeMembership} from '../raft/membership.ts';
import {Applier} from './applier.ts';

function entry(index: number, type: EntryType = 'command'): Entry {
  const command = encode(transaction({success: [put('key', `${index}`)]}));
  const data = {
    command,
    noop: new Uint8Array(0),
    membership: encodeMembership(membershipOf(['node1', 'node2'])),
  }[type];
  return makeEntry({term: term(1), index: logIndex(index), type, proposedAtMs: 1, data});
}

function entries(from: number, to: number): Entry[] {
  return Array.from({length: to - from + 1}, (_, i) => entry(from + i));
}

function makeApplier(clock: Clock = new LifeClock(new VirtualTime())): {
  readonly applier: Applier;
  readonly applied: [number, string | null][];
  readonly room: {isFree: boolean};
  readonly machine: KvStateMachine;
} {
  const machine = new KvStateMachine(new FakeRows());
  const applied: [number, string | null][] = [];
  const room = {isFree: true};
  const applier = new Applier(
    {
      machine,
      clock,
      hasRoom: () => room.isFree,
      onApplied: (one, result) => applied.push([one.index, result?.type ?? null]),
    },
    {index: noIndex, term: noTerm, membership: emptyMembership},
  );
  return {applier, applied, room, machine};
}

/** Every look at it takes a millisecond. */
function slowClock(): Clock {
  const time = new VirtualTime();
  const clock = new LifeClock(time);
  return {
    wallMs: () => clock.wallMs(),
    monotonicMs: () => {
      time.turn(() => undefined);
      return clock.monotonicMs();
    },
    setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
    afterPoll: callback => clock.afterPoll(callback),
  };
}

test('entries are applied in order, and only commands have a result', () => {
  const {applier, applied} = makeApplier();
  applier.enqueue([entry(1, 'membership'), entry(2, 'noop')]);
  applier.enqueue([entry(3)]);
  assert.equal(applier.run(), true);
  assert.deepEqual(applied, [
    [1, null],
    [2, null],
    [3, 'transaction'],
  ]);
  assert.equal(applier.applied.index, 3);
  assert.deepEqual(applier.applied.membership.voters, ['node1', 'node2']);
  assert.equal(applier.appliedCount, 3);
  assert.equal(applier.hasWork, false);
  assert.equal(applier.run(), false);
});

test('a slice ends in time and the next one goes on', () => {
  const {applier, applied} = makeApplier(slowClock());
  applier.enqueue(entries(1, 200));
  applier.run();
  assert.ok(applied.length > 0 && applied.length < 100, `${applied.length} in one slice`);
  assert.equal(applier.hasWork, true);
  for (let i = 0; i < 200; i++) applier.run();
  assert.deepEqual(
    applied.map(([index]) => index),
    entries(1, 200).map(({index}) => index),
  );
});

test('a slice of small commands that read large values ends in time', () => {
  const {applier, applied} = makeApplier(slowClock());
  const commandOf = (i: number): Uint8Array =>
    encode(transaction({success: [i === 0 ? put('large', 'x'.repeat(1_500_000)) : get('large')]}));
  const commands = Array.from({length: 17}, (_, i) => {
    const fields = {term: term(1), index: logIndex(i + 1), type: 'command'} as const;
    return makeEntry({...fields, proposedAtMs: 1, data: commandOf(i)});
  });
  applier.enqueue(commands);
  for (let sliceCount = 1; applier.hasWork; sliceCount++) {
    const before = applied.length;
    applier.run();
    const count = applied.length - before;
    assert.ok(count > 0 && count <= 4, `${count} in slice ${sliceCount}`);
  }
  assert.equal(applied.length, 17);
});

test('without room nothing is applied, and nothing is lost', () => {
  const {applier, applied, room} = makeApplier();
  room.isFree = false;
  applier.enqueue(entries(1, 3));
  assert.equal(applier.run(), false);
  assert.equal(applier.hasWork, true);
  room.isFree = true;
  applier.run();
  assert.equal(applied.length, 3);
});

test('a snapshot replaces what waits, and the log goes on behind it', () => {
  const {applier, applied} = makeApplier();
  applier.enqueue(entries(1, 3));
  applier.reset({index: logIndex(10), term: term(1), membership: membershipOf(['node1'])});
  assert.equal(applier.hasWork, false);
  applier.enqueue([entry(11)]);
  applier.run();
  assert.deepEqual(applied, [[11, 'transaction']]);
});

const keyCount = 4_000;

/** Commands 1 to 40 write as many keys, and command 41 deletes them. */
function longCommands(): Entry[] {
  const commandOf = (i: number): Uint8Array => {
    if (i === 40) return encode(transaction({success: [deleteRange(range('', null))]}));
    const success = Array.from({length: keyCount / 40}, (_, j) => put(`key ${i} ${j}`, ''));
    return encode(transaction({success}));
  };
  return Array.from({length: 41}, (_, i) => {
    const fields = {term: term(1), index: logIndex(i + 1), type: 'command'} as const;
    return makeEntry({...fields, proposedAtMs: 1, data: commandOf(i)});
  });
}

test('a long command takes several slices, counts after the last, and needs no room on its way', () => {
  const {applier, applied, room, machine} = makeApplier();
  applier.enqueue(longCommands());
  applier.enqueue([entry(42)]);
  while (!machine.isSuspended()) assert.equal(applier.run(), true);
  room.isFree = false;
  let runCount = 0;
  const calls: string[] = [];
  applier.betweenCommands(() => calls.push('replaced'));
  applier.betweenCommands(() => calls.push(`after ${applier.applied.index}`));
  while (machine.isSuspended()) {
    assert.equal(applier.applied.index, 40);
    assert.equal(applier.appliedCount, 40);
    assert.equal(applier.hasWork, true);
    assert.deepEqual(calls, []);
    assert.equal(machine.keyCount(), keyCount);
    assert.equal(applier.run(), true);
    runCount++;
    assert.ok(runCount < 1_000, 'it goes on without room');
  }
  assert.ok(runCount > 3, `${runCount} slices`);
  assert.deepEqual(calls, ['after 41']);
  assert.equal(applier.applied.index, 41);
  assert.equal(machine.keyCount(), 0);
  // The next command waits for room.
  assert.equal(applier.run(), false);
  room.isFree = true;
  applier.run();
  assert.deepEqual(
    applied.map(([index]) => index),
    [...longCommands().map(({index}) => index), 42],
  );
  applier.betweenCommands(() => calls.push('at once'));
  assert.deepEqual(calls, ['after 41', 'at once']);
});

test('a snapshot ends a command that is suspended', () => {
  const {applier, applied, machine} = makeApplier();
  applier.enqueue(longCommands());
  while (!machine.isSuspended()) applier.run();
  const calls: string[] = [];
  applier.betweenCommands(() => calls.push('never'));
  machine.reload();
  applier.reset({index: logIndex(50), term: term(1), membership: membershipOf(['node1'])});
  assert.equal(applier.hasWork, false);
  applier.enqueue([entry(51)]);
  applier.run();
  assert.deepEqual(applied.at(-1), [51, 'transaction']);
  assert.equal(applied.length, 41);
  assert.deepEqual(calls, []);
});

test('a gap, and a snapshot of the past, are bugs', () => {
  const {applier} = makeApplier();
  applier.enqueue([entry(1), entry(3)]);
  assert.throws(() => applier.run(), /entry 3 cannot be applied after 1/);
  const membership = emptyMembership;
  assert.throws(() => applier.reset({index: noIndex, term: noTerm, membership}), /older/);
});
