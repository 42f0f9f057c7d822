/** Rows in memory that count what is done with them at one stretch. */
import {ok} from 'node:assert/strict';
import type {PruneRange} from '../../src/kv/rows.ts';
import {FakeRows} from './fake-rows.ts';

export class CountedRows extends FakeRows {
  #readCount = 0;
  #readSizeBytes = 0;
  #writeCount = 0;

  constructor() {
    super({isStrict: false});
  }

  override get(rowKey: Uint8Array): Uint8Array | undefined {
    const value = super.get(rowKey);
    this.#readCount++;
    this.#readSizeBytes += value?.length ?? 0;
    return value;
  }

  override scan(...[rowRange, visit]: Parameters<FakeRows['scan']>): void {
    super.scan(rowRange, (rowKeyView, valueView) => {
      this.#readCount++;
      this.#readSizeBytes += valueView.length;
      return visit(rowKeyView, valueView);
    });
  }

  override put(rowKey: Uint8Array, value: Uint8Array): void {
    this.#writeCount++;
    super.put(rowKey, value);
  }

  /** Whoever keeps rows prunes them in its own time. */
  override prune(range: PruneRange): void {
    const counts = [this.#readCount, this.#readSizeBytes] as const;
    super.prune(range);
    [this.#readCount, this.#readSizeBytes] = counts;
  }

  /** A stretch begins. */
  reset(): void {
    this.#readCount = 0;
    this.#readSizeBytes = 0;
    this.#writeCount = 0;
  }

  /** It ends, and another begins. */
  check(): void {
    ok(this.#readCount <= 400, `${this.#readCount} rows read in a step`);
    ok(this.#readSizeBytes <= 2.5 * 2 ** 20, `${this.#readSizeBytes} bytes read in a step`);
    ok(this.#writeCount <= 128, `${this.#writeCount} rows written in a step`);
    this.reset();
  }
}
