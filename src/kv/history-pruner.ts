/**
 * Removes events that compaction made unreachable, in the order of the history. Whoever keeps the
 * rows calls it where it holds up no reader.
 *
 * - The oldest go as a whole, so that pages become free as a whole: whatever later event of its key
 *   needs such an event lies more than limits.nearRevisionCount revisions behind, and carries it
 *   (kv/event-row.ts). Only those with large values stay, until they are replaced (kv/scrubber.ts).
 * - Of the newest each removes the event before it, and the newest of a key stays: a later one may
 *   ask for it. So it is with those that a version without before images wrote.
 * - A tombstone goes everywhere, and with it the latest row that still stands for it.
 */
import {compareBytes, copyBytes} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {decodeEventRow, isPlain} from './event-row.ts';
import {decodeRecordHead} from './record-row.ts';
import type {PruneRange, RowReader} from './rows.ts';
import {sizeBytesPerRow} from './steps.ts';
import {historyPointer, historyRow, latestKeyView} from './tables.ts';

/** Rows as pruning needs them. */
export interface PrunedRows extends RowReader {
  /** Deleting an absent row is allowed. */
  delete(rowKey: Uint8Array): void;
}

interface OldEvent {
  readonly rowKey: Uint8Array;
  readonly tombstoneKey: Uint8Array | null;
  /** The row key of the event before, if it goes with this one. */
  readonly previousKey: Uint8Array | null;
  readonly goes: boolean;
  /** What it counts for. */
  readonly rowCount: number;
}

const scanRowCountMax = 256;
/** What another row than the event's counts for when it goes too: it lies on another page. */
const scatteredRowCount = 8;

/**
 * What may be looked at behind a checkpoint of `recordCount` records: never less than what it adds
 * to the history can count for once it is old, or a load that goes on would outrun its removal.
 */
export function pruneRowCountBehind(recordCount: number): number {
  return Math.max(limits.pruneRowCountMax, (1 + scatteredRowCount) * recordCount);
}

/** Looks at no more than `rowCountMax` rows, or fewer large ones. Returns where to go on. */
export function pruneHistory(rows: PrunedRows, range: PruneRange, rowCountMax: number): Uint8Array {
  const {start, wholeEnd, tailStart, end} = range;
  const whole = prunePart(rows, {start, end: wholeEnd}, range, rowCountMax);
  if (whole.next !== null) return whole.next;
  return prunePart(rows, {start: tailStart, end}, range, whole.rowCountLeft).next ?? end;
}

interface Part {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

interface PrunedPart {
  /** Null: nothing is left. */
  readonly next: Uint8Array | null;
  readonly rowCountLeft: number;
}

function prunePart(
  rows: PrunedRows,
  part: Part,
  range: PruneRange,
  rowCountMax: number,
): PrunedPart {
  let {start} = part;
  let rowCountLeft = rowCountMax;
  for (;;) {
    if (compareBytes(start, part.end) >= 0) return {next: null, rowCountLeft};
    if (rowCountLeft <= 0) return {next: start, rowCountLeft};
    const events = nextEvents(rows, {start, end: part.end}, range, rowCountLeft);
    const last = events.at(-1);
    if (last === undefined) return {next: null, rowCountLeft};
    for (const event of events) {
      removeEvent(rows, event);
      rowCountLeft -= event.rowCount;
    }
    const {revision, sub} = historyPointer(last.rowKey);
    start = historyRow(revision, sub + 1);
  }
}

function nextEvents(
  rows: RowReader,
  part: Part,
  range: PruneRange,
  rowCountMax: number,
): readonly OldEvent[] {
  const events: OldEvent[] = [];
  const wholeStart = historyRow(range.imagesFromRevision, 0);
  let rowCountLeft = Math.min(rowCountMax, scanRowCountMax);
  rows.scan({...part, isReverse: false}, (rowKeyView, valueView) => {
    const rowKey = copyBytes(rowKeyView);
    const isWhole =
      compareBytes(rowKey, range.wholeEnd) < 0 && compareBytes(rowKey, wholeStart) >= 0;
    const event =
      isWhole && isPlain(valueView)
        ? {rowKey, tombstoneKey: null, previousKey: null, goes: true, rowCount: 1}
        : oldEvent(rowKey, valueView, isWhole);
    events.push(event);
    rowCountLeft -= event.rowCount;
    return rowCountLeft > 0;
  });
  return events;
}

function oldEvent(rowKey: Uint8Array, valueView: Uint8Array, isWhole: boolean): OldEvent {
  const event = decodeEventRow(valueView);
  const {isTombstone, isLarge, key, previousRevision, previousSub, replacesOlder} = event;
  const hasPrevious = previousRevision !== 0 && (replacesOlder || !isWhole);
  const isScattered = hasPrevious || isTombstone;
  const rowCount = 1 + Math.floor(valueView.length / sizeBytesPerRow);
  return {
    rowKey,
    tombstoneKey: isTombstone ? new Uint8Array(key) : null,
    previousKey: hasPrevious ? historyRow(previousRevision, previousSub) : null,
    goes: isTombstone || (isWhole && !isLarge),
    rowCount: rowCount + (isScattered ? scatteredRowCount : 0),
  };
}

function removeEvent(rows: PrunedRows, event: OldEvent): void {
  const {rowKey, tombstoneKey, previousKey} = event;
  if (event.goes) rows.delete(rowKey);
  if (previousKey !== null) rows.delete(previousKey);
  if (tombstoneKey === null) return;
  const bytes = rows.get(latestKeyView(tombstoneKey));
  if (bytes === undefined) return;
  const {modRevision, sub} = decodeRecordHead(bytes);
  const {revision, sub: eventSub} = historyPointer(rowKey);
  if (modRevision === revision && sub === eventSub) rows.delete(latestKeyView(tombstoneKey));
}
