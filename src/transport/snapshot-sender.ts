/**
 * Streams one snapshot to a peer: `POST /snapshot` with a body of frames and an answer of frames.
 * The peer says first what it holds of this snapshot already. The next block is read when the
 * socket has taken the last one and the pace allows it, so a slow peer costs one block of memory.
 */
import type {Buffer} from 'node:buffer';
import type {ClientRequest, IncomingMessage} from 'node:http';
import {ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {readableError} from '../base/network-error.ts';
import type {SnapshotReader} from '../storage/checkpoint-store.ts';
import {decodePosition} from '../storage/snapshot-position.ts';
import {openRequest, parseRefusal, readBody} from './dial.ts';
import type {FrameKind} from './frame.ts';
import {encodeFrame, frameHeader, FrameParser} from './frame.ts';
import {decodeRefusal, encodeOffer} from './snapshot-frames.ts';
import type {SnapshotPacer} from './snapshot-pacer.ts';
import type {SnapshotSource} from './transport.ts';
import {SnapshotRefusedError} from './transport.ts';

export interface SnapshotSenderOptions {
  readonly address: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly snapshot: SnapshotSource;
  readonly pacer: SnapshotPacer;
  readonly clock: Clock;
}

export class SnapshotSender {
  readonly #snapshot: SnapshotSource;
  readonly #pacer: SnapshotPacer;
  readonly #clock: Clock;
  readonly #callback: (error: Error | null) => void;
  readonly #request: ClientRequest;
  /** Null until the peer has said where to begin. */
  #reader: SnapshotReader | null = null;
  #stallTimer: Timer | null = null;
  #cancelPace: (() => void) | null = null;
  #blockCount = 0;
  #isDone = false;

  constructor(options: SnapshotSenderOptions, callback: (error: Error | null) => void) {
    this.#snapshot = options.snapshot;
    this.#pacer = options.pacer;
    this.#clock = options.clock;
    this.#callback = callback;
    const request = openRequest(options.address, {
      method: 'POST',
      path: '/snapshot',
      headers: {...options.headers, 'content-type': 'application/octet-stream'},
    });
    this.#request = request;
    request.on('error', error => this.#finish(readableError(error)));
    request.on('close', () => this.#finish(new Error('the connection was closed')));
    request.once('response', response => this.#onResponse(response));
    request.write(encodeFrame('snapshot-meta', encodeOffer(options.snapshot)));
    this.#noteProgress();
  }

  abort(reason: string): void {
    this.#finish(new Error(reason));
  }

  #onResponse(response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    if (status !== 200) {
      readBody(response, limits.refusalSizeBytesMax, (error, body) => {
        if (error !== null) this.#finish(error);
        else this.#finish(new SnapshotRefusedError(parseRefusal(status, body)));
      });
      return;
    }
    const parser = new FrameParser((kind, payload) => {
      this.#onFrame(kind, payload);
      return !this.#isDone;
    });
    response.on('data', (chunk: Buffer) => {
      if (this.#isDone) return;
      const problem = parser.push(chunk);
      if (problem !== null) this.#finish(new Error(`the answer is damaged: ${problem}`));
    });
    response.on('error', error => this.#finish(error));
    response.on('close', () => this.#finish(new Error('the connection was closed')));
  }

  #onFrame(kind: FrameKind, payload: Buffer): void {
    try {
      if (kind === 'snapshot-position' && this.#reader === null) {
        this.#reader = this.#snapshot.open(decodePosition(payload));
        this.#noteProgress();
        this.#sendNext(this.#reader);
      } else if (kind === 'snapshot-accepted' && this.#reader !== null) {
        this.#finish(null);
      } else if (kind === 'snapshot-refused') {
        this.#finish(new SnapshotRefusedError(decodeRefusal(payload)));
      } else {
        this.#finish(new Error(`${kind} frame out of place in the answer`));
      }
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      this.#finish(new Error(`the answer is damaged: ${error.message}`));
    }
  }

  #sendNext(reader: SnapshotReader): void {
    if (this.#isDone) return;
    reader.next((error, block) => {
      if (this.#isDone) return;
      if (error !== null) this.#finish(error);
      else if (block === null) this.#sendEnd();
      else this.#sendBlock(reader, block);
    });
  }

  #sendBlock(reader: SnapshotReader, block: Uint8Array): void {
    this.#cancelPace = this.#pacer.take(block.length, () => {
      if (this.#isDone) return;
      this.#blockCount += 1;
      this.#request.write(frameHeader('snapshot-block', [block]));
      // The callback runs when the kernel has the bytes: one block is in memory at a time.
      this.#request.write(block, error => {
        if (this.#isDone) return;
        if (error !== null && error !== undefined) {
          this.#finish(error);
          return;
        }
        this.#noteProgress();
        this.#sendNext(reader);
      });
    });
  }

  #sendEnd(): void {
    const writer = new ByteWriter(4);
    writer.u32(this.#blockCount);
    this.#request.end(encodeFrame('snapshot-end', writer.contentView()));
    // The receiver verifies and syncs the whole now.
    this.#noteProgress(limits.snapshotFinishTimeoutMs);
  }

  #noteProgress(timeoutMs: number = limits.snapshotStallTimeoutMs): void {
    this.#stallTimer?.cancel();
    if (this.#isDone) return;
    this.#stallTimer = this.#clock.setTimer(timeoutMs, () => {
      this.#finish(new Error(`no progress for ${timeoutMs} ms`));
    });
  }

  #finish(error: Error | null): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#stallTimer?.cancel();
    this.#cancelPace?.();
    this.#request.destroy();
    this.#reader?.close();
    this.#callback(error);
  }
}
