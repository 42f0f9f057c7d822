/**
 * Reads a request body into one buffer, bounded: by Content-Length before the first byte is kept,
 * and by count while the bytes arrive. A client that goes away simply never calls back.
 *
 * Large bodies share a budget of bytes a turn, for reading them and again for what is done with a
 * whole one: many clients that send megabytes at once would otherwise stop the event loop, and
 * heartbeats with it, for as long as all of them take together.
 */
import {Buffer} from 'node:buffer';
import {RosettaError, type ErrorCode} from '../../base/errors.ts';
import {emptyBytes, asBuffer} from '../../base/bytes.ts';
import {uncountedSizeBytesMax} from './buffer-budget.ts';
import type {Exchange} from './exchange.ts';

/** Smaller bodies are no bulk: they neither wait nor make others wait. */
const pacedSizeBytesMin = 16 * 1024;

export interface BodyLimit {
  readonly sizeBytesMax: number;
  /** The code of a larger body. */
  readonly code: ErrorCode;
}

/**
 * `onBody` gets the bytes, valid while it runs; a RosettaError it throws becomes the answer.
 * Refusals are answered here.
 */
export function readBody(
  exchange: Exchange,
  limit: BodyLimit,
  onBody: (body: Buffer) => void,
): void {
  const announced = exchange.headers.contentLength ?? 0;
  if (announced > limit.sizeBytesMax) {
    exchange.fail(tooLarge(limit));
    return;
  }
  const reader = new BodyReader(exchange, limit, onBody);
  if (!reader.hold(announced)) return;
  exchange.invite();
  reader.start();
}

/**
 * For a write that has no use for a body: nothing is done before the request is whole. A body that
 * breaks off is refused as definite, so the write must not have begun.
 */
export function awaitEnd(exchange: Exchange, onEnd: () => void): void {
  readBody(exchange, uselessBodyLimit, onEnd);
}

const uselessBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;

class BodyReader {
  readonly #exchange: Exchange;
  readonly #limit: BodyLimit;
  readonly #onBody: (body: Buffer) => void;
  /** Of a body without announced length, or of one that came in one piece. */
  #chunks: Buffer[] = [];
  /** Of a body of announced length, when it comes in several pieces. */
  #target: Buffer | null = null;
  #sizeBytes = 0;
  #heldSizeBytes = 0;

  constructor(exchange: Exchange, limit: BodyLimit, onBody: (body: Buffer) => void) {
    this.#exchange = exchange;
    this.#limit = limit;
    this.#onBody = onBody;
  }

  hold(sizeBytes: number): boolean {
    const needed = sizeBytes - this.#heldSizeBytes;
    if (sizeBytes <= uncountedSizeBytesMax || needed <= 0) return true;
    if (!this.#exchange.hold(needed)) return false;
    this.#heldSizeBytes = sizeBytes;
    return true;
  }

  start(): void {
    this.#exchange.wire.readBody(
      chunk => this.#onData(chunk),
      () => this.#onEnd(),
    );
  }

  #onData(chunk: Buffer): void {
    if (this.#exchange.isAnswered) return;
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > this.#limit.sizeBytesMax) {
      this.#drop();
      this.#exchange.fail(tooLarge(this.#limit));
      return;
    }
    if (!this.hold(this.#sizeBytes)) {
      this.#drop();
      return;
    }
    this.#keep(chunk);
    if (this.#sizeBytes >= pacedSizeBytesMin) this.#pace(chunk.length);
  }

  /** The memory of an announced body was held before; it is taken once there is more than a bit. */
  #keep(chunk: Buffer): void {
    const {contentLength} = this.#exchange.headers;
    if (contentLength === undefined || chunk.length === contentLength) {
      this.#chunks.push(chunk);
      return;
    }
    this.#target ??= Buffer.allocUnsafeSlow(contentLength);
    chunk.copy(this.#target, this.#sizeBytes - chunk.length);
  }

  /** What the kernel does not take any more waits with the client. */
  #pace(sizeBytes: number): void {
    const {wire, context} = this.#exchange;
    if (!context.turnBudget.spend(sizeBytes) || wire.isComplete) return;
    wire.pauseBody();
    context.turnBudget.defer(sizeBytes, () => wire.resumeBody());
  }

  #onEnd(): void {
    const {turnBudget} = this.#exchange.context;
    const size = this.#sizeBytes;
    if (size < pacedSizeBytesMin || !turnBudget.isSpent) {
      if (size >= pacedSizeBytesMin) turnBudget.spend(size);
      this.#finish();
    } else {
      turnBudget.defer(size, () => this.#finish());
    }
  }

  #finish(): void {
    if (this.#exchange.isAnswered) return;
    const body = this.#body();
    this.#drop();
    try {
      this.#onBody(body);
    } catch (error) {
      this.#exchange.fail(error);
    }
  }

  #body(): Buffer {
    if (this.#target !== null) return this.#target.subarray(0, this.#sizeBytes);
    const [first = asBuffer(emptyBytes)] = this.#chunks;
    return this.#chunks.length <= 1 ? first : Buffer.concat(this.#chunks);
  }

  #drop(): void {
    this.#chunks = [];
    this.#target = null;
    if (this.#heldSizeBytes > 0) this.#exchange.release(this.#heldSizeBytes);
    this.#heldSizeBytes = 0;
  }
}

function tooLarge(limit: BodyLimit): RosettaError {
  return new RosettaError(limit.code, `the body is larger than ${limit.sizeBytesMax} bytes`);
}
