/**
 * Bytes: comparison, and a writer and a reader for the formats of docs/formats.md. Integers are
 * little-endian where a format says fixed width, and LEB128 where it says varint. 64-bit integers
 * are JavaScript numbers, at most 2^53 - 1; a larger one read from outside is refused.
 */
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

/** Appends to a buffer that grows by doubling. `finish` hands out bytes that are never reused. */
export class ByteWriter {
  readonly #capacity: number;
  #buffer: Buffer;
  #length = 0;

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
    const at = this.#advance(2);
    this.#buffer.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#advance(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  /** A safe non-negative integer as 8 bytes. */
  u64(value: number): void {
    const at = this.#advance(8);
    writeU64(this.#buffer, value, at);
  }

  /** A safe non-negative integer as LEB128, 1 to 8 bytes. */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) assert(false, `varint of ${value}`);
    while (value >= 0x80) {
      this.u8((value % 0x80) | 0x80);
      value = Math.floor(value / 0x80);
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
    return this.#buffer.subarray(0, this.#length);
  }

  /** Ends the use of what was written: `reset` comes next. */
  finish(): Uint8Array {
    const {buffer, byteOffset, length} = this.#buffer;
    if (this.#length >= handedOutSizeBytesMin && this.#length >= length - length / 8) {
      const bytes = new Uint8Array(buffer, byteOffset, this.#length);
      this.#buffer = Buffer.allocUnsafe(this.#capacity);
      this.#length = 0;
      return bytes;
    }
    const copy = new Uint8Array(this.#length);
    copy.set(this.contentView());
    return copy;
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
      this.#buffer = grown;
    }
    this.#length = needed;
    return at;
  }
}

/** Reads what ByteWriter wrote. Every read checks the bounds and throws MalformedBytesError. */
export class ByteReader {
  readonly #buffer: Buffer;
  #offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#buffer = asBuffer(bytes);
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#buffer.length - this.#offset;
  }

  u8(): number {
    return this.#buffer[this.#advance(1)] as number;
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#advance(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#advance(4));
  }

  u64(): number {
    return readU64(this.#buffer, this.#advance(8));
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
    return this.#buffer.subarray(at, at + size);
  }

  /** A view of length-prefixed bytes. */
  bytesView(): Uint8Array {
    return this.rawView(this.varint());
  }

  string(): string {
    const size = this.varint();
    const at = this.#advance(size);
    return this.#buffer.toString('utf8', at, at + size);
  }

  /** Throws unless everything has been read. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedBytesError(`${this.remaining} bytes too many`);
  }

  #advance(size: number): number {
    const at = this.#offset;
    if (size > this.#buffer.length - at) {
      throw new MalformedBytesError(`${size} bytes wanted, ${this.#buffer.length - at} left`);
    }
    this.#offset = at + size;
    return at;
  }
}

export function writeU64(buffer: Buffer, value: number, offset: number): void {
  // The message is built only when it is needed: this runs several times an entry.
  if (!Number.isSafeInteger(value) || value < 0) assert(false, `u64 of ${value}`);
  buffer.writeUInt32LE(value % 0x1_0000_0000, offset);
  buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

/** Throws MalformedBytesError when the stored integer exceeds 2^53 - 1. */
export function readU64(buffer: Buffer, offset: number): number {
  const high = buffer.readUInt32LE(offset + 4);
  if (high > 0x1f_ffff) throw new MalformedBytesError('u64 out of range');
  return high * 0x1_0000_0000 + buffer.readUInt32LE(offset);
}

/** The same memory as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
