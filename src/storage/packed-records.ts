/**
 * Rows packed into slabs, with six 32-bit fields a record instead of an object. All memory is
 * shared, so that another thread reads the same records without a copy; whoever shares them must
 * not write any more. Records are numbered from 0 in the order of their first appearance and never
 * move, except that a value that outgrows its place gets a new one.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {growableBuffer, RecordMemory, type GrowableBuffer} from './record-memory.ts';

/** What another thread needs to read the records. */
export interface SharedRecords {
  readonly recordCount: number;
  readonly slabs: readonly SharedArrayBuffer[];
  /** May be longer than what the records take. */
  readonly fields: SharedArrayBuffer;
}

const fieldCount = 6;
const slabField = 0;
const offsetField = 1;
const keySizeField = 2;
/** Value size plus one; 0 marks a deleted row. */
const valueField = 3;
const capacityField = 4;
const hashField = 5;

/** A power of two times the first, and the largest that grows in its place: 48 MiB of fields. */
const firstCapacity = 256;
const reservedCapacity = 2 ** 21;
/** Beyond so many equal bytes the call out of JavaScript is the faster way to compare. */
const comparedByteCountMax = 32;

export class PackedRecords {
  readonly #slabs: Uint8Array[] = [];
  /** The same memory, for comparing. */
  readonly #slabBuffers: Buffer[] = [];
  readonly #memory: RecordMemory;
  #fields: Uint32Array;
  #recordCount = 0;
  /** Free bytes begin here in the last slab. */
  #slabOffset = 0;
  #slabTotalBytes = 0;

  private constructor(fields: Uint32Array, memory: RecordMemory) {
    this.#fields = fields;
    this.#memory = memory;
  }

  static empty(memory: RecordMemory = new RecordMemory()): PackedRecords {
    const buffer = memory.takeFields(
      fieldsSizeBytes(firstCapacity),
      fieldsSizeBytes(reservedCapacity),
    );
    return new PackedRecords(fieldsIn(buffer), memory);
  }

  /** The records of another thread, to be read only. */
  static fromShared(shared: SharedRecords): PackedRecords {
    const records = new PackedRecords(fieldsIn(shared.fields), new RecordMemory());
    for (const slab of shared.slabs) records.#addSlab(slab);
    records.#recordCount = shared.recordCount;
    return records;
  }

  share(): SharedRecords {
    const slabs = this.#slabs.map(slab => slab.buffer as SharedArrayBuffer);
    return {
      recordCount: this.#recordCount,
      slabs,
      fields: this.#fields.buffer as SharedArrayBuffer,
    };
  }

  /** Nobody looks at the records any more, in no thread: others may have their memory. */
  release(): void {
    const {slabs, fields} = this.share();
    this.#recordCount = 0;
    this.#slabs.length = 0;
    this.#slabBuffers.length = 0;
    this.#memory.giveBack(slabs, fields as GrowableBuffer);
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  /** Memory in use: places given up by grown values included, and what is left of full slabs. */
  sizeBytes(): number {
    const fieldBytes = this.#recordCount * fieldCount * Uint32Array.BYTES_PER_ELEMENT;
    return this.#slabTotalBytes + this.#slabOffset + fieldBytes;
  }

  hash(id: number): number {
    return this.#field(id, hashField);
  }

  keySizeBytes(id: number): number {
    return this.#field(id, keySizeField);
  }

  isDeleted(id: number): boolean {
    return this.#field(id, valueField) === 0;
  }

  keyView(id: number): Uint8Array {
    const offset = this.#field(id, offsetField);
    return this.#slab(id).subarray(offset, offset + this.#field(id, keySizeField));
  }

  valueView(id: number): Uint8Array {
    const size = this.#field(id, valueField) - 1;
    assert(size >= 0, 'record % is deleted', id);
    const offset = this.#field(id, offsetField) + this.#field(id, keySizeField);
    return this.#slab(id).subarray(offset, offset + size);
  }

  hasKey(id: number, key: Uint8Array): boolean {
    if (this.#field(id, keySizeField) !== key.length) return false;
    const slab = this.#slab(id);
    const offset = this.#field(id, offsetField);
    for (let i = key.length - 1; i >= 0; i--) if (slab[offset + i] !== key[i]) return false;
    return true;
  }

  /** Byte order of two records' keys. The heart of sorting, hence without a call per field. */
  compare(a: number, b: number): number {
    const fields = this.#fields;
    const atA = a * fieldCount;
    const atB = b * fieldCount;
    const slabA = this.#slabs[fields[atA + slabField] as number] as Uint8Array;
    const slabB = this.#slabs[fields[atB + slabField] as number] as Uint8Array;
    const sizeA = fields[atA + keySizeField] as number;
    const sizeB = fields[atB + keySizeField] as number;
    let offsetA = fields[atA + offsetField] as number;
    let offsetB = fields[atB + offsetField] as number;
    const endA = offsetA + sizeA;
    const endB = offsetB + sizeB;
    const size = sizeA < sizeB ? sizeA : sizeB;
    const end = offsetA + (size < comparedByteCountMax ? size : comparedByteCountMax);
    while (offsetA < end) {
      const difference = (slabA[offsetA++] as number) - (slabB[offsetB++] as number);
      if (difference !== 0) return difference;
    }
    if (size <= comparedByteCountMax) return sizeA - sizeB;
    const bufferA = this.#slabBuffers[fields[atA + slabField] as number] as Buffer;
    const bufferB = this.#slabBuffers[fields[atB + slabField] as number] as Buffer;
    return bufferA.compare(bufferB, offsetB, endB, offsetA, endA);
  }

  compareToKey(id: number, key: Uint8Array): number {
    const slab = this.#slab(id);
    const offset = this.#field(id, offsetField);
    const keySize = this.#field(id, keySizeField);
    const size = Math.min(keySize, key.length);
    for (let i = 0; i < size; i++) {
      const difference = (slab[offset + i] as number) - (key[i] as number);
      if (difference !== 0) return difference;
    }
    return keySize - key.length;
  }

  /** Adds a record; null: a deletion. Returns its number. */
  append(key: Uint8Array, value: Uint8Array | null, hash: number): number {
    const id = this.#recordCount;
    const at = id * fieldCount;
    if (at === this.#fields.length) this.#growFields();
    const valueSize = value === null ? 0 : value.length;
    const offset = this.#reserve(key.length + valueSize);
    const slabIndex = this.#slabs.length - 1;
    const slab = must(this.#slabs[slabIndex], 'no slab');
    slab.set(key, offset);
    if (value !== null) slab.set(value, offset + key.length);
    const fields = this.#fields;
    fields[at + slabField] = slabIndex;
    fields[at + offsetField] = offset;
    fields[at + keySizeField] = key.length;
    fields[at + valueField] = value === null ? 0 : valueSize + 1;
    fields[at + capacityField] = valueSize;
    fields[at + hashField] = hash;
    this.#recordCount = id + 1;
    return id;
  }

  /** Replaces a record's value in place if it fits, else in a new and roomier place. */
  replace(id: number, value: Uint8Array | null): void {
    const at = id * fieldCount;
    if (value === null) {
      this.#fields[at + valueField] = 0;
      return;
    }
    if (value.length > this.#field(id, capacityField)) this.#move(id, value.length);
    const offset = this.#field(id, offsetField) + this.#field(id, keySizeField);
    this.#slab(id).set(value, offset);
    this.#fields[at + valueField] = value.length + 1;
  }

  #move(id: number, valueSize: number): void {
    // A quarter to spare: a value that grows a little with every write moves rarely.
    const capacity = valueSize + (valueSize >>> 2);
    const at = id * fieldCount;
    const keySize = this.#field(id, keySizeField);
    const oldSlab = this.#slab(id);
    const oldOffset = this.#field(id, offsetField);
    const offset = this.#reserve(keySize + capacity);
    const slabIndex = this.#slabs.length - 1;
    const slab = must(this.#slabs[slabIndex], 'no slab');
    slab.set(oldSlab.subarray(oldOffset, oldOffset + keySize), offset);
    this.#fields[at + slabField] = slabIndex;
    this.#fields[at + offsetField] = offset;
    this.#fields[at + capacityField] = capacity;
  }

  /** Makes `size` bytes available in the last slab and returns where they begin. */
  #reserve(size: number): number {
    const last = this.#slabs.at(-1);
    if (last === undefined || this.#slabOffset + size > last.length) {
      this.#slabTotalBytes += last?.length ?? 0;
      this.#addSlab(this.#memory.takeSlab(size, {isFirst: last === undefined}));
      this.#slabOffset = 0;
    }
    const offset = this.#slabOffset;
    this.#slabOffset += size;
    return offset;
  }

  #addSlab(memory: SharedArrayBuffer): void {
    this.#slabs.push(new Uint8Array(memory));
    this.#slabBuffers.push(Buffer.from(memory));
  }

  #growFields(): void {
    const buffer = this.#fields.buffer as GrowableBuffer;
    const sizeBytes = buffer.byteLength * 2;
    if (sizeBytes <= buffer.maxByteLength) {
      buffer.grow(sizeBytes);
      this.#fields = fieldsIn(buffer);
      return;
    }
    // So many records wait in memory only while the disk takes no checkpoint.
    const grown = fieldsIn(growableBuffer(sizeBytes, buffer.maxByteLength * 2));
    grown.set(this.#fields);
    this.#fields = grown;
  }

  #slab(id: number): Uint8Array {
    return this.#slabs[this.#field(id, slabField)] as Uint8Array;
  }

  #field(id: number, field: number): number {
    assert(id < this.#recordCount, 'record % of %', id, this.#recordCount);
    return this.#fields[id * fieldCount + field] as number;
  }
}

function fieldsSizeBytes(recordCount: number): number {
  return recordCount * fieldCount * Uint32Array.BYTES_PER_ELEMENT;
}

/** Of a fixed length: an array that grew with its buffer would be read more slowly. */
function fieldsIn(buffer: SharedArrayBuffer): Uint32Array {
  return new Uint32Array(buffer, 0, buffer.byteLength / Uint32Array.BYTES_PER_ELEMENT);
}
