/**
 * Sees to it that row keys come in ascending order, and keeps the last one. Neighbours begin alike:
 * what they share is looked at and not copied, and no object is made for a key.
 */
import {Buffer} from 'node:buffer';

const capacityMin = 256;

export class AscendingKeys {
  #last = Buffer.allocUnsafeSlow(capacityMin);
  #lastSize = 0;
  #isEmpty = true;

  /**
   * The key from `start` up to `end` of `bytes` becomes the last one. False, and nothing changes,
   * when it is not above the last one.
   */
  take(bytes: Uint8Array, start: number, end: number): boolean {
    const last = this.#last;
    const lastSize = this.#lastSize;
    const size = end - start;
    const commonMax = Math.min(size, lastSize);
    let at = 0;
    while (at < commonMax && last[at] === bytes[start + at]) at += 1;
    const isAbove =
      at < commonMax ? (last[at] as number) < (bytes[start + at] as number) : size > lastSize;
    if (!isAbove && !this.#isEmpty) return false;
    const kept = size > last.length ? this.#grow(size) : last;
    for (; at < size; at++) kept[at] = bytes[start + at] as number;
    this.#lastSize = size;
    this.#isEmpty = false;
    return true;
  }

  /** A copy; null: there was none. */
  last(): Uint8Array | null {
    return this.#isEmpty ? null : Uint8Array.from(this.#last.subarray(0, this.#lastSize));
  }

  #grow(size: number): Buffer {
    const grown = Buffer.allocUnsafeSlow(size * 2);
    grown.set(this.#last);
    this.#last = grown;
    return grown;
  }
}
