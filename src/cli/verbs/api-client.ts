/**
 * Talks to a cluster over HTTP, to one of its nodes after the other: to the next one when nothing
 * was done by the one before, for certain. A write whose fate is unknown is never sent again.
 */
import {Buffer} from 'node:buffer';
import http from 'node:http';
import {dialHost, formatAddress} from '../../base/address.ts';
import type {Address} from '../../base/address.ts';
import {endpointsOf} from './endpoints.ts';
import type {VerbInput} from './verb.ts';
import {VerbError} from './verb.ts';

const timeoutMsDefault = 5_000;
/** The node decides; this is for one that does not answer at all. */
const graceMs = 5_000;
/** Within an answer. */
const silenceMsMax = 60_000;

export interface ApiRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly timeoutMs?: number;
}

export interface ApiAnswer {
  readonly endpoint: string;
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** The content, not read yet. */
  readonly stream: http.IncomingMessage;
}

/** An answer that is a refusal. */
export class ApiError extends VerbError {
  readonly status: number;

  constructor(
    message: string,
    answer: {readonly status: number; readonly code: string; readonly outcome: string},
  ) {
    super(message, answer);
    this.status = answer.status;
  }
}

export class ApiClient {
  readonly #endpoints: readonly Address[];

  constructor(endpoints: readonly Address[]) {
    this.#endpoints = endpoints;
  }

  /** An answer with a status below 400. Rejects with ApiError, or VerbError when nobody answers. */
  async request(request: ApiRequest): Promise<ApiAnswer> {
    const reasons: string[] = [];
    for (const [i, address] of this.#endpoints.entries()) {
      const endpoint = formatAddress(address);
      const isLast = i === this.#endpoints.length - 1;
      let answer: ApiAnswer;
      try {
        answer = await send(address, request);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (!isRead(request) && !isUnsent(error)) {
          const message = `${endpoint}: ${reason}; the write may or may not have happened`;
          throw new VerbError(message, {code: 'OUTCOME_UNKNOWN', outcome: 'unknown'});
        }
        reasons.push(`${endpoint} (${reason})`);
        continue;
      }
      if (answer.status < 400) return answer;
      const error = await toApiError(answer);
      const isElsewhere = answer.status === 503 || answer.status === 429;
      if (!isElsewhere || error.outcome !== 'definite' || isLast) throw error;
      reasons.push(`${endpoint} (${error.message})`);
    }
    throw new VerbError(`no node answers: ${reasons.join(', ')}`, {code: 'NO_ENDPOINT'});
  }
}

/** Throws UsageError. */
export function apiClient(input: VerbInput): ApiClient {
  return new ApiClient(endpointsOf(input));
}

/** The whole content. */
export async function contentOf(answer: ApiAnswer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of chunksOf(answer)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The content as it comes. Rejects when none comes for `silenceMs`: its sender is gone. */
export async function* chunksOf(
  answer: Pick<ApiAnswer, 'stream'>,
  silenceMs = silenceMsMax,
): AsyncGenerator<Buffer> {
  const {stream} = answer;
  const expectMore = (): NodeJS.Timeout =>
    setTimeout(() => stream.destroy(new Error(`nothing came for ${silenceMs} ms`)), silenceMs);
  let timer = expectMore();
  try {
    for await (const chunk of stream) {
      clearTimeout(timer);
      yield chunk as Buffer;
      timer = expectMore();
    }
  } finally {
    clearTimeout(timer);
  }
}

function isRead(request: ApiRequest): boolean {
  return request.method === 'GET' || request.method === 'HEAD';
}

/** Whether the request has certainly not reached a node. */
function isUnsent(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && isDialing.test(String(error.syscall));
}

const isDialing = /^(connect|getaddrinfo)$/;

function send(address: Address, request: ApiRequest): Promise<ApiAnswer> {
  const {method, path, headers = {}, body, timeoutMs = timeoutMsDefault} = request;
  return new Promise((resolve, reject) => {
    const call = http.request({
      host: dialHost(address.host),
      port: address.port,
      agent: false,
      method,
      path,
      headers: {...headers, ...(body === undefined ? {} : {'Content-Length': sizeOf(body)})},
    });
    const timer = setTimeout(() => {
      call.destroy(new Error(`no answer within ${timeoutMs + graceMs} ms`));
    }, timeoutMs + graceMs);
    call.on('error', error => {
      clearTimeout(timer);
      reject(readable(error));
    });
    call.on('response', stream => {
      clearTimeout(timer);
      const {statusCode: status = 0} = stream;
      resolve({endpoint: formatAddress(address), status, headers: stream.headers, stream});
    });
    call.end(body);
  });
}

/** An attempt at both addresses of a name fails with an error that holds two, and no message. */
function readable(error: Error): Error {
  const [first] = error instanceof AggregateError ? (error.errors as Error[]) : [error];
  return first ?? error;
}

function sizeOf(body: Uint8Array | string): number {
  return Buffer.byteLength(body);
}

async function toApiError(answer: ApiAnswer): Promise<ApiError> {
  const {status, endpoint} = answer;
  const content = (await contentOf(answer)).toString('utf8');
  let problem: {readonly code?: unknown; readonly detail?: unknown; readonly outcome?: unknown};
  try {
    problem = (JSON.parse(content) ?? {}) as typeof problem;
  } catch {
    problem = {};
  }
  const code = typeof problem.code === 'string' ? problem.code : `HTTP_${status}`;
  const detail = typeof problem.detail === 'string' ? problem.detail : content.slice(0, 200);
  const outcome = typeof problem.outcome === 'string' ? problem.outcome : 'unknown';
  return new ApiError(`${endpoint} answers ${code}: ${detail}`, {status, code, outcome});
}
