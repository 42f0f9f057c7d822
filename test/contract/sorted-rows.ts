/**
 * Rows of a checkpoint in memory: never changed, in the order of their keys. Latin-1 strings stand
 * for keys, since their order is byte order.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../../src/base/assert.ts';

/** Null: the row is deleted. */
export type RowChange = readonly [key: string, value: Uint8Array | null];

export class SortedRows {
  static readonly none = new SortedRows([], [], 0);
  readonly keys: readonly string[];
  readonly values: readonly Uint8Array[];
  /** Of keys and values. */
  readonly sizeBytes: number;

  private constructor(keys: readonly string[], values: readonly Uint8Array[], sizeBytes: number) {
    this.keys = keys;
    this.values = values;
    this.sizeBytes = sizeBytes;
  }

  get(key: string): Uint8Array | undefined {
    const place = this.placeOf(key);
    return this.keys[place] === key ? this.values[place] : undefined;
  }

  /** Of the first row that is not before `key`. */
  placeOf(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** `changes` are sorted by key, each key once. */
  with(changes: readonly RowChange[]): SortedRows {
    const keys: string[] = [];
    const values: Uint8Array[] = [];
    let {sizeBytes} = this;
    let place = 0;
    const keepUntil = (end: number): void => {
      for (; place < end; place++) {
        keys.push(this.keys[place] as string);
        values.push(this.values[place] as Uint8Array);
      }
    };
    let last: string | null = null;
    for (const [key, value] of changes) {
      assert(last === null || last < key, 'changes are not in the order of their keys');
      last = key;
      keepUntil(this.placeOf(key));
      if (this.keys[place] === key) {
        sizeBytes -= key.length + (this.values[place] as Uint8Array).length;
        place++;
      }
      if (value === null) continue;
      keys.push(key);
      values.push(value);
      sizeBytes += key.length + value.length;
    }
    keepUntil(this.keys.length);
    return new SortedRows(keys, values, sizeBytes);
  }
}

export function keyText(rowKey: Uint8Array): string {
  return Buffer.from(rowKey.buffer, rowKey.byteOffset, rowKey.byteLength).toString('latin1');
}
