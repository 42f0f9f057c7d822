/**
 * Reads the answers of one HTTP/1.1 connection from its bytes (RFC 9112), one answer at a time:
 * a head, then a body by Content-Length, in chunks, or up to the end of the connection. What could
 * be read in two ways is refused, and the connection with it.
 */
import {Buffer} from 'node:buffer';

export class AnswerHead {
  readonly status: number;
  /** Status line and header lines, separated by CRLF. */
  readonly #text: string;
  #lowerText: string | null = null;

  constructor(text: string) {
    this.#text = text;
    this.status = Number(text.slice(9, 12));
  }

  /** `name` in lower case. The first of several. */
  header(name: string): string | null {
    this.#lowerText ??= this.#text.toLowerCase();
    const at = this.#lowerText.indexOf(`\r\n${name}:`);
    if (at < 0) return null;
    const start = at + name.length + 3;
    const end = this.#text.indexOf('\r\n', start);
    return this.#text.slice(start, end < 0 ? undefined : end).trim();
  }
}

export interface AnswerHandler {
  onHead(head: AnswerHead): void;
  /** A view; copy what is kept. */
  onBody(bytes: Buffer): void;
  /** `isReusable`: the connection may carry another request. */
  onEnd(isReusable: boolean): void;
}

export class MalformedAnswer extends Error {
  override readonly name = 'MalformedAnswer';
}

type Part = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer' | 'close' | 'done';

const headSizeBytesMax = 64 * 1024;
const nothing: Buffer = Buffer.alloc(0);

export class AnswerReader {
  readonly #handler: AnswerHandler;
  #part: Part = 'done';
  /** Of a line or head that is not complete. */
  #held = nothing;
  /** Bytes of the body, or of the chunk, that are still to come. */
  #remaining = 0;
  #isReusable = true;

  constructor(handler: AnswerHandler) {
    this.#handler = handler;
  }

  /** A request was sent: an answer may come. */
  expect(): void {
    this.#part = 'head';
    this.#isReusable = true;
  }

  /** Throws MalformedAnswer. */
  feed(received: Buffer): void {
    let bytes = this.#held.length === 0 ? received : Buffer.concat([this.#held, received]);
    this.#held = nothing;
    while (bytes.length > 0) {
      const used = this.#step(bytes);
      if (used === 0) {
        if (bytes.length > headSizeBytesMax) throw new MalformedAnswer('a head without end');
        this.#held = bytes;
        return;
      }
      bytes = bytes.subarray(used);
    }
  }

  /** The other side sends no more. True when that ends the answer as it should. */
  finish(): boolean {
    if (this.#part !== 'close') return false;
    this.#end();
    return true;
  }

  /** Reads one part of `bytes` and returns how much that was; 0: more is needed. */
  #step(bytes: Buffer): number {
    switch (this.#part) {
      case 'head':
        return this.#readHead(bytes);
      case 'length':
      case 'chunk':
        return this.#readBody(bytes);
      case 'chunk-size':
        return this.#readChunkSize(bytes);
      case 'chunk-end':
        return this.#readChunkEnd(bytes);
      case 'trailer':
        return this.#readTrailer(bytes);
      case 'close':
        this.#handler.onBody(bytes);
        return bytes.length;
      case 'done':
        throw new MalformedAnswer('bytes that no request asked for');
    }
  }

  #readHead(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) return 0;
    const text = bytes.toString('latin1', 0, end);
    if (!/^HTTP\/1\.[01] [1-5][0-9]{2}(?: |\r\n|$)/.test(text)) {
      throw new MalformedAnswer('the answer is not HTTP/1.1');
    }
    const head = new AnswerHead(text);
    const used = end + 4;
    // An interim answer: the real one follows.
    if (head.status < 200) return used;
    this.#isReusable = text.startsWith('HTTP/1.1') && !asksToClose(head);
    this.#handler.onHead(head);
    this.#enterBody(head);
    return used;
  }

  #enterBody(head: AnswerHead): void {
    if (head.status === 204 || head.status === 304) {
      this.#end();
      return;
    }
    const coding = head.header('transfer-encoding');
    const length = head.header('content-length');
    if (coding !== null) {
      if (coding.toLowerCase() !== 'chunked' || length !== null) {
        throw new MalformedAnswer('the body of the answer has no clear length');
      }
      this.#part = 'chunk-size';
    } else if (length === null) {
      this.#isReusable = false;
      this.#part = 'close';
    } else {
      if (!/^[0-9]{1,15}$/.test(length)) throw new MalformedAnswer(`Content-Length: ${length}`);
      this.#remaining = Number(length);
      this.#part = 'length';
      if (this.#remaining === 0) this.#end();
    }
  }

  #readBody(bytes: Buffer): number {
    const used = Math.min(bytes.length, this.#remaining);
    this.#remaining -= used;
    this.#handler.onBody(used === bytes.length ? bytes : bytes.subarray(0, used));
    if (this.#remaining > 0) return used;
    if (this.#part === 'chunk') this.#part = 'chunk-end';
    else this.#end();
    return used;
  }

  #readChunkSize(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n');
    if (end < 0) return 0;
    const match = /^([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?$/.exec(bytes.toString('latin1', 0, end));
    if (match === null) throw new MalformedAnswer('a chunk without a size');
    this.#remaining = Number.parseInt(match[1] ?? '', 16);
    this.#part = this.#remaining === 0 ? 'trailer' : 'chunk';
    return end + 2;
  }

  #readChunkEnd(bytes: Buffer): number {
    if (bytes.length < 2) return 0;
    if (bytes[0] !== 0x0d || bytes[1] !== 0x0a) throw new MalformedAnswer('a chunk too long');
    this.#part = 'chunk-size';
    return 2;
  }

  #readTrailer(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n');
    if (end < 0) return 0;
    if (end === 0) this.#end();
    return end + 2;
  }

  #end(): void {
    this.#part = 'done';
    this.#handler.onEnd(this.#isReusable);
  }
}

function asksToClose(head: AnswerHead): boolean {
  return /(?:^|,)\s*close\s*(?:,|$)/i.test(head.header('connection') ?? '');
}
