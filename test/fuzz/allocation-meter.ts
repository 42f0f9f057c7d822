/**
 * Counts the bytes of the buffers that a property makes, so that a length that is only announced
 * cannot make a parser take memory for it. Buffers are made through `Buffer` everywhere in the
 * sources; what is made of arrays and strings is bounded by the time a case may take.
 */

type Allocator = (size: number, ...rest: never[]) => Buffer;
type AllocatorName = 'alloc' | 'allocUnsafe' | 'allocUnsafeSlow';

const names: readonly AllocatorName[] = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'];

export class AllocationMeter {
  #sizeBytes = 0;
  readonly #originals = new Map<AllocatorName, Allocator>();

  /** Bytes since the last `reset`. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  reset(): void {
    this.#sizeBytes = 0;
  }

  start(): void {
    for (const name of names) {
      const original = Reflect.get(Buffer, name) as Allocator;
      this.#originals.set(name, original);
      this.#replace(name, (size, ...rest) => {
        this.#sizeBytes += size;
        return original(size, ...rest);
      });
    }
  }

  stop(): void {
    for (const [name, original] of this.#originals) this.#replace(name, original);
    this.#originals.clear();
  }

  #replace(name: AllocatorName, allocator: Allocator): void {
    Object.defineProperty(Buffer, name, {value: allocator, writable: true, configurable: true});
  }
}
