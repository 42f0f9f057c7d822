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
  /** Name, value, … */
  readonly headers: OutgoingHttpHeader[];
  /** Null: nothing but headers. */
  readonly body: AnswerBody;
  /** Of the body, in bytes. */
  readonly sizeBytes: number;
  readonly ending: Ending;
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
  /** Once the answer has left this process, or the client has gone. Called before `send`. */
  onceSent(callback: () => void): void;
}
