/**
 * The other end of a snapshot stream: frames of a request body into a SnapshotImport. A few blocks
 * are on their way to it at a time, everything else alone, and the request is paused when no more
 * may be. A stream that breaks off leaves an import that another one may continue; whatever else
 * goes wrong, the import is aborted exactly once.
 */
import type {Buffer} from 'node:buffer';
import type {IncomingMessage, ServerResponse} from 'node:http';
import {ByteReader, MalformedBytesError} from '../base/bytes.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {CheckpointMeta, SnapshotImport} from '../storage/checkpoint-store.ts';
import {encodePosition} from '../storage/snapshot-position.ts';
import type {FrameKind} from './frame.ts';
import {encodeFrame, FrameParser} from './frame.ts';
import {decodeOffer, encodeRefusal} from './snapshot-frames.ts';
import type {Refusal, SnapshotOffer} from './transport.ts';

export interface SnapshotReceiverListener {
  /** Null: not wanted. */
  onOffer(offer: SnapshotOffer): SnapshotImport | null;
  /** The import is sound as far as it goes. */
  onBroken(snapshot: SnapshotImport): void;
  onReceived(meta: CheckpointMeta, snapshot: SnapshotImport): void;
  /** Once, whatever came before it. The refusal has to be told only when `mustTell`. */
  onEnd(refusal: Refusal | null, mustTell: boolean): void;
}

interface Piece {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

/**
 * Blocks that the import has not answered for: enough that neither side waits for the other's turn,
 * few enough for memory.
 */
const blocksUnderWayMax = 4;

/** What happens to the import when the operations on it, if there are any, have ended. */
type Fate = 'abort' | 'keep';

export class SnapshotReceiver {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #listener: SnapshotReceiverListener;
  readonly #parser: FrameParser;
  /** Frames of the chunks read before the pause took effect. */
  readonly #queue: Piece[] = [];
  #meta: CheckpointMeta | null = null;
  #import: SnapshotImport | null = null;
  #blockCount = 0;
  /** Operations of the import that are under way, and how many of their kind may be. */
  #workingCount = 0;
  #workingCountMax = 0;
  /** One of them has failed. */
  #hasFailed = false;
  /** The last frame has been taken. */
  #hasEnd = false;
  #hasBodyEnded = false;
  #isFinishing = false;
  /** Nothing more is taken from the stream. */
  #fate: Fate | null = null;
  #isOver = false;
  /** Its turn has come: the stream before it is over. */
  #isStarted = false;
  #stallTimer: Timer | null = null;
  readonly #overCallbacks: (() => void)[] = [];

  constructor(
    exchange: {readonly request: IncomingMessage; readonly response: ServerResponse},
    clock: Clock,
    listener: SnapshotReceiverListener,
  ) {
    this.#request = exchange.request;
    this.#response = exchange.response;
    this.#clock = clock;
    this.#listener = listener;
    this.#parser = new FrameParser((kind, payload) => {
      this.#queue.push({kind, payload});
      return this.#fate === null;
    });
  }

  start(): void {
    this.#isStarted = true;
    if (this.#fate !== null) {
      // Another stream came before this one's turn did.
      this.#end(null, false);
      return;
    }
    const request = this.#request;
    request.on('error', () => this.#breakOff());
    request.on('close', () => {
      // The import of a complete body goes on: what is received is worth keeping.
      if (!this.#hasBodyEnded) this.#breakOff();
    });
    if (request.destroyed) {
      this.#breakOff();
      return;
    }
    this.#noteProgress();
    request.on('data', (chunk: Buffer) => {
      if (this.#fate !== null) return;
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

  /**
   * A newer stream of the same sender takes over: it knows that this one is broken before we do.
   * Calls back when this one is over, which may be at once.
   */
  supersede(callback: () => void): void {
    if (this.#isOver) {
      callback();
      return;
    }
    this.#overCallbacks.push(callback);
    if (!this.#isFinishing) this.#breakOff();
  }

  #work(): void {
    while (this.#fate === null) {
      const [piece] = this.#queue;
      const isBusy = this.#workingCount > 0 && this.#workingCount >= this.#workingCountMax;
      // Everything but a block waits for the blocks before it.
      const mustWait = this.#workingCount > 0 && piece !== undefined && !isBlock(piece);
      if (isBusy || mustWait) {
        this.#request.pause();
        return;
      }
      if (piece === undefined) {
        this.#request.resume();
        return;
      }
      this.#queue.shift();
      this.#take(piece);
    }
  }

  #take(piece: Piece): void {
    if (this.#hasEnd) {
      this.#malformed('goes on after its end');
      return;
    }
    if (piece.kind === 'snapshot-meta' && this.#meta === null) this.#onOffer(piece.payload);
    else if (piece.kind === 'snapshot-block' && this.#import !== null) {
      this.#onBlock(this.#import, piece.payload);
    } else if (piece.kind === 'snapshot-end' && this.#import !== null) {
      this.#onEndFrame(piece.payload);
    } else this.#malformed(`${piece.kind} frame out of place`);
  }

  #onOffer(payload: Buffer): void {
    let offer: SnapshotOffer;
    try {
      offer = decodeOffer(payload);
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      this.#malformed(error.message);
      return;
    }
    this.#meta = offer.meta;
    const snapshot = this.#listener.onOffer(offer);
    this.#import = snapshot;
    if (snapshot === null) {
      const detail = `a snapshot at index ${offer.meta.index} is of no use here`;
      this.#refuse('SNAPSHOT_NOT_WANTED', detail);
      return;
    }
    this.#step(1, done => {
      snapshot.begin((error, after) => {
        if (error === null && this.#fate === null) {
          this.#response.writeHead(200, {
            'content-type': 'application/octet-stream',
            connection: 'close',
          });
          this.#response.write(encodeFrame('snapshot-position', encodePosition(after)));
        }
        done(error);
      });
    });
  }

  #onBlock(snapshot: SnapshotImport, payload: Buffer): void {
    this.#blockCount += 1;
    this.#step(blocksUnderWayMax, done => snapshot.write(payload, done));
  }

  #onEndFrame(payload: Buffer): void {
    if (payload.length !== 4 || new ByteReader(payload).u32() !== this.#blockCount) {
      this.#malformed('wrong number of blocks');
      return;
    }
    this.#hasEnd = true;
    this.#maybeFinish();
  }

  #maybeFinish(): void {
    const snapshot = this.#import;
    if (!this.#hasEnd || !this.#hasBodyEnded || this.#fate !== null || snapshot === null) return;
    if (this.#isFinishing || this.#queue.length > 0) return;
    this.#isFinishing = true;
    this.#step(1, done => {
      snapshot.finish(error => {
        if (error === null && this.#fate === null) this.#complete(snapshot);
        else done(error);
      });
    });
  }

  /** Runs one operation of the import, beside at most `countMax` - 1 others of its kind. */
  #step(countMax: number, operation: (done: (error: Error | null) => void) => void): void {
    this.#workingCount += 1;
    this.#workingCountMax = countMax;
    // The import has its own time: a stall is a peer that sends nothing.
    this.#stallTimer?.cancel();
    operation(error => {
      this.#workingCount -= 1;
      if (error !== null) this.#hasFailed = true;
      if (this.#fate !== null) {
        if (this.#workingCount === 0) this.#settle(this.#hasFailed ? 'abort' : this.#fate);
        return;
      }
      if (error !== null) {
        this.#refuse('SNAPSHOT_FAILED', error.message);
        return;
      }
      this.#noteProgress();
      this.#work();
    });
  }

  #complete(snapshot: SnapshotImport): void {
    this.#workingCount = 0;
    this.#fate = 'keep';
    this.#stallTimer?.cancel();
    this.#request.resume();
    if (this.#meta !== null) this.#listener.onReceived(this.#meta, snapshot);
    if (!this.#response.destroyed) this.#response.end(encodeFrame('snapshot-accepted'));
    this.#end(null, false);
  }

  #noteProgress(): void {
    this.#stallTimer?.cancel();
    if (this.#fate !== null || this.#isFinishing || this.#workingCount > 0) return;
    this.#stallTimer = this.#clock.setTimer(limits.snapshotStallTimeoutMs, () => this.#breakOff());
  }

  #malformed(detail: string): void {
    this.#refuse('BAD_SNAPSHOT', `the snapshot stream ${detail}`, 400);
  }

  #refuse(code: string, detail: string, status = 409): void {
    if (this.#fate !== null) return;
    this.#leave('abort');
    const {headersSent, destroyed} = this.#response;
    if (headersSent && !destroyed) {
      this.#response.end(encodeFrame('snapshot-refused', encodeRefusal({code, detail})));
    }
    this.#end({status, code, detail}, !headersSent);
  }

  /** The connection is of no use any more; what arrived is. */
  #breakOff(): void {
    if (this.#fate !== null) return;
    this.#leave('keep');
    this.#response.destroy();
    // One that waits for its turn is over when that comes: whoever waits behind it waits for both.
    if (this.#isStarted && this.#workingCount === 0) this.#end(null, false);
  }

  #leave(fate: Fate): void {
    this.#fate = fate;
    this.#stallTimer?.cancel();
    this.#queue.length = 0;
    // While an operation runs, the last callback does it: nothing is done under its feet.
    if (this.#workingCount === 0) this.#settleImport(fate);
  }

  #settle(fate: Fate): void {
    this.#settleImport(fate);
    this.#end(null, false);
  }

  #settleImport(fate: Fate): void {
    const snapshot = this.#import;
    this.#import = null;
    if (snapshot === null) return;
    if (fate === 'abort') snapshot.abort();
    else this.#listener.onBroken(snapshot);
  }

  #end(refusal: Refusal | null, mustTell: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.onEnd(refusal, mustTell);
    for (const callback of this.#overCallbacks.splice(0)) callback();
  }
}

function isBlock(piece: Piece): boolean {
  return piece.kind === 'snapshot-block';
}
