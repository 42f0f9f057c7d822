/**
 * Removes what compaction made unreachable. Most of it is pruned by whoever keeps the rows, in its
 * own time (kv/history-pruner.ts). Large values are removed here, in slices: pruning leaves them
 * out, and one that was replaced takes too much to wait for it.
 *
 * Every step may be repeated. How far it has come differs between replicas, and neither results nor
 * the state hash depend on it.
 */
import {assert} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import {
  historyKeyView,
  historyPointer,
  historyRow,
  readPointerValue,
  replacedLargeKey,
} from './tables.ts';
import type {EventPointer} from './tables.ts';
import type {TimeIndex} from './time-index.ts';

const scanRowCountMax = 256;

interface ReplacedEvent {
  readonly event: EventPointer;
  readonly by: EventPointer;
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

  /** Looks at no more than `rowCountMax` rows; true when more remain. */
  scrub(rowCountMax: number): boolean {
    assert(rowCountMax > 1, 'a slice of % rows makes no progress', rowCountMax);
    const {scrubbed, compactedRevision} = this.#meta;
    if (scrubbed.revision > compactedRevision) {
      // After a start: what was to go then may not have gone.
      this.#prune();
      return false;
    }
    let rowCountLeft = rowCountMax - this.#timeIndex.trim(rowCountMax);
    while (rowCountLeft > 0) {
      const countMax = Math.min(rowCountLeft, scanRowCountMax);
      const replaced = this.#nextReplaced(countMax);
      for (const each of replaced) this.#remove(each);
      rowCountLeft -= replaced.length;
      if (replaced.length < countMax) {
        scrubbed.revision = compactedRevision + 1;
        scrubbed.sub = 0;
        this.#prune();
        return false;
      }
    }
    return true;
  }

  /** Right before the meta is saved. */
  notePruned(): void {
    const rowKey = this.#rows.prunedTo();
    if (rowKey === null) return;
    const {pruned} = this.#meta;
    const {revision, sub} = historyPointer(rowKey);
    const isBehind =
      revision < pruned.revision || (revision === pruned.revision && sub < pruned.sub);
    if (!isBehind) Object.assign(pruned, {revision, sub});
  }

  #nextReplaced(countMax: number): readonly ReplacedEvent[] {
    const {scrubbed, compactedRevision} = this.#meta;
    const replaced: ReplacedEvent[] = [];
    const start = replacedLargeKey(scrubbed.revision, scrubbed.sub);
    const end = replacedLargeKey(compactedRevision + 1, 0);
    this.#rows.scan({start, end, isReverse: false}, (rowKeyView, valueView) => {
      replaced.push({by: historyPointer(rowKeyView), event: readPointerValue(valueView)});
      return replaced.length < countMax;
    });
    return replaced;
  }

  #remove({event, by}: ReplacedEvent): void {
    const {scrubbed, compactedRevision} = this.#meta;
    assert(by.revision <= compactedRevision, 'event % is readable', by.revision);
    this.#rows.delete(historyKeyView(event.revision, event.sub));
    this.#rows.delete(replacedLargeKey(by.revision, by.sub));
    scrubbed.revision = by.revision;
    scrubbed.sub = by.sub + 1;
  }

  #prune(): void {
    this.notePruned();
    const {pruned, compactedRevision, imagesFromRevision} = this.#meta;
    if (compactedRevision === 0) return;
    const wholeEndRevision = compactedRevision + 1 - limits.nearRevisionCount;
    const wholeEnd = historyRow(Math.max(wholeEndRevision, pruned.revision), 0);
    this.#rows.prune({
      start: historyRow(pruned.revision, pruned.sub),
      wholeEnd,
      tailStart: wholeEnd,
      end: historyRow(compactedRevision + 1, 0),
      imagesFromRevision,
    });
  }
}
