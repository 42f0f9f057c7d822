/**
 * The content of an answer of unknown size on a connection of node:http, which sends the head and
 * the end. What lies between goes to the socket directly, a write for each piece: node:http makes
 * four buffers and a turn of each, and knows nothing of pieces that many answers share.
 */
import {Buffer} from 'node:buffer';
import type {ServerResponse} from 'node:http';
import type {Socket} from 'node:net';
import {chunkBeginning, chunkEnd, chunkOf} from './chunked-coding.ts';
import type {AnswerStream, StreamEvents} from './wire.ts';

/** What is gathered leaves when it is larger than this. */
const gatheredSizeBytesMax = 16 * 1024;
/** Content up to this size is copied between what delimits it. */
const copiedSizeBytesMax = 16 * 1024;

export class NodeStream implements AnswerStream {
  readonly isChunked: boolean;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  /** In order, behind everything that was written. */
  #gathered: Uint8Array[] = [];
  #gatheredSizeBytes = 0;
  #isHeadSent = false;

  /** Of a response that has its socket, and its head. */
  constructor(response: ServerResponse, socket: Socket, events: StreamEvents) {
    this.#response = response;
    this.#socket = socket;
    // An HTTP/1.0 client knows no chunks: its content ends with the connection (RFC 9112 §6.3).
    this.isChunked = response.chunkedEncoding;
    // That of the response would follow writes of its own only.
    socket.on('drain', events.onDrain);
    response.once('close', () => {
      socket.off('drain', events.onDrain);
      this.#gathered = [];
      events.onClose();
    });
  }

  write(content: Uint8Array | string): boolean {
    this.flush();
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    if (!this.isChunked) return this.#send(bytes);
    if (bytes.length <= copiedSizeBytesMax) return this.#send(chunkOf(bytes));
    this.#socket.cork();
    this.#send(chunkBeginning(bytes.length));
    this.#send(bytes);
    const hasRoom = this.#send(chunkEnd);
    this.#socket.uncork();
    return hasRoom;
  }

  gather(piece: Uint8Array): boolean {
    const isSmall = this.#gatheredSizeBytes + piece.length <= gatheredSizeBytesMax;
    const hasRoom = isSmall || this.flush();
    if (piece.length > gatheredSizeBytesMax) return this.#send(piece);
    this.#gathered.push(piece);
    this.#gatheredSizeBytes += piece.length;
    return hasRoom;
  }

  flush(): boolean {
    const [first] = this.#gathered;
    if (first === undefined) return true;
    const isOne = this.#gathered.length === 1;
    const bytes = isOne ? first : Buffer.concat(this.#gathered, this.#gatheredSizeBytes);
    this.#gathered.length = 0;
    this.#gatheredSizeBytes = 0;
    return this.#send(bytes);
  }

  end(): void {
    this.flush();
    this.#response.end();
  }

  cut(): void {
    this.#response.destroy();
  }

  #send(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    // The client has gone, and soon the response closes.
    if (!socket.writable || this.#response.writableEnded) return false;
    if (this.#isHeadSent) return socket.write(bytes);
    this.#isHeadSent = true;
    socket.cork();
    this.#response.flushHeaders();
    const hasRoom = socket.write(bytes);
    socket.uncork();
    return hasRoom;
  }
}
