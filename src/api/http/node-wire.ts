/** The Wire of node:http. */
import type {IncomingMessage, ServerResponse} from 'node:http';
import type {Socket} from 'node:net';
import type {Clock} from '../../base/clock.ts';
import {limits} from '../../base/limits.ts';
import {headerList, streamHeaderList} from './answer-head.ts';
import {NodeStream} from './node-stream.ts';
import type {Answer, AnswerBody, AnswerStream, StreamEvents, StreamHead, Wire} from './wire.ts';

export class NodeWire implements Wire {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #clock: Clock;

  constructor(request: IncomingMessage, response: ServerResponse, clock: Clock) {
    this.#request = request;
    this.#response = response;
    this.#clock = clock;
  }

  get socket(): Socket {
    return this.#request.socket;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get isGone(): boolean {
    return this.#response.destroyed || this.#request.socket.destroyed;
  }

  get isComplete(): boolean {
    return this.#request.complete;
  }

  invite(): void {
    this.#response.writeContinue();
  }

  readBody(onChunk: (chunk: Buffer) => void, onEnd: () => void): void {
    this.#request.on('data', onChunk);
    this.#request.on('end', onEnd);
  }

  pauseBody(): void {
    this.#request.pause();
  }

  resumeBody(): void {
    this.#request.resume();
  }

  send(answer: Answer): void {
    const response = this.#response;
    const headers = headerList(answer);
    if (answer.ending !== 'keep') {
      headers.push('Connection', 'close');
      ended.add(this.#request.socket);
    }
    response.writeHead(answer.status, headers);
    const {body} = answer;
    if (answer.ending === 'linger') {
      writeAll(response, body);
      new LingeringClose(this.#request, response, this.#clock).start();
    } else if (body === null) {
      response.end();
    } else if (typeof body === 'string' || body instanceof Uint8Array) {
      response.end(body);
    } else {
      response.cork();
      writeAll(response, body);
      response.end();
    }
  }

  stream(head: StreamHead, events: StreamEvents): AnswerStream {
    const response = this.#response;
    response.writeHead(head.status, streamHeaderList(head));
    return new NodeStream(response, this.#request.socket, events);
  }

  onceSent(callback: () => void): void {
    this.#response.once('close', callback);
  }
}

/** Sockets whose last answer is on its way. */
const ended = new WeakSet<Socket>();

/** RFC 9112 §9.6: what comes behind an answer that closes its connection is not worked on. */
export function isEnded(socket: Socket): boolean {
  return ended.has(socket);
}

/**
 * Closes a connection whose client is still sending a body nobody wants. Closing at once would
 * send a reset, and the client would lose the answer that explains why; so what arrives is read
 * and dropped for a moment, bounded in bytes and in time.
 */
class LingeringClose {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  #droppedSizeBytes = 0;

  constructor(request: IncomingMessage, response: ServerResponse, clock: Clock) {
    this.#request = request;
    this.#response = response;
    this.#clock = clock;
  }

  start(): void {
    const end = (): void => {
      timer.cancel();
      if (!this.#response.writableEnded && !this.#response.destroyed) this.#response.end();
    };
    const timer = this.#clock.setTimer(limits.httpLingerTimeoutMs, end);
    this.#request.removeAllListeners('data');
    this.#request.on('data', (chunk: Buffer) => {
      this.#droppedSizeBytes += chunk.length;
      if (this.#droppedSizeBytes > limits.httpLingerSizeBytesMax) end();
    });
    this.#request.once('end', end);
    this.#response.once('close', end);
    this.#request.resume();
  }
}

function writeAll(response: ServerResponse, body: AnswerBody): void {
  if (body === null) return;
  if (typeof body === 'string' || body instanceof Uint8Array) {
    response.write(body);
    return;
  }
  for (const chunk of body) response.write(chunk);
}
