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
import {decodeEventRow, isPlain} from './event-row.ts';
import {decodeRecordHead} from './record-row.ts';
import type {PruneRange, RowReader} from './rows.ts';
import {historyKeyView, historyPointer, latestKeyView} from './tables.ts';

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
}

const scanRowCountMax = 256;

/** Looks at no more than `rowCountMax` rows. Returns the row key from which to go on. */
export function pruneHistory(rows: PrunedRows, range: PruneRange, rowCountMax: number): Uint8Array {
  let {start} = range;
  for (let left = rowCountMax; left > 0;) {
    const events = nextEvents(rows, {...range, start}, Math.min(left, scanRowCountMax));
    for (const event of events) removeEvent(rows, event);
    const last = events.at(-1);
    if (last === undefined) return range.end;
    const {revision, sub} = historyPointer(last.rowKey);
    start = new Uint8Array(historyKeyView(revision, sub + 1));
    left -= events.length;
  }
  return start;
}

function nextEvents(rows: RowReader, range: PruneRange, countMax: number): readonly OldEvent[] {
  const events: OldEvent[] = [];
  const wholeStart = new Uint8Array(historyKeyView(range.imagesFromRevision, 0));
  rows.scan({...range, isReverse: false}, (rowKeyView, valueView) => {
    const rowKey = copyBytes(rowKeyView);
    const isWhole =
      compareBytes(rowKey, range.wholeEnd) < 0 && compareBytes(rowKey, wholeStart) >= 0;
    events.push(
      isWhole && isPlain(valueView)
        ? {rowKey, tombstoneKey: null, previousKey: null, goes: true}
        : oldEvent(rowKey, valueView, isWhole),
    );
    return events.length < countMax;
  });
  return events;
}

function oldEvent(rowKey: Uint8Array, valueView: Uint8Array, isWhole: boolean): OldEvent {
  const event = decodeEventRow(valueView);
  const {isTombstone, isLarge, key, previousRevision, previousSub, replacesOlder} = event;
  const hasPrevious = previousRevision !== 0 && (replacesOlder || !isWhole);
  return {
    rowKey,
    tombstoneKey: isTombstone ? new Uint8Array(key) : null,
    previousKey: hasPrevious ? new Uint8Array(historyKeyView(previousRevision, previousSub)) : null,
    goes: isTombstone || (isWhole && !isLarge),
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
