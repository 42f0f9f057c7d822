import {deepEqual, equal, notEqual} from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {encode, get, put, transaction} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {writeU64} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {CommandBody} from './command.ts';
import type {CommandResult} from './result.ts';
import {parseSessionKey} from './session-table.ts';
import {KvStateMachine} from './state-machine.ts';
import {sessionMetaKey, tables} from './tables.ts';

class Replica {
  readonly rows = new FakeRows();
  machine = new KvStateMachine(this.rows);
  nowMs = 1_000_000;
  #index = 0;

  open(id = 's'): CommandResult {
    return this.#apply(encode({type: 'session', action: 'open', id}));
  }

  close(id = 's'): CommandResult {
    return this.#apply(encode({type: 'session', action: 'close', id}));
  }

  /** A put of `value`; the same number with the same value is the same request. */
  send(number: number, value: number, acknowledged = 0, id = 's'): CommandResult {
    const body: CommandBody = transaction({success: [put('k', `${value}`)]});
    return this.#apply(encode(body, {key: `${id}/${number}`, request: value % 256, acknowledged}));
  }

  putLarge(): CommandResult {
    const value = 'x'.repeat(1024 * 1024);
    return this.#apply(encode(transaction({success: [put('large', value)]})));
  }

  readLarge(number: number, acknowledged: number): CommandResult {
    const body = transaction({success: [get('large')]});
    return this.#apply(encode(body, {key: `s/${number}`, request: 0, acknowledged}));
  }

  readAbsent(number: number): CommandResult {
    const body = transaction({success: [get('absent')]});
    return this.#apply(encode(body, {key: `s/${number}`, request: 0, acknowledged: 0}));
  }

  putWithTtl(number: number, acknowledged: number): CommandResult {
    const body = transaction({success: [put('with ttl', '', {ttlMs: 500})]});
    return this.#apply(encode(body, {key: `s/${number}`, request: 0, acknowledged}));
  }

  plain(): CommandResult {
    return this.#apply(encode(transaction({success: [put('plain', '')]})));
  }

  /** As if so many sessions were open. */
  pretendOpen(count: number): void {
    this.machine.saveMeta();
    const meta = Uint8Array.from(this.rows.get(sessionMetaKey) ?? []);
    writeU64(meta, count, 32);
    this.rows.put(sessionMetaKey, meta);
    this.machine = new KvStateMachine(this.rows);
  }

  restart(): void {
    this.machine.saveMeta();
    this.machine = new KvStateMachine(this.rows);
  }

  /** Rows of all sessions but the one that says how far the queue goes. */
  rowCount(): number {
    let count = 0;
    const start = Uint8Array.of(tables.sessions, 0);
    const end = Uint8Array.of(tables.endedSessions + 1);
    this.rows.scan({start, end, isReverse: false}, () => {
      count++;
      return true;
    });
    return count;
  }

  /** Without the queue. */
  sessionRowCount(): number {
    let count = 0;
    const start = Uint8Array.of(tables.sessions, 0);
    this.rows.scan({start, end: Uint8Array.of(tables.sessionQueue), isReverse: false}, () => {
      count++;
      return true;
    });
    return count;
  }

  #apply(data: Uint8Array): CommandResult {
    return this.machine.apply({index: ++this.#index, proposedAtMs: this.nowMs, data});
  }
}

function codeOf(result: CommandResult): string {
  return result.type === 'refused' ? result.code : result.type;
}

test('the key of a session is an id and a number behind a slash', () => {
  deepEqual(parseSessionKey('abc/17'), {id: 'abc', number: 17});
  for (const key of ['abc', 'abc/', '/17', 'a/b/17', 'abc/1x', 'abc/-1']) {
    equal(parseSessionKey(key), null, key);
  }
});

test('a number runs once and is answered alike however often it comes', () => {
  const replica = new Replica();
  deepEqual(replica.open(), {type: 'session', revision: 1});
  const first = replica.send(1, 7);
  equal(first.revision, 2);
  equal(replica.send(2, 8).revision, 3);
  deepEqual(replica.send(1, 7), first);
  replica.restart();
  deepEqual(replica.send(1, 7), first);
  equal(replica.machine.revision(), 3);
  equal(codeOf(replica.send(1, 9)), 'IDEMPOTENCY_KEY_REUSED');
});

test('numbers may come in any order, and with gaps', () => {
  const replica = new Replica();
  replica.open();
  equal(replica.send(3, 3).revision, 2);
  equal(replica.send(1, 1).revision, 3);
  equal(replica.send(3, 3).revision, 2);
  equal(replica.send(9, 9, 2).revision, 4);
  equal(codeOf(replica.send(2, 2)), 'IDEMPOTENCY_KEY_REUSED');
});

test('an acknowledged answer is dropped, and its number never runs again', () => {
  const replica = new Replica();
  replica.open();
  for (let number = 1; number <= 200; number++) replica.send(number, number, number - 1);
  equal(replica.rowCount() < 20, true, `${replica.rowCount()} rows`);
  equal(codeOf(replica.send(200, 200)), 'transaction');
  equal(codeOf(replica.send(199, 199)), 'IDEMPOTENCY_KEY_REUSED');
  equal(replica.machine.revision(), 201);
});

test('a number that was given up and comes late is not run', () => {
  const replica = new Replica();
  replica.open();
  replica.send(1, 1);
  replica.send(3, 3, 2);
  equal(codeOf(replica.send(2, 2)), 'IDEMPOTENCY_KEY_REUSED');
  equal(codeOf(replica.send(1, 1)), 'IDEMPOTENCY_KEY_REUSED');
  equal(replica.machine.revision(), 3);
});

test('gaps between numbers cost no more than their session', () => {
  const replica = new Replica();
  replica.open();
  replica.open('other');
  let number = 1;
  let answer = codeOf(replica.send(number, 1));
  while (answer === 'transaction' && number < 1e6) {
    number += limits.sessionWindow + 1;
    answer = codeOf(replica.send(number, 1, number - 1));
  }
  equal(answer, 'OVERLOADED');
  for (let i = 0; i < 100; i++) replica.send(number, 1, number - 1);
  equal(codeOf(replica.send(number, 1, number - 1)), 'transaction');
  equal(codeOf(replica.send(1, 1, 0, 'other')), 'transaction');
  replica.close();
  replica.close('other');
  for (let i = 0; i < 100; i++) replica.plain();
  equal(replica.sessionRowCount(), 0);
});

test('a closed session leaves nothing but its place in the queue', () => {
  const replica = new Replica();
  for (let i = 0; i < 1_000; i++) {
    replica.open(`s${i}`);
    replica.send(1, 1, 0, `s${i}`);
    replica.close(`s${i}`);
    replica.close(`s${i}`);
  }
  for (let i = 0; i < 5; i++) replica.plain();
  equal(replica.sessionRowCount(), 0);
  replica.nowMs += 2 * limits.sessionAgeMs;
  for (let i = 0; i < 1_001; i++) replica.plain();
  equal(replica.rowCount(), 0);
});

test('a session has a window of numbers', () => {
  const replica = new Replica();
  replica.open();
  equal(codeOf(replica.send(limits.sessionWindow + 1, 1)), 'OVERLOADED');
  equal(codeOf(replica.send(limits.sessionWindow, 1)), 'transaction');
  equal(codeOf(replica.send(limits.sessionWindow + 1, 1, limits.sessionWindow)), 'transaction');
});

test('an unknown, a closed and an expired session run nothing', () => {
  const replica = new Replica();
  equal(codeOf(replica.send(1, 1)), 'SESSION_EXPIRED');
  replica.open();
  replica.send(1, 1);
  replica.close();
  equal(codeOf(replica.send(1, 1)), 'SESSION_EXPIRED');
  equal(codeOf(replica.send(2, 2)), 'SESSION_EXPIRED');
  replica.open('t');
  replica.nowMs += 2 * limits.sessionAgeMs + 2;
  replica.plain();
  for (let i = 0; i < 10; i++) replica.plain();
  equal(codeOf(replica.send(1, 1, 0, 't')), 'SESSION_EXPIRED');
  equal(replica.rowCount(), 0);
  equal(replica.machine.revision(), 13);
});

test('a session that is used lives on, and its queue with it', () => {
  const replica = new Replica();
  replica.open();
  for (let number = 1; number <= 40; number++) {
    replica.nowMs += limits.sessionAgeMs / 2;
    equal(codeOf(replica.send(number, number, number - 1)), 'transaction');
    if (number % 7 === 0) replica.restart();
  }
  replica.nowMs += 3 * limits.sessionAgeMs;
  for (let i = 0; i < 20; i++) replica.plain();
  equal(replica.rowCount(), 0);
});

test('the answers of an ended session go few at a time', () => {
  const replica = new Replica();
  replica.open();
  for (let number = 1; number <= 100; number++) replica.send(number, number);
  replica.nowMs += 2 * limits.sessionAgeMs;
  const before = replica.rowCount();
  for (let i = 0; i < 5; i++) replica.plain();
  const after = replica.rowCount();
  equal(before - after > 0 && before - after < 50, true, `${before} to ${after} rows`);
  replica.restart();
  for (let i = 0; i < 40; i++) replica.plain();
  equal(replica.rowCount(), 0);
});

test('sessions that are opened and closed without end are refused until their places are free', t => {
  t.after(setLimits({sessionQueueCountMax: 5}));
  const replica = new Replica();
  for (let i = 0; i < 5; i++) {
    equal(codeOf(replica.open(`s${i}`)), 'session');
    replica.close(`s${i}`);
  }
  equal(codeOf(replica.open('more')), 'OVERLOADED');
});

test('a session that ended counts until nothing of it is left', () => {
  const replica = new Replica();
  const far = limits.sessionWindow;
  replica.open();
  for (let i = 0; i < 4; i++) replica.send(far * (i + 1), 0, far * i);
  replica.pretendOpen(limits.sessionCountMax);
  equal(codeOf(replica.open('more')), 'OVERLOADED');
  replica.close();
  equal(codeOf(replica.open('more')), 'OVERLOADED', 'nothing bounds what ended sessions leave');
  for (let i = 0; i < 100; i++) replica.plain();
  equal(codeOf(replica.open('more')), 'session');
});

test('kept answers have a bound, beyond which a session waits', () => {
  const replica = new Replica();
  replica.open();
  replica.putLarge();
  let number = 0;
  let answer = 'transaction';
  while (answer === 'transaction' && number < 100) answer = codeOf(replica.readLarge(++number, 0));
  equal(answer, 'OVERLOADED');
  const valuesMax = limits.sessionAnswersSizeBytesMax - limits.keptAnswersReserveSizeBytes;
  equal(number, valuesMax / 2 ** 20);
  equal(codeOf(replica.plain()), 'transaction');
  // There is room for answers without values, and for one that finds none.
  replica.open('other');
  for (let i = 1; i <= 1_000; i++) equal(codeOf(replica.send(i, 1, 0, 'other')), 'transaction');
  equal(codeOf(replica.readAbsent(number + 1)), 'transaction');
  for (let i = 0; i < 20; i++) replica.readLarge(number, number - 1);
  equal(codeOf(replica.readLarge(number, number - 1)), 'transaction');
});

test('numbers refused for the moment are behind a session that goes on', t => {
  const restore = setLimits({leaseCountMax: 0});
  t.after(restore);
  const replica = new Replica();
  replica.open();
  const count = 3 * limits.sessionWindow;
  for (let number = 1; number <= count; number++) {
    equal(codeOf(replica.putWithTtl(number, number - 1)), 'OVERLOADED');
  }
  restore();
  equal(codeOf(replica.putWithTtl(count + 1, count)), 'transaction');
  // The same number may come again, until it is acknowledged.
  equal(codeOf(replica.putWithTtl(count, count - 1)), 'IDEMPOTENCY_KEY_REUSED');
});

test('a number that was refused may have acknowledged more than was ever answered', () => {
  const replica = new Replica();
  for (const id of ['closed', 'idle']) {
    replica.open(id);
    equal(codeOf(replica.send(5_000, 1, 1_000, id)), 'OVERLOADED');
  }
  replica.close('closed');
  replica.nowMs += 3 * limits.sessionAgeMs;
  for (let i = 0; i < 200; i++) replica.plain();
  equal(replica.rowCount(), 0);
});

/** What a session is said to answer, kept without rows, queues or dropping. */
class PlainSession {
  readonly #answers = new Map<number, {value: number; result: CommandResult}>();
  #acknowledged = 0;
  #highest = 0;

  /** Compares an answer with what is expected; `before`: the revision before it. */
  check(
    {number, value, acknowledged}: {number: number; value: number; acknowledged: number},
    result: CommandResult,
    before: number,
  ): void {
    const reach = this.#highest + limits.sessionWindow;
    const wanted = Math.min(acknowledged, number - 1, reach);
    this.#acknowledged = Math.max(this.#acknowledged, wanted);
    const known = this.#answers.get(number);
    if (number <= this.#acknowledged || (known !== undefined && known.value !== value)) {
      equal(codeOf(result), 'IDEMPOTENCY_KEY_REUSED');
    } else if (known !== undefined) {
      deepEqual(result, known.result);
    } else if (result.type === 'refused') {
      equal(result.code, 'OVERLOADED');
    } else {
      equal(number <= this.#acknowledged + limits.sessionWindow, true);
      equal(result.revision, before + 1);
      this.#answers.set(number, {value, result});
      this.#highest = Math.max(this.#highest, number);
    }
  }
}

test('any history of sessions agrees with a plain model, and leaves nothing behind', () => {
  const number = fc.oneof(
    {weight: 4, arbitrary: fc.integer({min: 1, max: 12})},
    {weight: 1, arbitrary: fc.integer({min: 1, max: 6_000})},
  );
  const step = fc.record({
    id: fc.constantFrom('a', 'b'),
    number,
    value: fc.integer({min: 0, max: 2}),
    acknowledged: number,
    before: fc.constantFrom('nothing', 'nothing', 'nothing', 'restart', 'close', 'wait'),
  });
  const property = fc.property(fc.array(step, {maxLength: 60}), steps => {
    const replica = new Replica();
    const sessions = new Map<string, PlainSession>();
    for (const {id, before, ...request} of steps) {
      if (before === 'restart') replica.restart();
      if (before === 'close') {
        replica.close(id);
        sessions.delete(id);
      }
      if (before === 'wait') {
        replica.nowMs += 3 * limits.sessionAgeMs;
        for (let i = 0; i < 4; i++) replica.plain();
        sessions.clear();
      }
      const revision = replica.machine.revision();
      const result = replica.send(request.number, request.value, request.acknowledged, id);
      const session = sessions.get(id);
      if (session === undefined) equal(codeOf(result), 'SESSION_EXPIRED');
      else session.check(request, result, revision);
      if (session === undefined) {
        // An id is drawn once: its rows are gone before it comes again.
        for (let i = 0; i < 400; i++) replica.plain();
        if (replica.open(id).type === 'session') sessions.set(id, new PlainSession());
      }
    }
    replica.close('a');
    replica.close('b');
    replica.nowMs += 3 * limits.sessionAgeMs;
    for (let i = 0; i < 400; i++) replica.plain();
    equal(replica.rowCount(), 0);
  });
  fc.assert(property, {numRuns: 100});
});

test('sessions do not mix', () => {
  const replica = new Replica();
  replica.open('a');
  replica.open('b');
  const first = replica.send(1, 1, 0, 'a');
  notEqual(replica.send(1, 1, 0, 'b').revision, first.revision);
  replica.close('a');
  equal(codeOf(replica.send(1, 1, 0, 'b')), 'transaction');
  equal(codeOf(replica.send(1, 1, 0, 'a')), 'SESSION_EXPIRED');
});
