/**
 * Bytes: comparison, and a writer and a reader for the formats of docs/formats.md. Integers are
 * little-endian where a format says fixed width, and LEB128 where it says varint. 64-bit integers
 * are JavaScript numbers, at most 2^53 - 1; a larger one read from outside is refused.
 */
import {Buffer} from 'node:buffer';
import {assert} from './assert.ts';

export const emptyBytes = new Uint8Array(0);

/** Thrown by ByteReader when the bytes do not have the announced form. */
export class MalformedBytesError extends Error {
  override readonly name = 'MalformedBytesError';
}

/** Byte order: negative when a sorts before b, 0 when equal, positive otherwise. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/** The smallest byte string that sorts after every string with this prefix; null: there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix[i] as number;
    if (byte === 0xff) continue;
    // Not prefix.slice: that of a Buffer is a view, and the prefix itself would change.
    const end = new Uint8Array(prefix.subarray(0, i + 1));
    end[i] = byte + 1;
    return end;
  }
  return null;
}

/** The smallest byte string that sorts after `key`: key followed by a zero byte. */
export function keySuccessor(key: Uint8Array): Uint8Array {
  const successor = new Uint8Array(key.length + 1);
  successor.set(key);
  return successor;
}

/** From here on `finish` hands out the buffer itself when little of it would be wasted. */
const handedOutSizeBytesMin = 64 * 1024;

const slabSizeBytes = 16 * 1024;
const slabCopySizeBytesMax = 2 * 1024;

/**
 * Makes copies that nobody writes again. Small ones lie side by side in a larger piece of memory:
 * one of its own would cost several times more. A copy keeps its neighbours, so each slab holds
 * what lives about as long.
 */
class CopySlab {
  #memory = new ArrayBuffer(slabSizeBytes);
  #end = 0;

  copy(bytes: Uint8Array): Uint8Array {
    const {length} = bytes;
    if (length > slabCopySizeBytesMax) return new Uint8Array(bytes);
    if (this.#end + length > slabSizeBytes) {
      this.#memory = new ArrayBuffer(slabSizeBytes);
      this.#end = 0;
    }
    const copy = new Uint8Array(this.#memory, this.#end, length);
    this.#end += length;
    copy.set(bytes);
    return copy;
  }
}

const passing = new CopySlab();

/** A copy for the time of a request, beside others of that kind. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return passing.copy(bytes);
}

/** Views of less than so many bytes are kept. */
const keptViewCount = 512;

/**
 * Appends to a buffer that grows by doubling. `finish` hands out bytes that are never reused; the
 * small ones of one writer share memory with each other, and with nobody else.
 */
export class ByteWriter {
  readonly #capacity: number;
  #buffer: Buffer;
  /** Of the beginning of the buffer, by length: making one costs more than filling it. */
  #views: (Uint8Array | undefined)[] = [];
  #length = 0;
  #slab: CopySlab | null = null;

  constructor(capacity = 256) {
    this.#capacity = Math.max(16, capacity);
    this.#buffer = Buffer.allocUnsafe(this.#capacity);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    const at = this.#advance(1);
    this.#buffer[at] = value;
  }

  u16(value: number): void {
    assert(value >>> 0 === value && value <= 0xffff, 'u16 of %', value);
    const at = this.#advance(2);
    this.#buffer[at] = value;
    this.#buffer[at + 1] = value >>> 8;
  }

  u32(value: number): void {
    const at = this.#advance(4);
    writeU32(this.#buffer, value, at);
  }

  /** A safe non-negative integer as 8 bytes. */
  u64(value: number): void {
    const at = this.#advance(8);
    writeU64(this.#buffer, value, at);
  }

  /** A safe non-negative integer as LEB128, 1 to 8 bytes. */
  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'varint of %', value);
    while (value >= 0x80) {
      this.u8((value & 0x7f) | 0x80);
      value = value < 0x8000_0000 ? value >>> 7 : Math.floor(value / 0x80);
    }
    this.u8(value);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#advance(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** A varint length followed by the bytes. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** A varint byte length followed by UTF-8. */
  string(text: string): void {
    const size = Buffer.byteLength(text);
    this.varint(size);
    const at = this.#advance(size);
    this.#buffer.write(text, at, 'utf8');
  }

  /** The bytes so far, in memory that later writes reuse: valid until the next call. */
  contentView(): Uint8Array {
    const length = this.#length;
    if (length >= keptViewCount) return this.#buffer.subarray(0, length);
    return (this.#views[length] ??= this.#buffer.subarray(0, length));
  }

  /** Ends the use of what was written: `reset` comes next. */
  finish(): Uint8Array {
    const {buffer, byteOffset, length} = this.#buffer;
    if (this.#length >= handedOutSizeBytesMin && this.#length >= length - length / 8) {
      const bytes = new Uint8Array(buffer, byteOffset, this.#length);
      this.#use(Buffer.allocUnsafe(this.#capacity));
      this.#length = 0;
      return bytes;
    }
    this.#slab ??= new CopySlab();
    return this.#slab.copy(this.contentView());
  }

  reset(): void {
    this.#length = 0;
  }

  #advance(size: number): number {
    const at = this.#length;
    const needed = at + size;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#use(grown);
    }
    this.#length = needed;
    return at;
  }

  #use(buffer: Buffer): void {
    this.#buffer = buffer;
    this.#views = [];
  }
}

/** Reads what ByteWriter wrote. Every read checks the bounds and throws MalformedBytesError. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  u16(): number {
    const at = this.#advance(2);
    return (this.#bytes[at] as number) | ((this.#bytes[at + 1] as number) << 8);
  }

  u32(): number {
    return readU32(this.#bytes, this.#advance(4));
  }

  u64(): number {
    return readU64(this.#bytes, this.#advance(8));
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedBytesError('varint out of range');
  }

  /** A view into the bytes being read: valid as long as they are. */
  rawView(size: number): Uint8Array {
    const at = this.#advance(size);
    return this.#bytes.subarray(at, at + size);
  }

  /** A view of length-prefixed bytes. */
  bytesView(): Uint8Array {
    return this.rawView(this.varint());
  }

  string(): string {
    const size = this.varint();
    const at = this.#advance(size);
    return asBuffer(this.#bytes).toString('utf8', at, at + size);
  }

  /** Throws unless everything has been read. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedBytesError(`${this.remaining} bytes too many`);
  }

  #advance(size: number): number {
    const at = this.#offset;
    if (size > this.#bytes.length - at) {
      throw new MalformedBytesError(`${size} bytes wanted, ${this.#bytes.length - at} left`);
    }
    this.#offset = at + size;
    return at;
  }
}

/*
 * The integers below are stored and read byte by byte: compiled code does that in a fifth of the
 * time that the methods of Buffer take, and each entry comes by here dozens of times.
 */

/** Little-endian; `value` from 0 to 2^32 - 1. Returns the offset behind it. */
export function writeU32(bytes: Uint8Array, value: number, at: number): number {
  assert(value >>> 0 === value, 'u32 of %', value);
  assert(at + 4 <= bytes.length, 'u32 at % of % bytes', at, bytes.length);
  storeU32(bytes, value, at);
  return at + 4;
}

/** Little-endian; `value` from 0 to 2^53 - 1. Returns the offset behind it. */
export function writeU64(bytes: Uint8Array, value: number, at: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'u64 of %', value);
  assert(at + 8 <= bytes.length, 'u64 at % of % bytes', at, bytes.length);
  // ToUint32 is exact modulo 2^32 for safe integers.
  const low = value >>> 0;
  storeU32(bytes, low, at);
  storeU32(bytes, (value - low) / 0x1_0000_0000, at + 4);
  return at + 8;
}

export function readU32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new MalformedBytesError('u32 cut off');
  return loadU32(bytes, at);
}

/** Throws MalformedBytesError when the stored integer exceeds 2^53 - 1. */
export function readU64(bytes: Uint8Array, at: number): number {
  if (at + 8 > bytes.length) throw new MalformedBytesError('u64 cut off');
  const high = loadU32(bytes, at + 4);
  if (high > 0x1f_ffff) throw new MalformedBytesError('u64 out of range');
  return high * 0x1_0000_0000 + loadU32(bytes, at);
}

function storeU32(bytes: Uint8Array, value: number, at: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function loadU32(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  const high = (bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8);
  return (low | (high << 16)) >>> 0;
}

/** The same memory as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
