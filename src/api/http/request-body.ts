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
/** The first room for a body of unknown length. */
const grownSizeBytesMin = 1024;

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
  /** Its only piece, or a copy of the pieces so far, and room for more. */
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
    if (!this.#keep(chunk)) {
      this.#drop();
      return;
    }
    if (this.#sizeBytes >= pacedSizeBytesMin) this.#pace(chunk.length);
  }

  /**
   * False: no memory is left. That of an announced body was held before, and is taken once there is
   * more than a bit. Others grow: a piece that is kept as it came costs hundreds of bytes, and a
   * client may send a byte at a time.
   */
  #keep(chunk: Buffer): boolean {
    const {contentLength} = this.#exchange.headers;
    if (chunk.length === contentLength) {
      this.#target = chunk;
      return true;
    }
    const before = this.#sizeBytes - chunk.length;
    if (this.#target === null || this.#target.length < this.#sizeBytes) {
      const capacity = contentLength ?? this.#capacityFor(this.#sizeBytes);
      if (!this.hold(capacity)) return false;
      const target = Buffer.allocUnsafeSlow(capacity);
      this.#target?.copy(target, 0, 0, before);
      this.#target = target;
    }
    chunk.copy(this.#target, before);
    return true;
  }

  /** Twice as much each time, so that a body is copied a bounded number of times. */
  #capacityFor(sizeBytes: number): number {
    const doubled = 2 * (this.#target?.length ?? 0);
    const wanted = Math.max(sizeBytes, doubled, grownSizeBytesMin);
    return Math.min(wanted, this.#limit.sizeBytesMax);
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
    return this.#target?.subarray(0, this.#sizeBytes) ?? asBuffer(emptyBytes);
  }

  #drop(): void {
    this.#target = null;
    if (this.#heldSizeBytes > 0) this.#exchange.release(this.#heldSizeBytes);
    this.#heldSizeBytes = 0;
  }
}

function tooLarge(limit: BodyLimit): RosettaError {
  return new RosettaError(limit.code, `the body is larger than ${limit.sizeBytesMax} bytes`);
}
