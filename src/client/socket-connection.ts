/**
 * One connection to an endpoint: requests one after another, each with its answer. Whatever is not
 * as it should be ends the connection and with it the request that it carries.
 */
import {Buffer} from 'node:buffer';
import {connect as connectSocket, type Socket} from 'node:net';
import {connect as connectTls} from 'node:tls';
import {readableError} from '../base/network-error.ts';
import {
  AnswerReader,
  MalformedAnswer,
  type AnswerHead,
  type AnswerHandler,
} from './answer-reader.ts';
import {SendError, type HttpRequest, type SendFailure} from './http-sender.ts';

/** Who waits for the answer of one request. Exactly one of onEnd and onError is called, once. */
export interface Exchange {
  readonly request: HttpRequest;
  onHead(head: AnswerHead): void;
  /** A view; copy what is kept. */
  onBody(bytes: Buffer): void;
  onEnd(): void;
  onError(error: SendError): void;
}

/** A body up to this size leaves in one write with its head. */
const copiedSizeBytesMax = 16 * 1024;

export class SocketConnection implements AnswerHandler {
  readonly #socket: Socket;
  readonly #origin: string;
  readonly #hostLine: string;
  readonly #reader = new AnswerReader(this);
  readonly #onFree: (connection: SocketConnection) => void;
  readonly #onClose: (connection: SocketConnection) => void;
  #exchange: Exchange | null = null;
  #hasSent = false;
  #isConnected = false;
  #isClosed = false;
  /** When it was last in use; the pool's business. */
  idleSinceMs = 0;

  /** `onFree`: it can carry another request. `onClose`: once, and then it is nobody's. */
  constructor(
    url: URL,
    onFree: (connection: SocketConnection) => void,
    onClose: (connection: SocketConnection) => void,
  ) {
    this.#origin = url.origin;
    this.#hostLine = ` HTTP/1.1\r\nHost: ${url.host}\r\n`;
    this.#onFree = onFree;
    this.#onClose = onClose;
    this.#socket = openSocket(url, () => (this.#isConnected = true));
    this.#socket.setNoDelay(true);
    this.#socket.on('data', this.#onData);
    this.#socket.on('end', () => {
      if (!this.#reader.finish()) this.#fail('cut', `${this.#origin} closed the connection`);
    });
    this.#socket.on('error', error => {
      const failure = this.#isConnected ? 'cut' : 'unreachable';
      this.#fail(failure, `${this.#origin}: ${readableError(error).message}`, error);
    });
    this.#socket.on('close', () => this.#fail('cut', `${this.#origin} closed the connection`));
  }

  /** Sends the request of `exchange`; the connection must be free. */
  carry(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#hasSent = true;
    this.#socket.ref();
    this.#reader.expect();
    const {method, target, headers, body} = exchange.request;
    let head = `${method} ${target}${this.#hostLine}`;
    for (const name in headers) head += `${name}: ${headers[name] ?? ''}\r\n`;
    if (body === null) {
      // A method that may have a body says that there is none.
      const length = method === 'PUT' || method === 'POST' ? 'Content-Length: 0\r\n\r\n' : '\r\n';
      this.#socket.write(head + length, 'latin1');
    } else if (typeof body === 'string') {
      this.#socket.write(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    } else {
      this.#writeBytes(`${head}Content-Length: ${body.length}\r\n\r\n`, body);
    }
  }

  #writeBytes(head: string, body: Uint8Array): void {
    if (body.length > copiedSizeBytesMax) {
      this.#socket.write(head, 'latin1');
      this.#socket.write(body);
      return;
    }
    const bytes = Buffer.allocUnsafe(head.length + body.length);
    bytes.write(head, 'latin1');
    bytes.set(body, head.length);
    this.#socket.write(bytes);
  }

  /** Gives up the request, and with it the connection. */
  abandon(failure: SendFailure, message: string): void {
    this.#fail(failure, message);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  onHead(head: AnswerHead): void {
    this.#exchange?.onHead(head);
  }

  onBody(bytes: Buffer): void {
    this.#exchange?.onBody(bytes);
  }

  onEnd(isReusable: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    if (isReusable) {
      // An idle connection keeps no process alive.
      this.#socket.unref();
      this.#onFree(this);
    } else {
      this.#close();
    }
    exchange?.onEnd();
  }

  readonly #onData = (bytes: Buffer): void => {
    try {
      this.#reader.feed(bytes);
    } catch (error) {
      if (!(error instanceof MalformedAnswer)) throw error;
      this.#fail('malformed', `${this.#origin}: ${error.message}`, error);
    }
  };

  #fail(failure: SendFailure, message: string, cause?: unknown): void {
    if (this.#isClosed) return;
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#close();
    // What was written before the connection stood never left this process.
    const mayHaveArrived = this.#hasSent && this.#isConnected;
    exchange?.onError(new SendError(failure, message, {mayHaveArrived, cause}));
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#onClose(this);
  }
}

function openSocket(url: URL, onConnected: () => void): Socket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'https:') {
    const port = url.port === '' ? 443 : Number(url.port);
    const servername = /^[0-9.]+$|:/.test(host) ? '' : host;
    const options = {host, port, servername, ALPNProtocols: ['http/1.1']};
    return connectTls(options, onConnected);
  }
  return connectSocket({host, port: url.port === '' ? 80 : Number(url.port)}, onConnected);
}
