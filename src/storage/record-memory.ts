/**
 * Memory for packed records. What a dropped overlay had is written again by a later one: shared
 * memory is freed only when both threads have collected their objects for it, and the checkpoint's
 * thread, which makes little garbage, hardly ever collects. Left to that, a node grew by all that
 * it had ever written, 40 MB per 100,000 keys.
 */

/** Address space is reserved for all of it, memory is taken as it grows, and nothing is copied. */
export interface GrowableBuffer extends SharedArrayBuffer {
  readonly maxByteLength: number;
  grow(sizeBytes: number): void;
}

const slabSizeBytes = 1024 * 1024;
/** A store at rest takes no more. */
const firstSlabSizeBytes = 64 * 1024;
/** More than two overlays of the usual size have. */
const keptSlabCountMax = 24;
const keptFieldsCountMax = 2;

export class RecordMemory {
  readonly #slabs: SharedArrayBuffer[] = [];
  readonly #fields: GrowableBuffer[] = [];

  /** Of at least `sizeBytes`, with whatever content. */
  takeSlab(sizeBytes: number, place: {readonly isFirst: boolean}): SharedArrayBuffer {
    if (sizeBytes <= slabSizeBytes) {
      const kept = this.#slabs.pop();
      if (kept !== undefined) return kept;
    }
    const standardSize = place.isFirst ? firstSlabSizeBytes : slabSizeBytes;
    return new SharedArrayBuffer(Math.max(sizeBytes, standardSize));
  }

  /** With whatever content; a new one has `sizeBytes`. */
  takeFields(sizeBytes: number, sizeBytesMax: number): GrowableBuffer {
    return this.#fields.pop() ?? growableBuffer(sizeBytes, sizeBytesMax);
  }

  /** Nobody reads or writes it any more, in no thread. */
  giveBack(slabs: readonly SharedArrayBuffer[], fields: GrowableBuffer): void {
    for (const slab of slabs) {
      if (slab.byteLength !== slabSizeBytes || this.#slabs.length >= keptSlabCountMax) continue;
      this.#slabs.push(slab);
    }
    if (this.#fields.length < keptFieldsCountMax) this.#fields.push(fields);
  }
}

export function growableBuffer(sizeBytes: number, maxByteLength: number): GrowableBuffer {
  // The second argument is younger than the language version this is compiled for.
  return Reflect.construct(SharedArrayBuffer, [sizeBytes, {maxByteLength}]) as GrowableBuffer;
}
