/** What pruning leaves, row by row. That reads agree with all of it: model.test.ts. */
import {deepEqual, equal} from 'node:assert/strict';
import {test} from 'node:test';
import {bytes, del, encode, put, text, transaction} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import type {Operation} from './command.ts';
import {decodeEventRow} from './event-row.ts';
import {pruneHistory} from './history-pruner.ts';
import type {PruneRange} from './rows.ts';
import {KvStateMachine} from './state-machine.ts';
import {historyKeyView, historyPointer, tables} from './tables.ts';

const near = 3;

/** Revisions begin with 2. Every event carries what lies more than three revisions back. */
function applied(...operations: readonly Operation[]): FakeRows {
  const restore = setLimits({nearRevisionCount: near, beforeImageSizeBytesMax: 10});
  try {
    const rows = new FakeRows();
    const machine = new KvStateMachine(rows);
    operations.forEach((operation, i) => {
      const data = encode(transaction({success: [operation]}));
      machine.apply({index: i + 1, proposedAtMs: 0, data});
    });
    machine.saveMeta();
    return rows;
  } finally {
    restore();
  }
}

function rangeOf(
  wholeEnd: number,
  end: number,
  options: {readonly imagesFromRevision?: number; readonly tailStart?: number} = {},
): PruneRange {
  const keyOf = (revision: number): Uint8Array => new Uint8Array(historyKeyView(revision, 0));
  return {
    start: keyOf(0),
    wholeEnd: keyOf(wholeEnd),
    tailStart: keyOf(options.tailStart ?? wholeEnd),
    end: keyOf(end),
    imagesFromRevision: options.imagesFromRevision ?? 0,
  };
}

function history(rows: FakeRows): readonly number[] {
  const revisions: number[] = [];
  rows.scan({...rangeOf(0, 1000), isReverse: false}, rowKeyView => {
    revisions.push(historyPointer(rowKeyView).revision);
    return true;
  });
  return revisions;
}

function latestCount(rows: FakeRows): number {
  let count = 0;
  const {latest} = tables;
  rows.scan(
    {start: Uint8Array.of(latest), end: Uint8Array.of(latest + 1), isReverse: false},
    () => {
      count++;
      return true;
    },
  );
  return count;
}

test('an event carries what it replaces only where that is far, small and no tombstone', () => {
  const rows = applied(
    put('a', 'first'),
    put('b', 'larger than ten'),
    put('c', ''),
    del('c'),
    put('a', 'second'),
    put('a', 'third'),
    put('b', ''),
    put('d', ''),
    put('c', ''),
    del('a'),
  );
  const images = history(rows).map(revision => {
    const row = rows.get(historyKeyView(revision, 0));
    const image = row === undefined ? null : decodeEventRow(row).beforeImage;
    return image === null ? null : text(image.value);
  });
  //                 a     b     c     -c    a        a     b     d     c     -a
  deepEqual(images, [null, null, null, null, 'first', null, null, null, null, 'third']);
});

test('before the end of the whole everything goes that is not large', () => {
  const rows = applied(put('a', ''), put('b', 'larger than ten'), put('a', ''), put('c', ''));
  equal(pruneHistory(rows, rangeOf(5, 5), Infinity).length, historyKeyView(5, 0).length);
  deepEqual(history(rows), [3, 5]);
  equal(latestCount(rows), 3);
});

test('behind it the newest event of each key stays', () => {
  const rows = applied(put('a', ''), put('b', ''), put('a', ''), put('a', ''), put('b', ''));
  pruneHistory(rows, rangeOf(0, 6), Infinity);
  // What event 6 replaced may be asked for: 6 is not compacted.
  deepEqual(history(rows), [3, 5, 6]);
});

test('a tombstone goes on either side, and its latest row with it unless that is newer', () => {
  for (const wholeEnd of [0, 6]) {
    const rows = applied(put('a', ''), del('a'), put('b', ''), del('b'), put('b', ''));
    equal(latestCount(rows), 2);
    pruneHistory(rows, rangeOf(wholeEnd, 6), Infinity);
    deepEqual(history(rows), [6]);
    equal(latestCount(rows), 1);
  }
});

test('events of a version without before images remove the one before them', () => {
  const rows = applied(put('a', ''), put('a', ''), put('b', ''), del('b'), put('c', ''));
  pruneHistory(rows, rangeOf(6, 6, {imagesFromRevision: 6}), Infinity);
  deepEqual(history(rows), [3, 6]);
});

test('it looks at so many rows as it may and goes on from there', () => {
  const rows = applied(...Array.from({length: 600}, (_, i) => put(`k${i}`, '')));
  const range = rangeOf(602, 602);
  let {start} = range;
  let count = 0;
  for (; Buffer.compare(start, range.end) < 0; count++) {
    const before = history(rows).length;
    start = pruneHistory(rows, {...range, start}, 290);
    equal(before - history(rows).length <= 290, true);
  }
  equal(count, 3);
  deepEqual(history(rows), []);
});

test('what lies between the two parts has been looked at and stays', () => {
  const rows = applied(...['a', 'b', 'a', 'c', 'a', 'b'].map(key => put(key, '')));
  pruneHistory(rows, rangeOf(3, 8, {tailStart: 6}), Infinity);
  // 6 removes 4; 7 removes 3.
  deepEqual(history(rows), [5, 6, 7]);
});

test('rows that are large, and those that change another page, count for several', () => {
  const large = 'x'.repeat(80_000);
  const stays = applied(...Array.from({length: 100}, (_, i) => put(`k${i}`, large)));
  const next = pruneHistory(stays, rangeOf(102, 102), 100);
  equal(historyPointer(next).revision, 2 + Math.ceil(100 / (1 + Math.floor(80_000 / 8192))) - 1);
  equal(history(stays).length, 100);
  const deleted = applied(
    ...Array.from({length: 20}, (_, i) => put(`k${i}`, '')),
    del('k3'),
    del('k4'),
  );
  const behind = pruneHistory(deleted, rangeOf(22, 24), 29);
  equal(historyPointer(behind).revision, 22, 'nine for the first tombstone, and no more');
  deepEqual(history(deleted), [23]);
});

test('a key whose events are all pruned is read from its latest row', () => {
  const rows = applied(put('a', 'value'));
  pruneHistory(rows, rangeOf(9, 9), Infinity);
  const machine = new KvStateMachine(rows);
  deepEqual(history(rows), []);
  equal(text(machine.get(bytes('a'), 0)?.value ?? bytes('')), 'value');
});
