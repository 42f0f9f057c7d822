/**
 * Walks over the keys of a range inside a command, in steps. Sees the rows as the command has left
 * them so far: nobody else writes rows while it stands still.
 */
import type {KeyRange} from './command.ts';
import {readRangeSlice} from './range-reader.ts';
import type {KeyRecord} from './result.ts';
import type {RowStore} from './rows.ts';
import type {RangeSlice, RangeSliceRequest} from './state-reader.ts';
import type {Steps} from './steps.ts';
import {stepRowCountMax, stepSizeBytesMax} from './steps.ts';
import {tables} from './tables.ts';

export type RangeWalk = Pick<RangeSliceRequest, 'range' | 'isReverse' | 'keysOnly'>;

/** Stops at `countMax`. */
export function* countKeys(
  rows: RowStore,
  compactedRevision: number,
  range: KeyRange,
  countMax: number,
): Steps<number> {
  let count = 0;
  let rest = range;
  while (count < countMax) {
    yield* readiness(rows);
    const slice: RangeSlice = readRangeSlice(rows, compactedRevision, {
      range: rest,
      isReverse: false,
      keysOnly: true,
      countOnly: true,
      countMax: countMax - count,
      ...stepBounds,
    });
    count += slice.count;
    if (slice.rest === null) break;
    rest = slice.rest;
    yield;
  }
  return count;
}

/** Until `visit` says false. */
export function* forEachRecord(
  rows: RowStore,
  compactedRevision: number,
  walk: RangeWalk,
  visit: (record: KeyRecord) => boolean,
): Steps<void> {
  let rest = walk.range;
  for (;;) {
    yield* readiness(rows);
    const slice: RangeSlice = readRangeSlice(rows, compactedRevision, {
      range: rest,
      isReverse: walk.isReverse,
      keysOnly: walk.keysOnly,
      countOnly: false,
      countMax: stepRowCountMax,
      ...stepBounds,
    });
    for (const record of slice.records) if (!visit(record)) return;
    if (slice.rest === null) return;
    rest = slice.rest;
    yield;
  }
}

const stepBounds = {
  revision: Number.MAX_SAFE_INTEGER,
  sizeBytesMax: stepSizeBytesMax,
  rowCountMax: stepRowCountMax,
};

function* readiness(rows: RowStore): Steps<void> {
  while (!rows.isReadyToScan(tables.latest)) {
    rows.prepareScans();
    yield;
  }
}
