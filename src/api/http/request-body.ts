/**
 * Reads a request body into one buffer, bounded: by Content-Length before the first byte is kept,
 * and by count while the bytes arrive. A client that goes away simply never calls back.
 */
import {RosettaError, type ErrorCode} from '../../base/errors.ts';
import {emptyBytes, asBuffer} from '../../base/bytes.ts';
import {uncountedSizeBytesMax} from './buffer-budget.ts';
import type {Exchange} from './exchange.ts';

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

class BodyReader {
  readonly #exchange: Exchange;
  readonly #limit: BodyLimit;
  readonly #onBody: (body: Buffer) => void;
  #first: Buffer | null = null;
  #later: Buffer[] | null = null;
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
    const {request} = this.#exchange;
    request.on('data', (chunk: Buffer) => this.#onData(chunk));
    request.on('end', () => this.#onEnd());
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
    if (this.#first === null) this.#first = chunk;
    else if (this.#later === null) this.#later = [this.#first, chunk];
    else this.#later.push(chunk);
  }

  #onEnd(): void {
    if (this.#exchange.isAnswered) return;
    const body =
      this.#later === null ? (this.#first ?? asBuffer(emptyBytes)) : Buffer.concat(this.#later);
    this.#drop();
    try {
      this.#onBody(body);
    } catch (error) {
      this.#exchange.fail(error);
    }
  }

  #drop(): void {
    this.#first = null;
    this.#later = null;
    if (this.#heldSizeBytes > 0) this.#exchange.release(this.#heldSizeBytes);
    this.#heldSizeBytes = 0;
  }
}

function tooLarge(limit: BodyLimit): RosettaError {
  return new RosettaError(limit.code, `the body is larger than ${limit.sizeBytesMax} bytes`);
}
