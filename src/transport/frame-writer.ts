/**
 * Gathers the messages of one turn into frames, written in place into slabs that the socket then
 * owns. A slab is never written again where it has been handed out, so nothing is copied on the
 * way to the kernel. Of a message too large for a frame only the headers are written: its data go
 * to the socket as they are.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {asBuffer, writeU32} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {FrameKind} from './frame.ts';
import {frameHeader, frameHeaderSizeBytes, framePayloadSizeBytesMax, sealFrame} from './frame.ts';
import type {EncodableMessage} from './message-codec.ts';
import {messagePieces, messageSizeBytes, writeMessage} from './message-codec.ts';

const slabSizeBytes = 64 * 1024;
const messagePrefixSizeBytes = 4;

export class FrameWriter {
  #slab = Buffer.alloc(0);
  /** Start of the bytes of the slab that have not been taken. */
  #takenEnd = 0;
  #end = 0;
  /** Start of the open frame of messages; -1: none is open. */
  #frameStart = -1;
  #full: Buffer[] = [];
  #fullSizeBytes = 0;

  /** Bytes written and not taken. */
  get sizeBytes(): number {
    return this.#fullSizeBytes + this.#end - this.#takenEnd;
  }

  message(message: EncodableMessage): void {
    const size = messageSizeBytes(message);
    assert(size > 0 && size <= limits.messageSizeBytesMax, 'message of % bytes', size);
    const needed = messagePrefixSizeBytes + size;
    if (needed > framePayloadSizeBytesMax) {
      this.#fragments(messagePieces(message), size);
      return;
    }
    if (!this.#fitsOpenFrame(needed)) {
      this.#seal();
      this.#makeRoom(frameHeaderSizeBytes + needed);
      this.#frameStart = this.#end;
      this.#end += frameHeaderSizeBytes;
    }
    const at = writeU32(this.#slab, size, this.#end);
    this.#end = writeMessage(this.#slab, at, message);
    assert(this.#end === at + size, 'a message has the announced size');
  }

  /** A frame of its own, after everything written so far. */
  frame(kind: FrameKind, payload: Uint8Array): void {
    this.#seal();
    this.#makeRoom(frameHeaderSizeBytes + payload.length);
    this.#slab.set(payload, this.#end + frameHeaderSizeBytes);
    sealFrame(this.#slab, this.#end, {kind, payloadSizeBytes: payload.length});
    this.#end += frameHeaderSizeBytes + payload.length;
  }

  /** Everything written since the last call, as whole frames; now the caller's. */
  take(): readonly Buffer[] {
    this.#seal();
    this.#closeSlab();
    const taken = this.#full;
    this.#full = [];
    this.#fullSizeBytes = 0;
    return taken;
  }

  #fitsOpenFrame(needed: number): boolean {
    if (this.#frameStart < 0) return false;
    const payloadSizeBytes = this.#end - this.#frameStart - frameHeaderSizeBytes;
    if (payloadSizeBytes + needed > framePayloadSizeBytesMax) return false;
    return this.#end + needed <= this.#slab.length;
  }

  #fragments(pieces: readonly Uint8Array[], sizeBytes: number): void {
    this.#seal();
    this.#closeSlab();
    let left = sizeBytes;
    let payload: Uint8Array[] = [];
    let room = Math.min(left, framePayloadSizeBytesMax);
    for (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        const part = piece.subarray(at, at + room);
        payload.push(part);
        at += part.length;
        room -= part.length;
        left -= part.length;
        if (room > 0) continue;
        this.#push(frameHeader(left === 0 ? 'last-fragment' : 'fragment', payload));
        for (const each of payload) this.#push(asBuffer(each));
        payload = [];
        room = Math.min(left, framePayloadSizeBytesMax);
      }
    }
    assert(left === 0 && payload.length === 0, 'a message has the announced size');
  }

  #push(bytes: Buffer): void {
    this.#full.push(bytes);
    this.#fullSizeBytes += bytes.length;
  }

  #seal(): void {
    if (this.#frameStart < 0) return;
    const payloadSizeBytes = this.#end - this.#frameStart - frameHeaderSizeBytes;
    sealFrame(this.#slab, this.#frameStart, {kind: 'messages', payloadSizeBytes});
    this.#frameStart = -1;
  }

  #makeRoom(needed: number): void {
    if (this.#end + needed <= this.#slab.length) return;
    this.#closeSlab();
    this.#slab = Buffer.allocUnsafeSlow(Math.max(slabSizeBytes, needed));
    this.#takenEnd = 0;
    this.#end = 0;
  }

  #closeSlab(): void {
    if (this.#end === this.#takenEnd) return;
    this.#push(this.#slab.subarray(this.#takenEnd, this.#end));
    this.#takenEnd = this.#end;
  }
}
