/**
 * The other end of a snapshot stream: frames of a request body into a SnapshotImport, one write at
 * a time, the request paused meanwhile. Whatever goes wrong, the import is aborted exactly once and
 * nothing else has changed.
 */
import type {IncomingMessage} from 'node:http';
import {ByteReader, MalformedBytesError} from '../base/bytes.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {logIndex, term} from '../raft/ids.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {CheckpointMeta, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {FrameKind} from './frame.ts';
import {FrameParser} from './frame.ts';
import type {Refusal} from './transport.ts';

export interface SnapshotReceiverListener {
  /** Null: not wanted. */
  onOffer(meta: CheckpointMeta): SnapshotImport | null;
  /** Once. Exactly one of refusal and snapshot is null. */
  onDone(
    refusal: Refusal | null,
    meta: CheckpointMeta | null,
    snapshot: SnapshotImport | null,
  ): void;
}

interface Piece {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

export class SnapshotReceiver {
  readonly #request: IncomingMessage;
  readonly #clock: Clock;
  readonly #listener: SnapshotReceiverListener;
  readonly #parser: FrameParser;
  /** Frames of the chunks read before the pause took effect. */
  readonly #queue: Piece[] = [];
  #meta: CheckpointMeta | null = null;
  #import: SnapshotImport | null = null;
  #blockCount = 0;
  #isWorking = false;
  /** The last frame has been taken. */
  #hasEnd = false;
  #hasBodyEnded = false;
  #isFinishing = false;
  #isDone = false;
  #stallTimer: Timer | null = null;

  constructor(request: IncomingMessage, clock: Clock, listener: SnapshotReceiverListener) {
    this.#request = request;
    this.#clock = clock;
    this.#listener = listener;
    this.#parser = new FrameParser((kind, payload) => {
      this.#queue.push({kind, payload});
      return !this.#isDone;
    });
  }

  start(): void {
    const request = this.#request;
    this.#noteProgress();
    request.on('error', error => this.#refuse('SNAPSHOT_CUT_OFF', error.message));
    request.on('close', () => {
      // The import of a complete body goes on: what is received is worth keeping.
      if (!this.#hasBodyEnded) this.#refuse('SNAPSHOT_CUT_OFF', 'the connection was closed');
    });
    request.on('data', (chunk: Buffer) => {
      if (this.#isDone) return;
      this.#noteProgress();
      const problem = this.#parser.push(chunk);
      if (problem !== null) this.#malformed(problem);
      else this.#work();
    });
    request.on('end', () => {
      this.#hasBodyEnded = true;
      if (!this.#parser.isAtBoundary) this.#malformed('ends within a frame');
      else if (!this.#hasEnd && this.#queue.at(-1)?.kind !== 'snapshot-end') {
        this.#malformed('ends before its last frame');
      } else this.#maybeFinish();
    });
  }

  abort(): void {
    this.#refuse('STOPPING', 'the node is stopping');
  }

  #work(): void {
    while (!this.#isWorking && !this.#isDone) {
      const piece = this.#queue.shift();
      if (piece === undefined) {
        this.#request.resume();
        return;
      }
      this.#take(piece);
    }
  }

  #take(piece: Piece): void {
    if (this.#hasEnd) {
      this.#malformed('goes on after its end');
      return;
    }
    if (piece.kind === 'snapshot-meta' && this.#meta === null) this.#onMeta(piece.payload);
    else if (piece.kind === 'snapshot-block' && this.#import !== null) {
      this.#onBlock(this.#import, piece.payload);
    } else if (piece.kind === 'snapshot-end' && this.#import !== null) {
      this.#onEnd(piece.payload);
    } else this.#malformed(`${piece.kind} frame out of place`);
  }

  #onMeta(payload: Buffer): void {
    let meta: CheckpointMeta;
    try {
      meta = decodeSnapshotMeta(payload);
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      this.#malformed(error.message);
      return;
    }
    this.#meta = meta;
    this.#import = this.#listener.onOffer(meta);
    if (this.#import === null) {
      this.#refuse('SNAPSHOT_NOT_WANTED', `a snapshot at index ${meta.index} is of no use here`);
    }
  }

  #onBlock(snapshot: SnapshotImport, payload: Buffer): void {
    this.#blockCount += 1;
    this.#step(done => snapshot.write(payload, done));
  }

  #onEnd(payload: Buffer): void {
    if (payload.length !== 4 || new ByteReader(payload).u32() !== this.#blockCount) {
      this.#malformed('wrong number of blocks');
      return;
    }
    this.#hasEnd = true;
    this.#maybeFinish();
  }

  #maybeFinish(): void {
    const snapshot = this.#import;
    if (!this.#hasEnd || !this.#hasBodyEnded || this.#isDone || snapshot === null) return;
    if (this.#isFinishing || this.#queue.length > 0) return;
    this.#step(done => {
      this.#isFinishing = true;
      snapshot.finish(error => {
        if (error === null) this.#complete(snapshot);
        else done(error);
      });
    });
  }

  /** Runs one operation of the import with the request paused. */
  #step(operation: (done: (error: Error | null) => void) => void): void {
    this.#isWorking = true;
    this.#request.pause();
    // The import has its own time: a stall is a peer that sends nothing.
    this.#stallTimer?.cancel();
    operation(error => {
      this.#isWorking = false;
      if (this.#isDone) {
        this.#import?.abort();
        return;
      }
      if (error !== null) {
        this.#refuse('SNAPSHOT_DAMAGED', error.message);
        return;
      }
      this.#noteProgress();
      this.#work();
    });
  }

  #complete(snapshot: SnapshotImport): void {
    this.#isWorking = false;
    if (this.#isDone) {
      snapshot.abort();
      return;
    }
    this.#isDone = true;
    this.#stallTimer?.cancel();
    this.#request.resume();
    this.#listener.onDone(null, this.#meta, snapshot);
  }

  #noteProgress(): void {
    this.#stallTimer?.cancel();
    if (this.#isDone || this.#isFinishing) return;
    const timeoutMs = limits.snapshotStallTimeoutMs;
    this.#stallTimer = this.#clock.setTimer(timeoutMs, () => {
      this.#refuse('SNAPSHOT_STALLED', `nothing arrived for ${timeoutMs} ms`);
    });
  }

  #malformed(detail: string): void {
    this.#refuse('BAD_SNAPSHOT', `the snapshot stream ${detail}`, 400);
  }

  #refuse(code: string, detail: string, status = 409): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#stallTimer?.cancel();
    this.#queue.length = 0;
    // While an operation runs, its callback aborts: an import is never aborted under its own feet.
    if (!this.#isWorking) this.#import?.abort();
    this.#listener.onDone({status, code, detail}, this.#meta, null);
  }
}

function decodeSnapshotMeta(payload: Buffer): CheckpointMeta {
  const reader = new ByteReader(payload);
  const index = logIndex(reader.u64());
  const termOfIndex = term(reader.u64());
  const membership = decodeMembership(reader.rawView(reader.remaining));
  return {index, term: termOfIndex, membership};
}
