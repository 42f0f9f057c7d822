/**
 * The sender for Node: HTTP/1.1 on kept connections, a request at a time on each. It costs a third
 * of node:http's client (docs/experiments.md), which matters where the client shares a machine with
 * the store. Streams have a connection of their own.
 */
import {Buffer} from 'node:buffer';
import type {AnswerHead} from './answer-reader.ts';
import {clientLimits} from './client-options.ts';
import {
  SendError,
  type HttpAnswer,
  type HttpRequest,
  type HttpSender,
  type HttpStream,
  type SendFailure,
  type SendLimits,
} from './http-sender.ts';
import {SocketConnection, type Exchange} from './socket-connection.ts';

/** Shorter than a node's 65 s, so that it is this side that closes an idle connection. */
const idleMsMax = 30_000;
const sweepIntervalMs = 5_000;
/** Of a stream, received and not read, before the socket is paused. */
const streamBufferSizeBytesMax = 256 * 1024;

export class SocketSender implements HttpSender {
  readonly #connectionCountMax: number;
  readonly #pools = new Map<string, Pool>();
  readonly #streams = new Set<SocketConnection>();
  #sweepTimer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(connectionCountMax: number) {
    this.#connectionCountMax = connectionCountMax;
  }

  send(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(closedError());
        return;
      }
      this.#pool(origin).run(new PlainExchange(request, options, resolve, reject));
    });
  }

  open(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpStream> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(closedError());
        return;
      }
      const connection = new SocketConnection(
        new URL(origin),
        free => free.abandon('cut', 'the stream has ended'),
        closed => this.#streams.delete(closed),
      );
      this.#streams.add(connection);
      const exchange = new StreamExchange(request, connection, options, resolve, reject);
      connection.carry(exchange);
    });
  }

  close(): void {
    this.#isClosed = true;
    if (this.#sweepTimer !== null) clearInterval(this.#sweepTimer);
    for (const pool of this.#pools.values()) pool.close();
    for (const connection of [...this.#streams]) {
      connection.abandon('closed', 'the client was closed');
    }
  }

  #pool(origin: string): Pool {
    const known = this.#pools.get(origin);
    if (known !== undefined) return known;
    const pool = new Pool(new URL(origin), this.#connectionCountMax);
    this.#pools.set(origin, pool);
    this.#sweepTimer ??= setInterval(() => {
      for (const each of this.#pools.values()) each.closeIdle();
    }, sweepIntervalMs).unref();
    return pool;
  }
}

function closedError(): SendError {
  return new SendError('closed', 'the client was closed', {mayHaveArrived: false});
}

/** The connections to one endpoint, and the requests that wait for one. */
class Pool {
  readonly #url: URL;
  readonly #connectionCountMax: number;
  readonly #all = new Set<SocketConnection>();
  /** The one used last is used next, so that the others can go. */
  readonly #idle: SocketConnection[] = [];
  readonly #waiting = new Set<PlainExchange>();

  constructor(url: URL, connectionCountMax: number) {
    this.#url = url;
    this.#connectionCountMax = connectionCountMax;
  }

  run(exchange: PlainExchange): void {
    const idle = this.#idle.pop();
    if (idle !== undefined) exchange.begin(idle);
    else if (this.#all.size < this.#connectionCountMax) exchange.begin(this.#open());
    else {
      this.#waiting.add(exchange);
      exchange.onceSettled = () => this.#waiting.delete(exchange);
    }
  }

  closeIdle(): void {
    const before = performance.now() - idleMsMax;
    for (const connection of [...this.#idle]) {
      if (connection.idleSinceMs < before) connection.abandon('cut', 'idle');
    }
  }

  close(): void {
    for (const exchange of [...this.#waiting]) exchange.onError(closedError());
    for (const connection of [...this.#all]) {
      connection.abandon('closed', 'the client was closed');
    }
  }

  #open(): SocketConnection {
    const connection = new SocketConnection(this.#url, this.#onFree, this.#onClose);
    this.#all.add(connection);
    return connection;
  }

  readonly #onFree = (connection: SocketConnection): void => {
    const next = this.#takeWaiting();
    if (next !== null) {
      next.begin(connection);
      return;
    }
    connection.idleSinceMs = performance.now();
    this.#idle.push(connection);
  };

  readonly #onClose = (connection: SocketConnection): void => {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    const next = this.#takeWaiting();
    if (next !== null) next.begin(this.#open());
  };

  #takeWaiting(): PlainExchange | null {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      return next;
    }
    return null;
  }
}

/** What both kinds of exchange share: a time limit and the caller's signal. */
class Guard {
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: () => void;

  constructor({signal, timeoutMs}: SendLimits, give: (failure: SendFailure, why: string) => void) {
    this.#timer = setTimeout(
      give,
      timeoutMs,
      'timeout',
      `no answer within ${Math.ceil(timeoutMs)} ms`,
    );
    this.#signal = signal;
    this.#onAbort = () => give('aborted', 'the signal fired');
    signal?.addEventListener('abort', this.#onAbort, {once: true});
  }

  disarmTimer(): void {
    clearTimeout(this.#timer);
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

class PlainExchange implements Exchange {
  readonly request: HttpRequest;
  onceSettled: (() => void) | null = null;
  readonly #resolve: (answer: HttpAnswer) => void;
  readonly #reject: (error: SendError) => void;
  readonly #guard: Guard;
  #connection: SocketConnection | null = null;
  #head: AnswerHead | null = null;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;

  constructor(
    request: HttpRequest,
    options: SendLimits,
    resolve: (answer: HttpAnswer) => void,
    reject: (error: SendError) => void,
  ) {
    this.request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#guard = new Guard(options, (failure, why) => {
      if (this.#connection !== null) this.#connection.abandon(failure, why);
      else this.onError(new SendError(failure, why, {mayHaveArrived: false}));
    });
  }

  begin(connection: SocketConnection): void {
    this.#connection = connection;
    connection.carry(this);
  }

  onHead(head: AnswerHead): void {
    this.#head = head;
  }

  onBody(bytes: Buffer): void {
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes > clientLimits.answerSizeBytesMax) {
      this.#connection?.abandon('malformed', 'the answer is too large for a node of Rosetta');
      return;
    }
    this.#pieces.push(bytes);
  }

  onEnd(): void {
    this.#guard.release();
    const head = this.#head;
    const [first, ...others] = this.#pieces;
    const bytes = others.length === 0 ? first : Buffer.concat(this.#pieces);
    this.#resolve({
      status: head?.status ?? 0,
      header: name => head?.header(name) ?? null,
      body: bytes?.toString('utf8') ?? '',
    });
  }

  onError(error: SendError): void {
    this.#guard.release();
    this.onceSettled?.();
    this.#reject(error);
  }
}

class StreamExchange implements Exchange, HttpStream {
  readonly request: HttpRequest;
  status = 0;
  readonly #connection: SocketConnection;
  readonly #resolve: (stream: HttpStream) => void;
  readonly #reject: (error: SendError) => void;
  readonly #guard: Guard;
  #head: AnswerHead | null = null;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #end: 'ended' | SendError | null = null;
  #wake: (() => void) | null = null;

  constructor(
    request: HttpRequest,
    connection: SocketConnection,
    options: SendLimits,
    resolve: (stream: HttpStream) => void,
    reject: (error: SendError) => void,
  ) {
    this.request = request;
    this.#connection = connection;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#guard = new Guard(options, (failure, why) => connection.abandon(failure, why));
  }

  get chunks(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  header(name: string): string | null {
    return this.#head?.header(name) ?? null;
  }

  close(): void {
    this.#connection.abandon('closed', 'the stream was closed');
  }

  onHead(head: AnswerHead): void {
    this.#guard.disarmTimer();
    this.#head = head;
    this.status = head.status;
    this.#resolve(this);
  }

  onBody(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes > streamBufferSizeBytesMax) this.#connection.pause();
    this.#wake?.();
  }

  onEnd(): void {
    this.#finish('ended');
  }

  onError(error: SendError): void {
    if (this.#head === null) this.#reject(error);
    this.#finish(error);
  }

  #finish(end: 'ended' | SendError): void {
    this.#guard.release();
    this.#end = end;
    this.#wake?.();
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const pieces = this.#pieces;
      this.#pieces = [];
      this.#sizeBytes = 0;
      this.#connection.resume();
      yield* pieces;
      if (this.#pieces.length > 0) continue;
      if (this.#end === 'ended') return;
      if (this.#end !== null) throw this.#end;
      await new Promise<void>(resolve => (this.#wake = resolve));
      this.#wake = null;
    }
  }
}
