/**
 * A RowStore in memory that is strict about the contract: every view it handed out is overwritten
 * by the next call, and a write during a scan is an assertion. `isStrict: false` is for benches.
 */
import {assert, must} from '../../src/base/assert.ts';
import {asBuffer} from '../../src/base/bytes.ts';
import {compareBytes} from '../../src/base/bytes.ts';
import {pruneHistory} from '../../src/kv/history-pruner.ts';
import type {PruneRange, RowRange, RowStore} from '../../src/kv/rows.ts';

export class FakeRows implements RowStore {
  readonly #rows = new Map<string, Uint8Array>();
  readonly #isStrict: boolean;
  /** Row keys in order as latin1 text, null when a row came or went since. */
  #order: string[] | null = null;
  #views: Uint8Array[] = [];
  #isScanning = false;
  #prunedTo: Uint8Array | null = null;

  constructor(options: {readonly isStrict: boolean} = {isStrict: true}) {
    this.#isStrict = options.isStrict;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(rowKey: Uint8Array): Uint8Array | undefined {
    checkRowKey(rowKey);
    this.#spoilViews();
    const value = this.#rows.get(text(rowKey));
    return value === undefined ? undefined : this.#view(value);
  }

  scan(range: RowRange, visit: (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean): void {
    this.#spoilViews();
    const order = this.#sorted();
    const from = lowerBound(order, text(range.start));
    const to = lowerBound(order, text(range.end));
    this.#isScanning = true;
    try {
      for (let i = 0; i < to - from; i++) {
        const rowKey = must(order[range.isReverse ? to - 1 - i : from + i], 'within the bounds');
        const value = must(this.#rows.get(rowKey), 'a row of the order exists');
        const goesOn = visit(this.#view(Buffer.from(rowKey, 'latin1')), this.#view(value));
        this.#spoilViews();
        if (!goesOn) return;
      }
    } finally {
      this.#isScanning = false;
    }
  }

  put(rowKey: Uint8Array, value: Uint8Array): void {
    checkRowKey(rowKey);
    assert(!this.#isScanning, 'a scan must not write');
    const key = text(rowKey);
    const copy = new Uint8Array(value);
    this.#spoilViews();
    if (!this.#rows.has(key)) this.#order = null;
    this.#rows.set(key, copy);
  }

  delete(rowKey: Uint8Array): void {
    checkRowKey(rowKey);
    assert(!this.#isScanning, 'a scan must not write');
    const key = text(rowKey);
    this.#spoilViews();
    if (this.#rows.delete(key)) this.#order = null;
  }

  /** At once. */
  prune(range: PruneRange): void {
    pruneHistory(this, range, Infinity);
    const {wholeEnd, end} = range;
    this.#prunedTo = compareBytes(wholeEnd, end) < 0 ? wholeEnd : end;
  }

  prunedTo(): Uint8Array | null {
    return this.#prunedTo;
  }

  isReadyToScan(): boolean {
    return true;
  }

  prepareScans(): void {
    // Always ready.
  }

  #sorted(): readonly string[] {
    this.#order ??= [...this.#rows.keys()].sort();
    return this.#order;
  }

  #view(bytes: Uint8Array): Uint8Array {
    if (!this.#isStrict) return bytes;
    const view = new Uint8Array(bytes);
    this.#views.push(view);
    return view;
  }

  #spoilViews(): void {
    for (const view of this.#views) view.fill(0xdd);
    this.#views = [];
  }
}

function checkRowKey(rowKey: Uint8Array): void {
  assert(rowKey.length >= 1 && rowKey.length <= 1100, 'a row key of % bytes', rowKey.length);
}

/** Latin1 text sorts as its bytes do. */
function text(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('latin1');
}

function lowerBound(order: readonly string[], rowKey: string): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (must(order[middle], 'within the bounds') < rowKey) low = middle + 1;
    else high = middle;
  }
  return low;
}
