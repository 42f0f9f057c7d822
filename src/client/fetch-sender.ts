/**
 * The sender for browsers, and for whatever else has `fetch`. It cannot see whether a request that
 * failed has left, so every failure of a write is one of unknown outcome, which its key makes safe.
 */
import {invalidArgument} from './client-error.ts';
import {clientLimits} from './client-options.ts';
import {
  SendError,
  type HttpAnswer,
  type HttpRequest,
  type HttpSender,
  type HttpStream,
  type SendLimits,
} from './http-sender.ts';

export class FetchSender implements HttpSender {
  readonly #fetch: typeof fetch;
  readonly #running = new Set<AbortController>();
  #isClosed = false;

  constructor(fetchFunction: typeof fetch) {
    this.#fetch = fetchFunction;
  }

  async send(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpAnswer> {
    // A URL parser would take such a key for a step in the path.
    if (/^\/kv\/(?:\.|%2e){1,2}(?:\?|$)/i.test(request.target)) {
      throw invalidArgument('fetch cannot send the keys "." and ".."; a transaction can');
    }
    const run = this.#begin(options);
    try {
      const response = await this.#request(origin, request, run.controller);
      const body = await boundedText(response);
      return {status: response.status, header: name => response.headers.get(name), body};
    } catch (error) {
      throw run.failure(error);
    } finally {
      run.end();
    }
  }

  async open(origin: string, request: HttpRequest, options: SendLimits): Promise<HttpStream> {
    const run = this.#begin(options);
    try {
      const response = await this.#request(origin, request, run.controller);
      run.disarmTimer();
      return {
        status: response.status,
        header: name => response.headers.get(name),
        chunks: chunksOf(response, run),
        close: () => run.controller.abort(),
      };
    } catch (error) {
      run.end();
      throw run.failure(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const controller of this.#running) controller.abort();
  }

  #begin(options: SendLimits): FetchRun {
    if (this.#isClosed) {
      throw new SendError('closed', 'the client was closed', {mayHaveArrived: false});
    }
    const run = new FetchRun(options, () => {
      this.#running.delete(run.controller);
    });
    this.#running.add(run.controller);
    return run;
  }

  #request(origin: string, request: HttpRequest, controller: AbortController): Promise<Response> {
    const {method, target, headers, body} = request;
    return this.#fetch(origin + target, {
      method,
      headers,
      // A view of shared memory is no body; this is one of the program's own.
      body: body as string | Uint8Array<ArrayBuffer> | null,
      credentials: 'omit',
      redirect: 'error',
      signal: controller.signal,
    });
  }
}

/** One request under way: its time limit, the caller's signal, and why it was cut. */
class FetchRun {
  readonly controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: () => void;
  readonly #onEnd: () => void;
  #why: 'aborted' | 'timeout' | null = null;

  constructor({signal, timeoutMs}: SendLimits, onEnd: () => void) {
    this.#timer = setTimeout(() => this.#cut('timeout'), timeoutMs);
    this.#signal = signal;
    this.#onAbort = () => this.#cut('aborted');
    this.#onEnd = onEnd;
    signal?.addEventListener('abort', this.#onAbort, {once: true});
  }

  disarmTimer(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#onEnd();
  }

  failure(error: unknown): SendError {
    if (error instanceof SendError) return error;
    const message = error instanceof Error ? error.message : String(error);
    const isRefused = codeOf(error) === 'ECONNREFUSED';
    const kind = this.controller.signal.aborted ? (this.#why ?? 'closed') : 'cut';
    const failure = isRefused ? 'unreachable' : kind;
    return new SendError(failure, message, {mayHaveArrived: !isRefused, cause: error});
  }

  #cut(why: 'aborted' | 'timeout'): void {
    this.#why = why;
    this.controller.abort();
  }
}

function codeOf(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  return typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
}

async function boundedText(response: Response): Promise<string> {
  const length = Number(response.headers.get('content-length') ?? 0);
  if (length > clientLimits.answerSizeBytesMax) {
    const why = 'the answer is too large for a node of Rosetta';
    throw new SendError('malformed', why, {mayHaveArrived: true});
  }
  return await response.text();
}

async function* chunksOf(response: Response, run: FetchRun): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const read = await reader?.read();
      if (read?.value === undefined) return;
      yield read.value;
    }
  } catch (error) {
    throw run.failure(error);
  } finally {
    // Whoever stops reading in the middle gives the connection up.
    run.controller.abort();
    run.end();
  }
}
