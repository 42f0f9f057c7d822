/**
 * What the state machine relies on in a RowStore. Run on the fake and on the real store.
 */
import {deepEqual, equal} from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import type {RowStore} from '../../src/kv/rows.ts';

export interface RowStoreFixture {
  readonly rows: RowStore;
  /**
   * Called now and then between operations: whatever the store does behind the scenes (freezing,
   * writing a checkpoint). Must leave the rows as they are.
   */
  readonly settle: () => void;
  readonly close: () => void;
}

export function testRowStore(name: string, open: () => RowStoreFixture): void {
  const withRows = (title: string, body: (fixture: RowStoreFixture) => void): void => {
    test(`${name}: ${title}`, () => {
      const fixture = open();
      try {
        body(fixture);
      } finally {
        fixture.close();
      }
    });
  };

  withRows('a row that was put is found, replaced and deleted', ({rows}) => {
    const key = bytes('\x02key');
    equal(rows.get(key), undefined);
    rows.put(key, bytes('one'));
    equal(read(rows, '\x02key'), 'one');
    rows.put(key, bytes(''));
    equal(read(rows, '\x02key'), '');
    rows.delete(key);
    equal(rows.get(key), undefined);
    rows.delete(key);
  });

  withRows('put copies both arguments', ({rows}) => {
    const key = bytes('\x02key');
    const value = bytes('value');
    rows.put(key, value);
    key.fill(0);
    value.fill(0);
    equal(read(rows, '\x02key'), 'value');
  });

  withRows('a scan has an inclusive start, an exclusive end and byte order', ({rows, settle}) => {
    for (const key of ['\x02b', '\x02\xff', '\x02', '\x02a\x00', '\x03', '\x02a']) {
      rows.put(bytes(key), bytes(`v${key}`));
    }
    settle();
    const between = ['\x02a', '\x02a\x00', '\x02b'];
    deepEqual(keys(rows, {start: '\x02a', end: '\x02\xff', isReverse: false}), between);
    const reversed = [...between].reverse();
    deepEqual(keys(rows, {start: '\x02a', end: '\x02\xff', isReverse: true}), reversed);
    deepEqual(keys(rows, {start: '\x02\xff', end: '\x03', isReverse: false}), ['\x02\xff']);
    deepEqual(keys(rows, {start: '\x02c', end: '\x02c', isReverse: false}), []);
  });

  withRows('a scan ends when the visitor says so', ({rows}) => {
    for (const key of ['\x02a', '\x02b', '\x02c']) rows.put(bytes(key), bytes('v'));
    let visited = 0;
    rows.scan({start: bytes('\x02'), end: bytes('\x03'), isReverse: false}, () => ++visited < 2);
    equal(visited, 2);
  });

  withRows('rows of the largest sizes are kept', ({rows, settle}) => {
    const key = new Uint8Array(1100).fill(0xff);
    const value = new Uint8Array(1_600_000).fill(7);
    rows.put(key, value);
    settle();
    const found = rows.get(key);
    equal(found?.length, value.length);
    equal(found[value.length - 1], 7);
  });

  withRows('random operations agree with a sorted map', ({rows, settle}) => {
    const prng = new Prng(20);
    const model = new Map<string, string>();
    for (let i = 0; i < 3_000; i++) {
      const key = `\x02${prng.integer({min: 0, max: 99}).toString(4)}`;
      const choice = prng.integer({min: 0, max: 99});
      if (choice < 55) {
        const value = `value ${i}`;
        model.set(key, value);
        rows.put(bytes(key), bytes(value));
      } else if (choice < 80) {
        model.delete(key);
        rows.delete(bytes(key));
      } else if (choice < 96) {
        equal(read(rows, key), model.get(key));
      } else if (choice < 97) {
        settle();
      } else {
        const [start, end] = [key, '\x021'].sort() as [string, string];
        const isReverse = choice === 98;
        const expected = [...model.keys()].filter(k => k >= start && k < end).sort();
        if (isReverse) expected.reverse();
        deepEqual(keys(rows, {start, end, isReverse}), expected);
      }
    }
  });
}

function bytes(latin1: string): Uint8Array {
  return new Uint8Array(Buffer.from(latin1, 'latin1'));
}

function read(rows: RowStore, key: string): string | undefined {
  const value = rows.get(bytes(key));
  return value === undefined ? undefined : Buffer.from(value).toString('latin1');
}

function keys(
  rows: RowStore,
  range: {readonly start: string; readonly end: string; readonly isReverse: boolean},
): readonly string[] {
  const found: string[] = [];
  const {isReverse} = range;
  rows.scan({start: bytes(range.start), end: bytes(range.end), isReverse}, rowKeyView => {
    found.push(Buffer.from(rowKeyView).toString('latin1'));
    return true;
  });
  return found;
}
