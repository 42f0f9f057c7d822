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

export class RecordMemory {
  /** By size. */
  readonly #slabs = new Map<number, SharedArrayBuffer[]>(slabSizes.map(size => [size, []]));
  #keptSizeBytes = 0;
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

  /** Nobody reads or writes it any more, in no thread. Keeps what overlays may have at most. */
  giveBack(slabs: readonly SharedArrayBuffer[], fields: GrowableBuffer): void {
    for (const slab of slabs) {
      const size = slab.byteLength;
      const ofThisSize = this.#slabs.get(size);
      if (ofThisSize === undefined || !this.#makeRoomFor(size)) continue;
      ofThisSize.push(slab);
      this.#keptSizeBytes += size;
    }
    if (this.#fields.length < keptFieldsCountMax) this.#fields.push(fields);
  }

  /** Other sizes make room: what is written now has this one. */
  #makeRoomFor(size: number): boolean {
    for (const [otherSize, slabs] of this.#slabs) {
      if (otherSize === size) continue;
      while (this.#keptSizeBytes + size > limits.overlaySizeBytesMax && slabs.length > 0) {
        slabs.pop();
        this.#keptSizeBytes -= otherSize;
      }
    }
    return this.#keptSizeBytes + size <= limits.overlaySizeBytesMax;
  }
}

export function growableBuffer(sizeBytes: number, maxByteLength: number): GrowableBuffer {
  // The second argument is younger than the language version this is compiled for.
  return Reflect.construct(SharedArrayBuffer, [sizeBytes, {maxByteLength}]) as GrowableBuffer;
}
