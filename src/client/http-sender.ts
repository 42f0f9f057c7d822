/**
 * How the client speaks HTTP: one request, one answer, or one answer that goes on. There are two
 * implementations: over sockets in Node (socket-sender.ts), over `fetch` in browsers
 * (fetch-sender.ts). A sender neither repeats nor judges; call.ts does.
 */

export type HttpMethod = 'GET' | 'PUT' | 'POST' | 'DELETE';

export interface HttpRequest {
  readonly method: HttpMethod;
  /** In origin form: path and query, ASCII, percent-encoded. */
  readonly target: string;
  /** Beside Host and Content-Length, which the sender sets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | null;
}

export interface HttpAnswer {
  readonly status: number;
  /** `name` in lower case; null when there is no such header, or a browser hides it. */
  header(name: string): string | null;
  readonly body: string;
}

/** An answer whose body is read as it comes. */
export interface HttpStream {
  readonly status: number;
  header(name: string): string | null;
  /** Ends when the body does; throws SendError when it is cut. What is not read is not buffered. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Gives the connection up. */
  close(): void;
}

export interface SendLimits {
  readonly signal: AbortSignal | undefined;
  /** Until the answer is complete; of a stream, until its head is here. Milliseconds. */
  readonly timeoutMs: number;
}

export interface HttpSender {
  /** `origin` such as `http://localhost:9080`. Rejects with SendError, or INVALID_ARGUMENT. */
  send(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpAnswer>;
  /** Resolves with the head. Rejects with SendError only. */
  open(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpStream>;
  /** Cuts what is under way; later requests are rejected. */
  close(): void;
}

export type SendFailure = 'unreachable' | 'timeout' | 'cut' | 'aborted' | 'closed' | 'malformed';

/** There was no (complete) answer. */
export class SendError extends Error {
  override readonly name = 'SendError';
  readonly failure: SendFailure;
  /** False: not a byte of the request has left, so it certainly did nothing. */
  readonly mayHaveArrived: boolean;

  constructor(
    failure: SendFailure,
    message: string,
    options: {readonly mayHaveArrived: boolean; readonly cause?: unknown},
  ) {
    super(message, {cause: options.cause});
    this.failure = failure;
    this.mayHaveArrived = options.mayHaveArrived;
  }
}
