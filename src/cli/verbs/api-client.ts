/**
 * Talks to a cluster over HTTP, to one of its nodes after the other within one deadline: to the
 * next one when nothing was done by the one before, for certain. A write whose fate is unknown is
 * never sent again. A node may rightly take long, so one that is silent is told by a question that
 * each node answers at once.
 */
import {Buffer} from 'node:buffer';
import http from 'node:http';
import {dialHost, formatAddress} from '../../base/address.ts';
import type {Address} from '../../base/address.ts';
import {limits} from '../../base/limits.ts';
import {readableError} from '../../base/network-error.ts';
import {endpointsOf} from './endpoints.ts';
import type {VerbInput} from './verb.ts';
import {VerbError} from './verb.ts';

/** After which a node that has not said that it lives is passed over for the next. */
const aliveMsMax = 3_000;
/** So much earlier than this side a node gives up, so that its answer still arrives. */
const answerMarginMsMax = 250;
/** Within an answer. */
const silenceMsMax = 60_000;

export interface ApiRequest {
  readonly method: string;
  /** With its query, to which `timeout` is added. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Until the answer begins, with all attempts. */
  readonly timeoutMs: number;
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
    const deadlineMs = performance.now() + request.timeoutMs;
    const reasons: string[] = [];
    let refusal: ApiError | null = null;
    for (const [i, address] of this.#endpoints.entries()) {
      const leftCount = this.#endpoints.length - i;
      const isLast = leftCount === 1;
      try {
        if (!isLast) await expectLife(address, shareOf(deadlineMs, leftCount));
        const time = {deadlineMs, nodesMs: shareOf(deadlineMs, leftCount)};
        const answer = await attempt(address, request, time);
        if (answer.status < 400) return answer;
        refusal = await toApiError(answer);
      } catch (error) {
        if (error instanceof VerbError) throw error;
        reasons.push(`${formatAddress(address)} (${reasonOf(error)})`);
        continue;
      }
      const isElsewhere = refusal.status === 503 || refusal.status === 429;
      if (!isElsewhere || refusal.outcome !== 'definite' || isLast) throw refusal;
      reasons.push(`${formatAddress(address)} (${refusal.message})`);
    }
    const all = reasons.join(', ');
    if (refusal === null) throw new VerbError(`no node answers: ${all}`, {code: 'NO_ENDPOINT'});
    const {status, code, outcome} = refusal;
    throw new ApiError(`no node does it: ${all}`, {status, code: code ?? '', outcome});
  }
}

/** Of the time that is left, for one of so many endpoints: the others must have a turn too. */
function shareOf(deadlineMs: number, leftCount: number): number {
  return (deadlineMs - performance.now()) / leftCount;
}

/** Rejects when the node does not say in a moment that it lives. */
async function expectLife(address: Address, msMax: number): Promise<void> {
  const timeoutMs = Math.min(aliveMsMax, msMax);
  const {stream} = await send(address, {method: 'GET', path: '/livez'}, timeoutMs);
  stream.destroy();
}

/**
 * Rejects with VerbError when a write may have happened. The node is told to take `time.nodesMs` at
 * most; its answer is waited for until the deadline, for without it nobody knows what it did.
 */
async function attempt(
  address: Address,
  request: ApiRequest,
  time: {readonly deadlineMs: number; readonly nodesMs: number},
): Promise<ApiAnswer> {
  const leftMs = time.deadlineMs - performance.now();
  const nodesMs = Math.min(
    Math.floor(Math.min(time.nodesMs, leftMs - Math.min(answerMarginMsMax, leftMs / 4))),
    limits.requestTimeoutMsMax,
  );
  const separator = request.path.includes('?') ? '&' : '?';
  const path = `${request.path}${separator}timeout=${Math.max(1, nodesMs)}`;
  try {
    return await send(address, {...request, path}, leftMs);
  } catch (error) {
    if (isRead(request) || isUnsent(error)) throw error;
    const where = formatAddress(address);
    const message = `${where}: ${reasonOf(error)}; the write may or may not have happened`;
    throw new VerbError(message, {code: 'OUTCOME_UNKNOWN', outcome: 'unknown'});
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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

/** Nothing was sent. */
class LateError extends Error {}

/** Whether the request has certainly not reached a node. */
function isUnsent(error: unknown): boolean {
  if (error instanceof LateError) return true;
  return error instanceof Error && 'syscall' in error && isDialing.test(String(error.syscall));
}

const isDialing = /^(connect|getaddrinfo)$/;

function send(
  address: Address,
  {method, path, headers = {}, body}: Omit<ApiRequest, 'timeoutMs'>,
  timeoutMs: number,
): Promise<ApiAnswer> {
  if (timeoutMs <= 0) return Promise.reject(new LateError('no time was left to ask it'));
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
      call.destroy(new Error(`no answer within ${Math.ceil(timeoutMs)} ms`));
    }, timeoutMs);
    call.on('error', error => {
      clearTimeout(timer);
      reject(readableError(error));
    });
    call.on('response', stream => {
      clearTimeout(timer);
      const {statusCode: status = 0} = stream;
      resolve({endpoint: formatAddress(address), status, headers: stream.headers, stream});
    });
    call.end(body);
  });
}

function sizeOf(body: Uint8Array | string): number {
  return Buffer.byteLength(body);
}

async function toApiError(answer: ApiAnswer): Promise<ApiError> {
  const {status, endpoint} = answer;
  // A refusal that breaks off says nothing of what became of a write.
  const content = await contentOf(answer).then(String, () => '');
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
