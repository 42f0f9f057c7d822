/**
 * A client connection whose requests are all plain (plain-request.ts), read and answered on the
 * socket itself: a request costs 6 µs here where node:http takes 15. It is also the Wire of the
 * request being answered; there is one at a time, so pipelined requests are answered in order.
 *
 * With the first byte that is not plain the connection goes to node:http and stays there: between
 * two requests, with every byte that no request has taken.
 */
import {Buffer} from 'node:buffer';
import type {Socket} from 'node:net';
import {assert, AssertionError} from '../../base/assert.ts';
import {asBuffer, emptyBytes} from '../../base/bytes.ts';
import {uncountedSizeBytesMax, type BufferBudget} from './buffer-budget.ts';
import {headText} from './answer-head.ts';
import type {Arrivals} from './arrivals.ts';
import {answerClientError} from './connection-errors.ts';
import {HeadMemory} from './plain-head.ts';
import {readPlainRequest, type PlainRequest} from './plain-request.ts';
import type {Answer, Wire} from './wire.ts';

/** What all plain connections of a server share. */
export interface PlainHost {
  /** Monotonic clock. */
  readonly nowMs: () => number;
  /** The header lines that end every head: Date, then Connection and what goes with it. */
  readonly closingLines: (isKept: boolean) => string;
  readonly onRequest: (wire: Wire, request: PlainRequest) => void;
  /** Takes the socket over; `bytes` were received and not used. */
  readonly handOver: (socket: Socket, bytes: Buffer) => void;
  readonly budget: BufferBudget;
  readonly arrivals: Pick<Arrivals, 'goFirst' | 'defer'>;
  /** Times after which a connection is given up, by what it is doing. */
  readonly timeouts: {
    readonly headersTimeoutMs: number;
    readonly requestTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };
}

/** A request in more pieces than this comes too slowly to be worth the copies. */
const pieceCountMax = 32;
/** An answer up to this size is copied behind its head and leaves in one write. */
const copiedSizeBytesMax = 16 * 1024;
const nothing = asBuffer(emptyBytes);

type Doing = 'waiting' | 'receiving-head' | 'receiving-body' | 'answering' | 'ended';

export class PlainConnection implements Wire {
  readonly socket: Socket;
  readonly #host: PlainHost;
  readonly #onLeft: () => void;
  readonly #headMemory = new HeadMemory();
  #doing: Doing = 'receiving-head';
  /** Received and not yet taken by a request. */
  #unread = nothing;
  /** Of an incomplete request, in the memory budget. */
  #heldSizeBytes = 0;
  /** Pieces that #unread was put together from. */
  #pieceCount = 0;
  /** What was received waits for connections that go first. */
  #isDeferred = false;
  /** Guards #readOn against itself: an answer may be given before its request was left. */
  #isReadingOn = false;
  #request: PlainRequest | null = null;
  #body = nothing;
  #onceSent: (() => void) | null = null;
  /** The client sends no more. */
  #isHalfClosed = false;
  /** When the present request, or the wait for the first one, began. */
  #startedAtMs: number;
  /** Bytes moved in both directions and when that was last seen to grow. */
  #movedSizeBytes = 0;
  #movedAtMs: number;
  #isTimedBySocket = false;

  /** `onLeft` is called once, when the socket is closed or node:http's. */
  constructor(socket: Socket, host: PlainHost, onLeft: () => void) {
    this.socket = socket;
    this.#host = host;
    this.#onLeft = onLeft;
    this.#startedAtMs = host.nowMs();
    this.#movedAtMs = this.#startedAtMs;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('timeout', this.#onError);
  }

  get method(): string {
    return this.#request?.method ?? '';
  }

  get isGone(): boolean {
    return this.socket.destroyed;
  }

  get isComplete(): boolean {
    return true;
  }

  /** No request is being received or answered, and the last answer has left this process. */
  get isIdle(): boolean {
    if (this.#doing !== 'waiting' || this.#unread.length > 0) return false;
    return this.socket.writableLength === 0;
  }

  /** Nothing was ever received. */
  get isSilent(): boolean {
    return this.#doing === 'receiving-head' && this.#unread.length === 0;
  }

  /** A request with an expectation is not plain. */
  invite(): void {
    assert(false, 'a plain request awaits no invitation');
  }

  readBody(onChunk: (chunk: Buffer) => void, onEnd: () => void): void {
    const body = this.#body;
    // Whoever keeps the body counts it.
    this.#body = nothing;
    if (body.length > 0) onChunk(body);
    onEnd();
  }

  /** A plain request has its body whole. */
  pauseBody(): void {
    assert(false, 'nothing is still to come');
  }

  resumeBody(): void {
    assert(false, 'nothing was made to wait');
  }

  onceSent(callback: () => void): void {
    this.#onceSent = callback;
  }

  send(answer: Answer): void {
    assert(this.#doing === 'answering', 'an answer has its request');
    const isLast = this.#request?.wantsClose === true || this.#hasNoMore();
    const isKept = answer.ending === 'keep' && !isLast;
    this.#write(answer, headText(answer) + this.#host.closingLines(isKept));
    this.#request = null;
    this.#body = nothing;
    if (!isKept) {
      this.#end();
      return;
    }
    // A client that does not read its answers gets no further ones made.
    if (this.socket.writableNeedDrain) this.socket.once('drain', this.#onSent);
    else this.#onSent();
  }

  /** A request whose answer is a stream is not plain. */
  stream(): never {
    throw new AssertionError('a plain connection streams no answers');
  }

  /** Gives the connection up if it has been doing the same for too long. */
  checkTime(nowMs: number): void {
    const {timeouts} = this.#host;
    const isLeaving = this.socket.writableLength > 0;
    this.#timeBySocket(isLeaving);
    const movedSizeBytes = this.socket.bytesRead + this.socket.bytesWritten;
    if (isLeaving || movedSizeBytes !== this.#movedSizeBytes) {
      this.#movedSizeBytes = movedSizeBytes;
      this.#movedAtMs = nowMs;
    } else if (nowMs - this.#movedAtMs >= timeouts.idleTimeoutMs) {
      this.socket.destroy();
      return;
    }
    // What it waits for is here; nobody has looked at what arrived.
    if (this.#isDeferred) return;
    switch (this.#doing) {
      case 'receiving-head':
        if (nowMs - this.#startedAtMs >= timeouts.headersTimeoutMs) this.#refuseAsSlow();
        return;
      case 'receiving-body':
        if (nowMs - this.#startedAtMs >= timeouts.requestTimeoutMs) this.#refuseAsSlow();
        return;
      case 'waiting':
        if (nowMs - this.#movedAtMs >= timeouts.keepAliveTimeoutMs) this.socket.destroy();
        return;
      case 'answering':
      case 'ended':
    }
  }

  /**
   * While an answer leaves: how far it is, only the socket knows, which counts what it was given as
   * written. It gives the connection up when nothing of it has left for the idle time.
   */
  #timeBySocket(isLeaving: boolean): void {
    if (isLeaving === this.#isTimedBySocket) return;
    this.#isTimedBySocket = isLeaving;
    this.socket.setTimeout(isLeaving ? this.#host.timeouts.idleTimeoutMs : 0);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#doing === 'ended') return;
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    this.#pieceCount += 1;
    if (this.#doing !== 'answering' && !this.#mustDefer()) {
      this.#readOn();
      return;
    }
    this.#countUnread();
    if (this.#unread.length > uncountedSizeBytesMax) this.socket.pause();
  };

  #mustDefer(): boolean {
    const {arrivals} = this.#host;
    if (!this.#isDeferred && arrivals.goFirst) {
      this.#isDeferred = true;
      arrivals.defer(this.#onDeferred);
    }
    return this.#isDeferred;
  }

  readonly #onDeferred = (): void => {
    this.#isDeferred = false;
    if (this.#doing !== 'answering' && this.#doing !== 'ended') this.#goOn();
  };

  readonly #onEnd = (): void => {
    this.#isHalfClosed = true;
    if (this.#doing === 'answering') return;
    if (this.#unread.length > 0) this.#readOn();
    else this.#end();
  };

  readonly #onError = (): void => {
    this.socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#doing = 'ended';
    this.#onLeft();
    this.#sent();
  };

  readonly #onSent = (): void => {
    if (this.#doing !== 'answering') return;
    this.#sent();
    this.#doing = 'waiting';
    // Answered inside #readOn: its loop goes on, and its caller decides about the socket.
    if (this.#isReadingOn) return;
    if (this.#hasNoMore()) {
      this.#end();
      return;
    }
    this.#goOn();
  };

  #goOn(): void {
    if (this.#unread.length > 0) this.#readOn();
    if (this.socket.isPaused() && this.#mayReceive()) this.socket.resume();
  }

  /**
   * Answering a small request makes no room for the next large piece behind it; an incomplete one
   * needs the piece.
   */
  #mayReceive(): boolean {
    if (this.#doing === 'ended') return false;
    return this.#doing !== 'answering' || this.#unread.length <= uncountedSizeBytesMax;
  }

  /** Takes request after request from what has been received. */
  #readOn(): void {
    if (this.#isReadingOn) return;
    this.#isReadingOn = true;
    while (this.#unread.length > 0 && this.#doing !== 'answering' && this.#doing !== 'ended') {
      const request = readPlainRequest(this.#unread, this.#headMemory);
      if (typeof request === 'object') this.#take(request);
      else if (this.#isHalfClosed) this.#refuse('HPE_INVALID_EOF_STATE');
      else if (request === 'other' || !this.#mayWait()) this.#handOver();
      else {
        this.#waitForMore(request === 'part-of-head' ? 'receiving-head' : 'receiving-body');
        break;
      }
    }
    this.#isReadingOn = false;
  }

  #take(request: PlainRequest): void {
    this.#doing = 'answering';
    this.#request = request;
    this.#body = this.#unread.subarray(request.bodyStart, request.end);
    this.#unread = restOf(this.#unread, request.end);
    this.#pieceCount = 0;
    this.#countUnread();
    this.#host.onRequest(this, request);
  }

  /** A slower request, or one that the memory budget has no room for, is node:http's. */
  #mayWait(): boolean {
    return this.#pieceCount <= pieceCountMax && this.#countUnread();
  }

  /** False: the budget has no room for what waits here. */
  #countUnread(): boolean {
    const size = this.#unread.length;
    return this.#hold(size <= uncountedSizeBytesMax ? 0 : size);
  }

  /** Counts so much of what waits here; false when there is no room for it. */
  #hold(sizeBytes: number): boolean {
    const {budget} = this.#host;
    const more = sizeBytes - this.#heldSizeBytes;
    if (more > 0 && budget.hold(this.socket, more) !== 'held') return false;
    if (more < 0) budget.release(this.socket, -more);
    this.#heldSizeBytes = sizeBytes;
    return true;
  }

  #waitForMore(doing: 'receiving-head' | 'receiving-body'): void {
    if (this.#doing === 'waiting') this.#startedAtMs = this.#host.nowMs();
    this.#doing = doing;
  }

  #handOver(): void {
    const {socket} = this;
    this.#doing = 'ended';
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.off('timeout', this.#onError);
    this.#timeBySocket(false);
    const bytes = this.#unread;
    this.#unread = nothing;
    this.#hold(0);
    this.#onLeft();
    this.#host.handOver(socket, bytes);
  }

  #hasNoMore(): boolean {
    return this.#isHalfClosed && this.#unread.length === 0;
  }

  #write(answer: Answer, head: string): void {
    const {body, sizeBytes} = answer;
    const {socket} = this;
    if (body === null) {
      socket.write(head, 'latin1');
    } else if (typeof body === 'string') {
      // As many bytes as characters: ASCII, for which the short way to the socket is right.
      socket.write(head + body, body.length === sizeBytes ? 'latin1' : 'utf8');
    } else if (body instanceof Uint8Array && sizeBytes <= copiedSizeBytesMax) {
      const bytes = Buffer.allocUnsafe(head.length + sizeBytes);
      bytes.write(head, 'latin1');
      bytes.set(body, head.length);
      socket.write(bytes);
    } else {
      socket.cork();
      socket.write(head, 'latin1');
      if (body instanceof Uint8Array) socket.write(body);
      else for (const chunk of body) socket.write(chunk);
      socket.uncork();
    }
  }

  #sent(): void {
    const callback = this.#onceSent;
    this.#onceSent = null;
    callback?.();
  }

  /** Closes behind what was written; a peer that does not close its side is not waited for. */
  #end(): void {
    this.#doing = 'ended';
    this.socket.end();
    this.socket.once('finish', () => this.socket.destroy());
  }

  #refuseAsSlow(): void {
    this.#refuse('ERR_HTTP_REQUEST_TIMEOUT');
  }

  #refuse(code: string): void {
    this.#doing = 'ended';
    answerClientError(Object.assign(new Error(code), {code}), this.socket);
  }
}

/** A small rest does not keep the large piece it came with. */
function restOf(bytes: Buffer, start: number): Buffer {
  if (start === bytes.length) return nothing;
  const rest = bytes.subarray(start);
  const isSmallPart = rest.length <= uncountedSizeBytesMax && bytes.length > uncountedSizeBytesMax;
  return isSmallPart ? Buffer.from(rest) : rest;
}
