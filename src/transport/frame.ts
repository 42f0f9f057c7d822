/**
 * Frames: the checksummed envelope of everything that peers exchange. Format: docs/formats.md,
 * "Peer frames". The parser takes bytes as the socket delivers them and never holds more than one
 * unfinished frame, whose length it has checked before it makes room.
 *
 * A payload that arrived within one chunk is a view of it. Sockets hand out a fresh chunk for every
 * read, never longer than what was read, so a view may be kept: it pins its neighbours of the same
 * read and nothing else.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {emptyBytes, readU32, writeU32} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';

export type FrameKind =
  | 'messages'
  | 'fragment'
  | 'last-fragment'
  | 'ping'
  | 'ack'
  | 'snapshot-meta'
  | 'snapshot-block'
  | 'snapshot-end'
  | 'snapshot-position'
  | 'snapshot-accepted'
  | 'snapshot-refused';

export const frameHeaderSizeBytes = 8;
export const framePayloadSizeBytesMax = limits.frameSizeBytesMax;
assert(framePayloadSizeBytesMax < 2 ** 24, 'a frame length has 24 bits');

const kinds: readonly FrameKind[] = [
  'messages',
  'fragment',
  'last-fragment',
  'ping',
  'ack',
  'snapshot-meta',
  'snapshot-block',
  'snapshot-end',
  'snapshot-position',
  'snapshot-accepted',
  'snapshot-refused',
];

/** Writes the 8 bytes before a payload that is already at `at + frameHeaderSizeBytes`. */
export function sealFrame(
  buffer: Buffer,
  at: number,
  frame: {readonly kind: FrameKind; readonly payloadSizeBytes: number},
): void {
  const {kind, payloadSizeBytes} = frame;
  assert(payloadSizeBytes <= framePayloadSizeBytesMax, 'a frame payload within its bound');
  const payloadAt = at + frameHeaderSizeBytes;
  const word = (kinds.indexOf(kind) * 0x100_0000 + payloadSizeBytes) >>> 0;
  writeU32(buffer, word, at);
  const sum = checksum(buffer.subarray(payloadAt, payloadAt + payloadSizeBytes), word);
  writeU32(buffer, sum, at + 4);
}

/** The 8 bytes before a payload that is in pieces. */
export function frameHeader(kind: FrameKind, payload: readonly Uint8Array[]): Buffer {
  let payloadSizeBytes = 0;
  for (const piece of payload) payloadSizeBytes += piece.length;
  assert(payloadSizeBytes <= framePayloadSizeBytesMax, 'a frame payload within its bound');
  const header = Buffer.allocUnsafe(frameHeaderSizeBytes);
  const word = (kinds.indexOf(kind) * 0x100_0000 + payloadSizeBytes) >>> 0;
  let sum = word;
  for (const piece of payload) sum = checksum(piece, sum);
  writeU32(header, word, 0);
  writeU32(header, sum, 4);
  return header;
}

/** A whole frame around a copy of `payload`. */
export function encodeFrame(kind: FrameKind, payload: Uint8Array = emptyBytes): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderSizeBytes + payload.length);
  frame.set(payload, frameHeaderSizeBytes);
  sealFrame(frame, 0, {kind, payloadSizeBytes: payload.length});
  return frame;
}

/** Returns false to stop: the parser then drops the rest of the bytes. */
export type FrameListener = (kind: FrameKind, payload: Buffer) => boolean;

const emptyPayload = Buffer.alloc(0);

export class FrameParser {
  readonly #onFrame: FrameListener;
  /** The unfinished header, `#headerFill` bytes of it. */
  readonly #header = Buffer.alloc(frameHeaderSizeBytes);
  #headerFill = 0;
  /** Payload of the unfinished frame; null while its header is unfinished or it came whole. */
  #payload: Buffer | null = null;
  #payloadFill = 0;
  #kind: FrameKind = 'ping';
  #word = 0;
  #checksum = 0;
  #payloadByteCount = 0;
  #problem: string | null = null;

  constructor(onFrame: FrameListener) {
    this.#onFrame = onFrame;
  }

  /** Bytes of payloads seen so far, those of unfinished frames included. */
  get payloadByteCount(): number {
    return this.#payloadByteCount;
  }

  /** True between frames: a stream may end here. */
  get isAtBoundary(): boolean {
    return this.#headerFill === 0;
  }

  /** Null, or what is wrong; after a problem the parser takes nothing more. */
  push(chunk: Buffer): string | null {
    let at = 0;
    while (at < chunk.length && this.#problem === null) {
      if (this.#headerFill < frameHeaderSizeBytes) {
        at = this.#takeHeader(chunk, at);
        if (this.#headerFill < frameHeaderSizeBytes) return null;
        if (!this.#readHeader()) break;
      }
      at = this.#takePayload(chunk, at);
      if (at < 0) break;
    }
    return this.#problem;
  }

  #takeHeader(chunk: Buffer, at: number): number {
    const size = Math.min(frameHeaderSizeBytes - this.#headerFill, chunk.length - at);
    chunk.copy(this.#header, this.#headerFill, at, at + size);
    this.#headerFill += size;
    return at + size;
  }

  #readHeader(): boolean {
    this.#word = readU32(this.#header, 0);
    this.#checksum = readU32(this.#header, 4);
    const length = this.#word & 0xff_ffff;
    const kind = kinds[this.#word >>> 24];
    if (kind === undefined) return this.#fail(`frame kind ${this.#word >>> 24}`);
    if (length > framePayloadSizeBytesMax) return this.#fail(`frame of ${length} bytes`);
    this.#kind = kind;
    this.#payload = null;
    this.#payloadFill = 0;
    return true;
  }

  /** The offset after the payload, or -1 to stop: the chunk is used up or the listener said so. */
  #takePayload(chunk: Buffer, at: number): number {
    const length = this.#word & 0xff_ffff;
    const size = Math.min(length - this.#payloadFill, chunk.length - at);
    this.#payloadByteCount += size;
    if (this.#payload === null && size === length) {
      const whole = length === 0 ? emptyPayload : chunk.subarray(at, at + length);
      return this.#finish(whole) ? at + length : -1;
    }
    this.#payload ??= Buffer.allocUnsafe(length);
    chunk.copy(this.#payload, this.#payloadFill, at, at + size);
    this.#payloadFill += size;
    if (this.#payloadFill < length) return -1;
    return this.#finish(this.#payload) ? at + size : -1;
  }

  #finish(payload: Buffer): boolean {
    this.#headerFill = 0;
    this.#payload = null;
    if (checksum(payload, this.#word) !== this.#checksum) return this.#fail('frame checksum');
    if (this.#onFrame(this.#kind, payload)) return true;
    this.#problem = 'stopped';
    return false;
  }

  #fail(problem: string): false {
    this.#problem = problem;
    return false;
  }
}
