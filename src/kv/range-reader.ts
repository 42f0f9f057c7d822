/**
 * Reads keys in byte order at one revision, slice by slice. Latest rows decide which keys there
 * may be; a key changed after the wanted revision is then looked up in its history. Rows are
 * gathered in short scans, since history rows cannot be read while a scan holds its views.
 */
import {assert, must} from '../base/assert.ts';
import {compareBytes, keySuccessor} from '../base/bytes.ts';
import type {KeyRange} from './command.ts';
import {newestEvent, recordAt} from './history.ts';
import {decodeRecordRow, toKeyRecord} from './record-row.ts';
import type {KeyRecord} from './result.ts';
import type {RowReader} from './rows.ts';
import type {RangeSlice, RangeSliceRequest} from './state-reader.ts';
import {sizeBytesPerRow} from './steps.ts';
import {latestBound} from './tables.ts';

const scanRowCountMax = 256;

/** What one scan found for a key: its record, or where to search for it, or that it is absent. */
interface Found {
  readonly key: Uint8Array;
  readonly record: KeyRecord | null;
  readonly newest: ReturnType<typeof newestEvent> | null;
  /** What it counts for in rowCountMax. */
  readonly rowCount: number;
}

interface Tally {
  readonly records: KeyRecord[];
  count: number;
  sizeBytes: number;
  rowCount: number;
}

/**
 * `request.revision` must be readable; Number.MAX_SAFE_INTEGER stands for the rows as they are,
 * in the middle of a transaction too.
 */
export function readRangeSlice(
  rows: RowReader,
  compactedRevision: number,
  request: RangeSliceRequest,
): RangeSlice {
  const {countMax, sizeBytesMax, rowCountMax} = request;
  assert(countMax > 0 && rowCountMax > 0, 'a slice of % records, % rows', countMax, rowCountMax);
  const tally: Tally = {records: [], count: 0, sizeBytes: 0, rowCount: 0};
  let rest: KeyRange = request.range;
  while (!isEmpty(rest)) {
    const found = scanSome(rows, rest, request, tally);
    if (found.length === 0) return {records: tally.records, count: tally.count, rest: null};
    for (const item of found) {
      addFound(rows, compactedRevision, request, tally, item);
      const isFull =
        tally.count >= countMax ||
        tally.rowCount >= rowCountMax ||
        (tally.count > 0 && tally.sizeBytes >= sizeBytesMax);
      if (isFull) {
        rest = restAfter(rest, item.key, request);
        return {records: tally.records, count: tally.count, rest: isEmpty(rest) ? null : rest};
      }
    }
    rest = restAfter(rest, must(found.at(-1), 'a scan found something').key, request);
  }
  return {records: tally.records, count: tally.count, rest: null};
}

/** At most a scan's worth of rows, and no more than what the slice can still take. */
function scanSome(
  rows: RowReader,
  range: KeyRange,
  request: RangeSliceRequest,
  tally: Tally,
): readonly Found[] {
  let rowCountLeft = Math.min(scanRowCountMax, request.rowCountMax - tally.rowCount);
  let liveCountLeft = request.countMax - tally.count;
  let sizeBytesLeft = request.sizeBytesMax - tally.sizeBytes;
  const {isReverse, keysOnly, countOnly} = request;
  const found: Found[] = [];
  const rowRange = {start: latestBound(range.start), end: latestBound(range.end), isReverse};
  rows.scan(rowRange, (rowKeyView, valueView) => {
    const row = decodeRecordRow(valueView);
    const key = new Uint8Array(rowKeyView.subarray(1));
    const rowCount = 1 + Math.floor(valueView.length / sizeBytesPerRow);
    rowCountLeft -= rowCount;
    if (row.modRevision > request.revision) {
      found.push({key, record: null, newest: newestEvent(row), rowCount});
    } else if (row.isTombstone) {
      found.push({key, record: null, newest: null, rowCount});
    } else {
      const record = toKeyRecord(key, row, {keysOnly: keysOnly || countOnly});
      found.push({key, record, newest: null, rowCount});
      liveCountLeft--;
      sizeBytesLeft -= recordSizeBytes(record);
    }
    return rowCountLeft > 0 && liveCountLeft > 0 && sizeBytesLeft > 0;
  });
  return found;
}

function addFound(
  rows: RowReader,
  compactedRevision: number,
  request: RangeSliceRequest,
  tally: Tally,
  item: Found,
): void {
  tally.rowCount += item.rowCount;
  let record = item.record;
  if (record === null && item.newest !== null) {
    const keysOnly = request.keysOnly || request.countOnly;
    const at = {revision: request.revision, compactedRevision, keysOnly};
    const counted = {
      get: (rowKey: Uint8Array): Uint8Array | undefined => {
        tally.rowCount++;
        return rows.get(rowKey);
      },
    };
    record = recordAt(counted, item.key, item.newest, at);
  }
  if (record === null) return;
  tally.count++;
  if (request.countOnly) return;
  tally.sizeBytes += recordSizeBytes(record);
  tally.records.push(record);
}

function recordSizeBytes(record: KeyRecord): number {
  return record.key.length + record.value.length;
}

function restAfter(
  range: KeyRange,
  key: Uint8Array,
  options: {readonly isReverse: boolean},
): KeyRange {
  return options.isReverse
    ? {start: range.start, end: key}
    : {start: keySuccessor(key), end: range.end};
}

function isEmpty(range: KeyRange): boolean {
  return range.end !== null && compareBytes(range.start, range.end) >= 0;
}
