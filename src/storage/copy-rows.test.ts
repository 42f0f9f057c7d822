import assert from 'node:assert/strict';
import {test} from 'node:test';
import {compareBytes} from '../base/bytes.ts';
import type {RowReader} from '../kv/rows.ts';
import {copyRows} from './copy-rows.ts';

type Row = readonly [key: Uint8Array, value: Uint8Array];

function rowsOf(count: number, sizeBytes: number): Row[] {
  const value = new Uint8Array(sizeBytes);
  return Array.from({length: count}, (_, i) => {
    const key = Buffer.alloc(5, 1);
    key.writeUInt32BE(i, 1);
    return [key, value];
  });
}

/** Sizes of the transactions, in rows; and that every row arrived once, in order. */
function copied(rows: readonly Row[]): readonly number[] {
  const source: Pick<RowReader, 'scan'> = {
    scan: ({start, end}, visit) => {
      for (const [key, value] of rows) {
        if (compareBytes(key, start) < 0 || compareBytes(key, end) >= 0) continue;
        if (!visit(key, value)) return;
      }
    },
  };
  const counts: number[] = [];
  const keys: Uint8Array[] = [];
  copyRows(source, {
    transaction: addRows => {
      const before = keys.length;
      addRows();
      counts.push(keys.length - before);
    },
    addRow: key => keys.push(key),
  });
  assert.deepEqual(
    keys,
    rows.map(([key]) => key),
  );
  return counts;
}

test('a transaction of small rows is bounded by their number', () => {
  assert.deepEqual(copied([]), [0]);
  assert.deepEqual(copied(rowsOf(10, 100)), [10]);
  assert.deepEqual(copied(rowsOf(4_096 + 3, 100)), [4_096, 3]);
});

test('a transaction of large rows is bounded by their bytes', () => {
  assert.deepEqual(copied(rowsOf(10, 1024 * 1024)), [4, 4, 2]);
  assert.deepEqual(copied(rowsOf(2, 5 * 1024 * 1024)), [1, 1, 0]);
});
