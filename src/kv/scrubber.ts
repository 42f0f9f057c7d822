/**
 * Removes what compaction made unreachable, in slices: for every event up to compactedRevision its
 * previous event; a tombstone itself too, and the latest row if it still stands for it. What is
 * left of a key is its newest event at that revision, the floor, by which reads at
 * compactedRevision and later find it. Every step may be repeated. How far scrubbing has come
 * differs between replicas, and neither results nor the state hash depend on it.
 */
import {assert} from '../base/assert.ts';
import {decodeEventRow} from './event-row.ts';
import {decodeRecordRow} from './record-row.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import {sizeBytesPerRow} from './steps.ts';
import type {EventPointer} from './tables.ts';
import {historyKeyView, historyPointer, latestKeyView} from './tables.ts';
import type {TimeIndex} from './time-index.ts';

const scanRowCountMax = 256;

interface ScrubbedEvent {
  readonly at: EventPointer;
  readonly previous: EventPointer;
  /** Of a tombstone, else null. */
  readonly tombstoneKey: Uint8Array | null;
  /** What looking at it counts for. */
  readonly rowCount: number;
}

export class Scrubber {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #timeIndex: TimeIndex;

  constructor(parts: {
    readonly rows: RowStore;
    readonly meta: StateMeta;
    readonly timeIndex: TimeIndex;
  }) {
    this.#rows = parts.rows;
    this.#meta = parts.meta;
    this.#timeIndex = parts.timeIndex;
  }

  /** Looks at no more than `rowCountMax` rows, or fewer large ones; true when more remain. */
  scrub(rowCountMax: number): boolean {
    assert(rowCountMax > 1, 'a slice of % rows makes no progress', rowCountMax);
    const meta = this.#meta;
    if (meta.scrubRevision > meta.compactedRevision) return false;
    let rowCountLeft = rowCountMax - this.#timeIndex.trim(rowCountMax);
    while (rowCountLeft > 0) {
      const {events, isLast} = this.#nextEvents(Math.min(scanRowCountMax, rowCountLeft));
      for (const event of events) {
        // The rest is read again.
        if (rowCountLeft <= 0) return true;
        rowCountLeft -= event.rowCount + this.#scrubEvent(event);
        meta.scrubRevision = event.at.revision;
        meta.scrubSub = event.at.sub + 1;
      }
      if (isLast) {
        meta.scrubRevision = meta.compactedRevision + 1;
        meta.scrubSub = 0;
        return false;
      }
    }
    return true;
  }

  #nextEvents(rowCountMax: number): {
    readonly events: readonly ScrubbedEvent[];
    /** There are no more. */
    readonly isLast: boolean;
  } {
    const {scrubRevision, scrubSub, compactedRevision} = this.#meta;
    const events: ScrubbedEvent[] = [];
    let rowCountLeft = rowCountMax;
    const start = new Uint8Array(historyKeyView(scrubRevision, scrubSub));
    const end = new Uint8Array(historyKeyView(compactedRevision + 1, 0));
    this.#rows.scan({start, end, isReverse: false}, (rowKeyView, valueView) => {
      const event = decodeEventRow(valueView);
      const rowCount = 1 + Math.floor(valueView.length / sizeBytesPerRow);
      rowCountLeft -= rowCount;
      events.push({
        at: historyPointer(rowKeyView),
        previous: {revision: event.previousRevision, sub: event.previousSub},
        tombstoneKey: event.isTombstone ? new Uint8Array(event.key) : null,
        rowCount,
      });
      return rowCountLeft > 0;
    });
    return {events, isLast: rowCountLeft > 0};
  }

  /** What its key's latest row, when that is looked at too and is large, counts for beside it. */
  #scrubEvent(event: ScrubbedEvent): number {
    const {at, previous, tombstoneKey} = event;
    assert(at.revision <= this.#meta.compactedRevision, 'event % is readable', at.revision);
    if (previous.revision !== 0) this.#rows.delete(historyKeyView(previous.revision, previous.sub));
    if (tombstoneKey === null) return 0;
    const bytes = this.#rows.get(latestKeyView(tombstoneKey));
    const rowCount = Math.floor((bytes?.length ?? 0) / sizeBytesPerRow);
    const latest = bytes === undefined ? null : decodeRecordRow(bytes);
    const isLatest = latest?.modRevision === at.revision && latest.sub === at.sub;
    if (isLatest) this.#rows.delete(latestKeyView(tombstoneKey));
    this.#rows.delete(historyKeyView(at.revision, at.sub));
    return rowCount;
  }
}
