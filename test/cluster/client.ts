/**
 * A client of one node's HTTP API, on keep-alive connections. Answers are sorted by what they
 * promise: done, certainly not done, or unknown.
 */
import {Agent, request} from 'node:http';
import type {IncomingHttpHeaders} from 'node:http';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export type Outcome =
  | {readonly type: 'ok'; readonly reply: Reply}
  /** The request changed nothing. `code` of the error table, or the system's. */
  | {readonly type: 'definite'; readonly code: string; readonly status: number}
  | {
      readonly type: 'unknown';
      readonly code: string;
      readonly status: number;
      readonly detail: string;
    };

export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly outcome: string;
}

/** What the tests read of GET /status. */
export interface Status {
  readonly id: string;
  readonly clusterId: string | null;
  readonly state: string;
  readonly term: number;
  readonly leader: string | null;
  readonly ready: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastLogIndex: number;
  readonly log: {readonly entries: number; readonly bytes: number};
  readonly revision: number;
  readonly keys: number;
  readonly checkpointIndex: number;
  readonly stateHash: string;
  readonly diverged: boolean;
}

interface RequestOptions {
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

const timeoutMsDefault = 15_000;

export class Client {
  readonly port: number;
  readonly #host: string;
  readonly #agent = new Agent({keepAlive: true, maxSockets: 64});

  constructor(port: number, host = '127.0.0.1') {
    this.port = port;
    this.#host = host;
  }

  /** Rejects with the system's error when there is no answer. */
  request(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: this.#host,
          port: this.port,
          agent: this.#agent,
          method,
          path,
          headers: {
            ...options.headers,
            ...(options.body === undefined ? {} : {'Content-Length': byteLength(options.body)}),
          },
        },
        response => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('close', () => clearTimeout(timer));
          response.on('end', () => {
            clearTimeout(timer);
            const {statusCode = 0, headers} = response;
            resolve({status: statusCode, headers, body: Buffer.concat(chunks)});
          });
        },
      );
      const timer = setTimeout(() => {
        call.destroy(Object.assign(new Error('no answer in time'), {code: 'CLIENT_TIMEOUT'}));
      }, options.timeoutMs ?? timeoutMsDefault);
      call.on('error', error => {
        clearTimeout(timer);
        reject(error);
      });
      call.end(options.body);
    });
  }

  async try(method: string, path: string, options: RequestOptions = {}): Promise<Outcome> {
    try {
      return classify(await this.request(method, path, options));
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      // Nobody listens: the request was never sent.
      if (code === 'ECONNREFUSED') return {type: 'definite', code, status: 0};
      return {type: 'unknown', code, status: 0, detail: String(error)};
    }
  }

  put(key: string, value: string, timeoutMs?: number): Promise<Outcome> {
    return this.try('PUT', keyPath(key), {body: value, ...timeout(timeoutMs)});
  }

  get(key: string, timeoutMs?: number): Promise<Outcome> {
    return this.try('GET', keyPath(key), {
      headers: {Accept: 'application/octet-stream'},
      ...timeout(timeoutMs),
    });
  }

  async status(): Promise<Status> {
    const reply = await this.request('GET', '/status', {timeoutMs: 3_000});
    if (reply.status !== 200) throw new Error(`/status answers ${reply.status}`);
    return json<Status>(reply);
  }

  /** All keys with this prefix, at one revision. */
  async list(prefix: string, query = ''): Promise<Map<string, string>> {
    const records = new Map<string, string>();
    let cursor = '';
    for (;;) {
      const path = `/kv?prefix=${prefix}&limit=10000${query}${cursor}`;
      const reply = await this.request('GET', path);
      if (reply.status !== 200) throw new Error(`${path} answers ${reply.body.toString()}`);
      const page = json<{
        readonly records: readonly {readonly key: string; readonly value: string}[];
        readonly more: boolean;
        readonly cursor?: string;
      }>(reply);
      for (const {key, value} of page.records) records.set(key, value);
      if (!page.more) return records;
      cursor = `&cursor=${page.cursor ?? ''}`;
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The value read, null when the key is absent; for an `ok` outcome of `get` only. */
export function valueOf(outcome: Outcome): string | null {
  if (outcome.type !== 'ok') throw new Error(`no value: ${outcome.code}`);
  return outcome.reply.status === 404 ? null : outcome.reply.body.toString();
}

export function classify(reply: Reply): Outcome {
  const {status} = reply;
  if (status < 300 || status === 304) return {type: 'ok', reply};
  const problem = problemOf(reply);
  if (problem?.code === 'KEY_NOT_FOUND') return {type: 'ok', reply};
  const code = problem?.code ?? `HTTP_${status}`;
  if (problem?.outcome === 'definite') return {type: 'definite', code, status};
  return {type: 'unknown', code, status, detail: problem?.detail ?? ''};
}

export function problemOf(reply: Reply): Problem | null {
  const type = reply.headers['content-type'] ?? '';
  return type.startsWith('application/problem+json') ? json<Problem>(reply) : null;
}

/** The body as JSON; the caller states the shape that the API's contract gives it. */
/* eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters --
   states the shape at the call */
export function json<T>(reply: Reply): T {
  return JSON.parse(reply.body.toString()) as T;
}

function keyPath(key: string): string {
  return `/kv/${encodeURIComponent(key)}`;
}

function byteLength(body: string | Uint8Array): string {
  return String(Buffer.byteLength(body));
}

function timeout(timeoutMs: number | undefined): {readonly timeoutMs?: number} {
  return timeoutMs === undefined ? {} : {timeoutMs};
}
