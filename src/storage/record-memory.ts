/**
 * Memory for packed records. What a dropped overlay had is written again by a later one: shared
 * memory is freed only when both threads have collected their objects for it, and the checkpoint's
 * thread, which makes little garbage, hardly ever collects. Left to that, a node grew by all that
 * it had ever written, 40 MB per 100,000 keys.
 */
import {limits} from '../base/limits.ts';

/** Address space is reserved for all of it, memory is taken as it grows, and nothing is copied. */
export interface GrowableBuffer extends SharedArrayBuffer {
  readonly maxByteLength: number;
  grow(sizeBytes: number): void;
}

const kib = 1024;
/** A store at rest takes no more. */
const firstSlabSizeBytes = 64 * kib;
const slabSizeBytes = 1024 * kib;
/** Of one row with the largest value there may be, and room for it to grow. */
const largeSlabSizeBytes = 2048 * kib;
const slabSizes = [firstSlabSizeBytes, slabSizeBytes, largeSlabSizeBytes];
const keptFieldsCountMax = 2;
/** As much is kept as the largest of so many overlays before had: the next will not need more. */
const rememberedCountMax = 16;

export class RecordMemory {
  /** By size. */
  readonly #slabs = new Map<number, SharedArrayBuffer[]>(slabSizes.map(size => [size, []]));
  #keptSizeBytes = 0;
  /** Of the last overlays, the newest last. */
  readonly #sizesBytes: number[] = [];
  readonly #fields: GrowableBuffer[] = [];

  /** Of at least `sizeBytes`, with whatever content. */
  takeSlab(sizeBytes: number, place: {readonly isFirst: boolean}): SharedArrayBuffer {
    const sizeMin = place.isFirst ? sizeBytes : Math.max(sizeBytes, slabSizeBytes);
    const size = slabSizes.find(each => each >= sizeMin) ?? sizeBytes;
    const kept = this.#slabs.get(size)?.pop();
    if (kept === undefined) return new SharedArrayBuffer(size);
    this.#keptSizeBytes -= size;
    return kept;
  }

  /** With whatever content; a new one has `sizeBytes`. */
  takeFields(sizeBytes: number, sizeBytesMax: number): GrowableBuffer {
    return this.#fields.pop() ?? growableBuffer(sizeBytes, sizeBytesMax);
  }

  /** Of one overlay: nobody reads or writes it any more, in no thread. */
  giveBack(slabs: readonly SharedArrayBuffer[], fields: GrowableBuffer): void {
    this.#sizesBytes.push(slabs.reduce((sum, slab) => sum + slab.byteLength, 0));
    if (this.#sizesBytes.length > rememberedCountMax) this.#sizesBytes.shift();
    const keptSizeBytesMax = Math.min(limits.overlaySizeBytesMax, Math.max(...this.#sizesBytes));
    for (const slab of slabs) {
      const size = slab.byteLength;
      const ofThisSize = this.#slabs.get(size);
      this.#dropUntil(keptSizeBytesMax - size, size);
      if (ofThisSize === undefined || this.#keptSizeBytes + size > keptSizeBytesMax) continue;
      ofThisSize.push(slab);
      this.#keptSizeBytes += size;
    }
    this.#dropUntil(keptSizeBytesMax, null);
    if (this.#fields.length < keptFieldsCountMax) this.#fields.push(fields);
  }

  /** Until no more is kept, if that can be had without slabs of `spared`, the size now written. */
  #dropUntil(keptSizeBytesMax: number, spared: number | null): void {
    for (const [size, slabs] of this.#slabs) {
      if (size === spared) continue;
      while (this.#keptSizeBytes > keptSizeBytesMax && slabs.length > 0) {
        slabs.pop();
        this.#keptSizeBytes -= size;
      }
    }
  }
}

export function growableBuffer(sizeBytes: number, maxByteLength: number): GrowableBuffer {
  // The second argument is younger than the language version this is compiled for.
  return Reflect.construct(SharedArrayBuffer, [sizeBytes, {maxByteLength}]) as GrowableBuffer;
}
