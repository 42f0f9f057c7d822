/**
 * The connection under one request, as its exchange needs it. There are two: node:http's request
 * and response, which take whatever HTTP/1.1 allows, and a plain connection, which takes the
 * common shape of a request at less than half the cost.
 */
import type {OutgoingHttpHeader} from 'node:http';
import type {Socket} from 'node:net';

export type AnswerBody = string | Uint8Array | readonly Uint8Array[] | null;

/**
 * What becomes of the connection behind an answer. `linger`: its client is still sending a body
 * nobody wants, which is read and dropped for a moment before the connection is closed.
 */
export type Ending = 'keep' | 'close' | 'linger';

export interface Answer {
  readonly status: number;
  /** The media type of the content; null: there is none, as with 204 and 304. */
  readonly type: string | null;
  /** Of the content, in bytes, also where a HEAD leaves it out. */
  readonly sizeBytes: number;
  /** Of the state read or written; 0: the answer says nothing about the store. */
  readonly revision: number;
  /** What of the request the answer depends on. */
  readonly vary: string;
  /** Further headers: name, value, … */
  readonly more: readonly OutgoingHttpHeader[];
  /** Null: nothing but headers. */
  readonly body: AnswerBody;
  readonly ending: Ending;
}

/** An answer whose content is made while it is sent. */
export type StreamHead = Omit<Answer, 'sizeBytes' | 'body' | 'ending'> & {readonly type: string};

/** Of `write`, `gather` and `flush` false says: wait for `onDrain` before the next piece. */
export interface AnswerStream {
  /** Content is sent in chunks (chunked-coding.ts); otherwise it ends with the connection. */
  readonly isChunked: boolean;
  /** Content that is not empty; it leaves now. */
  write(content: Uint8Array | string): boolean;
  /**
   * Keeps a piece until `flush`, `write` or `end`, a few KiB at most. It is already as it is sent:
   * a chunk where content is sent in chunks. It is not copied first, so many answers may share it.
   */
  gather(piece: Uint8Array): boolean;
  /** What was gathered leaves, in one write. */
  flush(): boolean;
  /** The content is whole. */
  end(): void;
  /** The rest cannot be had: the client must not take what it got for the whole. */
  cut(): void;
}

export interface StreamEvents {
  readonly onDrain: () => void;
  /** Once, after `end` and `cut` too: nothing more can be sent. */
  readonly onClose: () => void;
}

export interface Wire {
  readonly socket: Socket;
  readonly method: string;
  /** The client has gone: an answer would reach nobody. */
  readonly isGone: boolean;
  /** Nothing of the request is still to come. */
  readonly isComplete: boolean;
  /** Tells a client that announced `Expect: 100-continue` to send the body. */
  invite(): void;
  /** `onEnd` is not called when the client goes away before. At most once a request. */
  readBody(onChunk: (chunk: Buffer) => void, onEnd: () => void): void;
  /** While the request is not complete: what is still to come waits with the client. */
  pauseBody(): void;
  resumeBody(): void;
  /** At most once a request. */
  send(answer: Answer): void;
  /** Instead of `send`, on the routes of `isStreamed`. */
  stream(head: StreamHead, events: StreamEvents): AnswerStream;
  /** Once the answer has left this process, or the client has gone. Called before `send`. */
  onceSent(callback: () => void): void;
}

/** Answers without a known size are node:http's: a plain connection has no way to delimit them. */
export function isStreamed(target: string): boolean {
  return streamedPaths.some(path => target.startsWith(path));
}

const streamedPaths: readonly string[] = ['/cluster/snapshot', '/watch'];
