/**
 * When, in the log's time, which revision was the newest, and how many bytes of history had been
 * written by then: a sample a minute, or every 16 MiB. Written by apply, hence equal on all
 * replicas; the leader looks up here to which revision the history may be compacted.
 */
import {ByteReader, ByteWriter} from '../base/bytes.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import {tables, timeIndexKey, timeIndexSample} from './tables.ts';

const sampleIntervalMs = 60_000;
const sampleIntervalSizeBytes = 16 * 1024 * 1024;
const tableStart = Uint8Array.of(tables.timeIndex);
const tableEnd = Uint8Array.of(tables.timeIndex + 1);

export class TimeIndex {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;

  constructor(rows: RowStore, meta: StateMeta) {
    this.#rows = rows;
    this.#meta = meta;
  }

  /** After a command that took a revision. */
  maybeSample(nowMs: number): void {
    const meta = this.#meta;
    const isDue =
      nowMs - meta.sampleMs >= sampleIntervalMs ||
      meta.historySizeBytes - meta.sampleHistorySizeBytes >= sampleIntervalSizeBytes;
    if (!isDue) return;
    meta.sampleMs = nowMs;
    meta.sampleRevision = meta.revision;
    meta.sampleHistorySizeBytes = meta.historySizeBytes;
    const writer = new ByteWriter(16);
    writer.u64(meta.historySizeBytes);
    this.#rows.put(timeIndexKey(nowMs, meta.revision), writer.contentView());
  }

  /** The revision to compact to so that history fits `retention`; 0: it does. */
  compactionTarget(retention: {
    readonly nowMs: number;
    readonly ageMs: number;
    readonly sizeBytesMax: number;
  }): number {
    const byAge = this.#newestAt(retention.nowMs - retention.ageMs);
    const bySize = this.#oldestWithin(retention.sizeBytesMax);
    const target = Math.min(Math.max(byAge, bySize), this.#meta.revision - 1);
    return target > this.#meta.compactedRevision ? target : 0;
  }

  /**
   * Removes samples that compaction has passed, except the newest of those: it says how much
   * history there was at compactedRevision. Returns how many rows it looked at.
   */
  trim(rowCountMax: number): number {
    const passed: Uint8Array[] = [];
    const range = {start: tableStart, end: tableEnd, isReverse: false};
    this.#rows.scan(range, rowKeyView => {
      if (timeIndexSample(rowKeyView).revision > this.#meta.compactedRevision) return false;
      passed.push(new Uint8Array(rowKeyView));
      return passed.length < rowCountMax;
    });
    for (const rowKey of passed.slice(0, -1)) this.#rows.delete(rowKey);
    return passed.length;
  }

  #newestAt(ms: number): number {
    if (ms < 0) return 0;
    let revision = 0;
    const end = timeIndexKey(ms + 1, 0);
    this.#rows.scan({start: tableStart, end, isReverse: true}, rowKeyView => {
      revision = timeIndexSample(rowKeyView).revision;
      return false;
    });
    return revision;
  }

  /** The oldest sample since which no more than `sizeBytesMax` of history was written. */
  #oldestWithin(sizeBytesMax: number): number {
    const excess = this.#meta.historySizeBytes - sizeBytesMax;
    if (excess <= 0) return 0;
    let revision = 0;
    const range = {start: tableStart, end: tableEnd, isReverse: false};
    this.#rows.scan(range, (rowKeyView, valueView) => {
      if (new ByteReader(valueView).u64() < excess) return true;
      revision = timeIndexSample(rowKeyView).revision;
      return false;
    });
    return revision;
  }
}
