/** What scrubbing removes by itself, and how much a slice of it does. All together: model.test.ts. */
import {deepEqual, equal, ok} from 'node:assert/strict';
import {test} from 'node:test';
import {encode, put, transaction} from '../../test/contract/commands.ts';
import {CountedRows} from '../../test/contract/counted-rows.ts';
import {makeMetaOlder, withoutImages} from '../../test/contract/older-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {limits} from '../base/limits.ts';
import type {CommandBody} from './command.ts';
import type {PruneRange} from './rows.ts';
import {KvStateMachine} from './state-machine.ts';
import {historyKeyView, historyPointer, tables} from './tables.ts';

const large = 'x'.repeat(limits.beforeImageSizeBytesMax + 1);

interface Scrubbed {
  readonly rows: CountedRows;
  readonly sliceCount: number;
}

/** Compacted to all but the newest `revisionsKept` revisions. */
function scrubbed(commands: readonly CommandBody[], revisionsKept: number): Scrubbed {
  const rows = new CountedRows();
  const machine = new KvStateMachine(rows);
  commands.forEach((body, i) => {
    machine.apply({index: i + 1, proposedAtMs: 1000, data: encode(body)});
  });
  const revision = machine.revision() - revisionsKept;
  const data = encode({type: 'compact', revision});
  machine.apply({index: commands.length + 1, proposedAtMs: 1000, data});
  let sliceCount = 0;
  for (let hasMore = true; hasMore; sliceCount++) {
    rows.reset();
    hasMore = machine.scrub(64);
    rows.check();
    ok(sliceCount < 1_000, 'it goes on');
  }
  equal(machine.eventFloor(), revision + 1);
  return {rows, sliceCount};
}

function putOf(key: string, value: string): CommandBody {
  return transaction({success: [put(key, value)]});
}

function rowCount(rows: CountedRows, table: number): number {
  let count = 0;
  const all = {start: Uint8Array.of(table), end: Uint8Array.of(table + 1), isReverse: false};
  rows.scan(all, () => ++count > 0);
  return count;
}

test('large values that were replaced are removed in slices, however many there are', () => {
  const commands = Array.from({length: 300}, (_, i) => putOf('k', `${i}${large}`));
  const {rows, sliceCount} = scrubbed(commands, 0);
  ok(sliceCount >= 5, `${sliceCount} slices`);
  equal(rowCount(rows, tables.history), 1);
  equal(rowCount(rows, tables.replacedLarge), 0);
});

test('small values cost no slice: they are pruned', () => {
  const commands = Array.from({length: 300}, (_, i) => putOf('k', `${i}`));
  const {rows, sliceCount} = scrubbed(commands, 0);
  equal(sliceCount, 1);
  equal(rowCount(rows, tables.replacedLarge), 0);
  equal(rowCount(rows, tables.history), 1);
});

test('a large value stays as long as a readable revision has it', () => {
  const far = Array.from({length: limits.nearRevisionCount + 10}, () => putOf('other', ''));
  const commands = [putOf('k', large), ...far, putOf('k', 'small')];
  const {rows} = scrubbed(commands, 1);
  ok(rows.get(historyKeyView(2, 0)), 'the only row that says it');
  const {rows: later} = scrubbed(commands, 0);
  equal(later.get(historyKeyView(2, 0)), undefined);
});

test('nothing is left of what a version without before images wrote, once all was replaced', t => {
  const rows = new CountedRows();
  let machine = new KvStateMachine(rows);
  let index = 0;
  const write = (body: CommandBody): void => {
    machine.apply({index: ++index, proposedAtMs: 1000, data: encode(body)});
  };
  const putBack = setLimits(withoutImages);
  t.after(putBack);
  for (const value of ['1', '2', large]) for (const key of ['a', 'b']) write(putOf(key, value));
  machine.saveMeta();
  makeMetaOlder(rows);
  putBack();
  machine = new KvStateMachine(rows);
  // Near for one key, far for the other.
  write(putOf('a', ''));
  for (let i = 0; i < limits.nearRevisionCount; i++) write(putOf('other', ''));
  write(putOf('b', ''));
  write({type: 'compact', revision: machine.revision()});
  while (machine.scrub(64));
  // Of `b` and of the other key, near the newest revision.
  equal(rowCount(rows, tables.history), 2);
  equal(rowCount(rows, tables.replacedLarge), 0);
});

/** Rows from which nothing goes: they only hear what might. */
class PatientRows extends CountedRows {
  readonly ends: number[] = [];

  override prune(range: PruneRange): void {
    this.ends.push(historyPointer(range.end).revision);
  }
}

test('what may go is said again after a start, since it may not have gone', () => {
  const rows = new PatientRows();
  const machine = new KvStateMachine(rows);
  [putOf('a', '1'), putOf('a', '2'), {type: 'compact', revision: 3} as const].forEach((body, i) => {
    machine.apply({index: i + 1, proposedAtMs: 1000, data: encode(body)});
  });
  equal(machine.scrub(64), false);
  machine.saveMeta();
  const again = new KvStateMachine(rows);
  equal(again.scrub(64), false);
  deepEqual(rows.ends, [4, 4]);
});

test('where nothing was compacted nothing may go', () => {
  const rows = new PatientRows();
  const machine = new KvStateMachine(rows);
  machine.apply({index: 1, proposedAtMs: 1000, data: encode(putOf('a', '1'))});
  equal(machine.scrub(64), false);
  deepEqual(rows.ends, []);
});
