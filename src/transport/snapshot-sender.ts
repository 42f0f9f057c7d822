/**
 * Streams one snapshot to a peer: `POST /snapshot` with a body of frames. The next block is read
 * when the socket has taken the last one, so a slow peer costs one block of memory.
 */
import type {ClientRequest} from 'node:http';
import {ByteWriter} from '../base/bytes.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {encodeMembership} from '../raft/membership.ts';
import type {CheckpointMeta, SnapshotExport} from '../storage/checkpoint-store.ts';
import {openRequest, parseRefusal, readBody} from './dial.ts';
import {encodeFrame} from './frame.ts';

export interface SnapshotSenderOptions {
  readonly address: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly snapshot: SnapshotExport;
  readonly clock: Clock;
}

export class SnapshotSender {
  readonly #snapshot: SnapshotExport;
  readonly #clock: Clock;
  readonly #callback: (error: Error | null) => void;
  readonly #request: ClientRequest;
  #stallTimer: Timer | null = null;
  #blockCount = 0;
  #isDone = false;

  constructor(options: SnapshotSenderOptions, callback: (error: Error | null) => void) {
    this.#snapshot = options.snapshot;
    this.#clock = options.clock;
    this.#callback = callback;
    const request = openRequest(options.address, {
      method: 'POST',
      path: '/snapshot',
      headers: {...options.headers, 'content-type': 'application/octet-stream'},
    });
    this.#request = request;
    request.on('error', error => this.#finish(error));
    request.on('close', () => this.#finish(new Error('the connection was closed')));
    // Nothing is read from disk for a peer that cannot be reached.
    request.on('socket', socket => {
      if (socket.connecting) socket.once('connect', () => this.#start());
      else this.#start();
    });
    request.once('response', response => {
      readBody(response, limits.refusalSizeBytesMax, (error, body) => {
        const status = response.statusCode ?? 0;
        if (error !== null) this.#finish(error);
        else if (status === 200) this.#finish(null);
        else {
          const {code, detail} = parseRefusal(status, body);
          this.#finish(new Error(`${code}: ${detail}`));
        }
      });
    });
    this.#noteProgress();
  }

  abort(reason: string): void {
    this.#finish(new Error(reason));
  }

  #start(): void {
    this.#write(encodeFrame('snapshot-meta', encodeSnapshotMeta(this.#snapshot.meta)));
  }

  #sendNext(): void {
    if (this.#isDone) return;
    this.#snapshot.next((error, block) => {
      if (this.#isDone) return;
      if (error !== null) this.#finish(error);
      else if (block === null) this.#sendEnd();
      else {
        this.#blockCount += 1;
        this.#write(encodeFrame('snapshot-block', block));
      }
    });
  }

  #sendEnd(): void {
    const writer = new ByteWriter(4);
    writer.u32(this.#blockCount);
    this.#request.end(encodeFrame('snapshot-end', writer.contentView()));
    // The receiver verifies and syncs the whole now.
    this.#noteProgress(limits.snapshotFinishTimeoutMs);
  }

  #write(frame: Buffer): void {
    // The callback runs when the kernel has the bytes: one block is in memory at a time.
    this.#request.write(frame, error => {
      if (this.#isDone) return;
      if (error !== null && error !== undefined) {
        this.#finish(error);
        return;
      }
      this.#noteProgress();
      this.#sendNext();
    });
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
    this.#request.destroy();
    this.#snapshot.close();
    this.#callback(error);
  }
}

function encodeSnapshotMeta(meta: CheckpointMeta): Uint8Array {
  const writer = new ByteWriter();
  writer.u64(meta.index);
  writer.u64(meta.term);
  writer.raw(encodeMembership(meta.membership));
  return writer.finish();
}
