/**
 * When, in the log's time, which revision was the newest, and how many bytes of history had been
 * written by then: a sample a minute, or every 256 KiB, so that under load history goes in small
 * pieces and each checkpoint has its share of them to remove. The leader looks up here to which
 * revision the history may be compacted. Written by apply; members of different versions may take
 * their samples at different revisions, on which no result and no hash depends.
 */
import {ByteReader, ByteWriter} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import {tables, timeIndexKey, timeIndexSample} from './tables.ts';

const sampleIntervalMs = 60_000;
/** What one look goes over at most, and so what one compaction removes: 64 MiB under load. */
const lookSampleCountMax = 256;
const tableStart = Uint8Array.of(tables.timeIndex);
const tableEnd = Uint8Array.of(tables.timeIndex + 1);

export class TimeIndex {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  /** No sample lies before it: a scan from the first row would walk over all that were removed. */
  #start: Uint8Array = tableStart;

  constructor(rows: RowStore, meta: StateMeta) {
    this.#rows = rows;
    this.#meta = meta;
  }

  /** The rows were replaced. */
  reload(): void {
    this.#start = tableStart;
  }

  /** After a command that took a revision. */
  maybeSample(nowMs: number): void {
    const meta = this.#meta;
    const isDue =
      nowMs - meta.sampleMs >= sampleIntervalMs ||
      meta.historySizeBytes - meta.sampleHistorySizeBytes >= limits.historySampleSizeBytes;
    if (!isDue) return;
    meta.sampleMs = nowMs;
    meta.sampleRevision = meta.revision;
    meta.sampleHistorySizeBytes = meta.historySizeBytes;
    const writer = new ByteWriter(16);
    writer.u64(meta.historySizeBytes);
    this.#rows.put(timeIndexKey(nowMs, meta.revision), writer.contentView());
  }

  /**
   * The revision to compact to so that history fits `retention`, or comes a piece closer to it; 0:
   * it fits. To a limit below the size of a sample it fits as far as the newest sample says.
   */
  compactionTarget(retention: {
    readonly nowMs: number;
    readonly ageMs: number;
    readonly sizeBytesMax: number;
  }): number {
    const meta = this.#meta;
    const oldMs = retention.nowMs - retention.ageMs;
    const excess = meta.historySizeBytes - retention.sizeBytesMax;
    let isTooMuch = excess > 0;
    let revision = 0;
    let sampleCount = 0;
    const range = {start: this.#start, end: tableEnd, isReverse: false};
    this.#rows.scan(range, (rowKeyView, valueView) => {
      const sample = timeIndexSample(rowKeyView);
      if (!isTooMuch && sample.ms > oldMs) return false;
      revision = sample.revision;
      isTooMuch = new ByteReader(valueView).u64() < excess;
      return ++sampleCount < lookSampleCountMax;
    });
    const target = Math.min(revision, meta.revision - 1);
    return target > meta.compactedRevision ? target : 0;
  }

  /**
   * Removes samples that compaction has passed, except the newest of those: it says how much
   * history there was at compactedRevision. Returns how many rows it looked at.
   */
  trim(rowCountMax: number): number {
    const passed: Uint8Array[] = [];
    const range = {start: this.#start, end: tableEnd, isReverse: false};
    this.#rows.scan(range, rowKeyView => {
      if (timeIndexSample(rowKeyView).revision > this.#meta.compactedRevision) return false;
      passed.push(new Uint8Array(rowKeyView));
      return passed.length < rowCountMax;
    });
    for (const rowKey of passed.slice(0, -1)) this.#rows.delete(rowKey);
    this.#start = passed.at(-1) ?? this.#start;
    return passed.length;
  }
}
