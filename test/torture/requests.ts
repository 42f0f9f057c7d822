/**
 * The requests that workloads make, and their answers sorted into: done, certainly not done,
 * unknown. Uses nothing but the HTTP contract.
 */
import {Client, classify, json} from '../cluster/client.ts';
import type {Reply} from '../cluster/client.ts';

export interface RequestRules {
  /** Reads ask for this node's own state, as if that were good enough. */
  readonly hasStaleReads: boolean;
}

/** Of a write: the key must be at a revision, exist (`*`), or be absent (`none`). */
export type Precondition = number | '*' | 'none' | null;

export type Answer<T> =
  | ({readonly type: 'ok'; readonly store: number} & T)
  | {readonly type: 'fail'; readonly error: string; readonly store: number}
  | {readonly type: 'info'; readonly error: string};

export interface KeyState {
  /** Null: absent. */
  readonly value: string | null;
  readonly modRevision: number | null;
  readonly version: number;
}

/** The server gives up first, so that most answers say what happened. */
const serverTimeoutMs = 1_000;
const clientTimeoutMs = 2_500;

export class Requests {
  readonly node: string;
  readonly #client: Client;
  readonly #consistency: string;

  constructor(
    node: string,
    at: {readonly host: string; readonly port: number},
    rules: RequestRules,
  ) {
    this.node = node;
    this.#client = new Client(at.port, at.host);
    this.#consistency = rules.hasStaleReads ? 'local' : 'linearizable';
  }

  get(key: string): Promise<Answer<KeyState>> {
    return this.#send('GET', `/kv/${key}?consistency=${this.#consistency}`, {}, reply => {
      if (reply.status === 404) return {value: null, modRevision: null, version: 0};
      const {value, modRevision, version} = json<{
        readonly value: string;
        readonly modRevision: number;
        readonly version: number;
      }>(reply);
      return {value, modRevision, version};
    });
  }

  put(
    key: string,
    value: string,
    condition: Precondition = null,
    idempotencyKey: string | null = null,
  ): Promise<Answer<{readonly revision: number; readonly version: number}>> {
    const headers = {
      ...conditionHeaders(condition),
      ...(idempotencyKey === null ? {} : {'Idempotency-Key': idempotencyKey}),
    };
    return this.#send('PUT', `/kv/${key}?`, {body: value, headers}, reply =>
      json<{readonly revision: number; readonly version: number}>(reply),
    );
  }

  delete(
    key: string,
    condition: Precondition,
  ): Promise<Answer<{readonly deleted: number; readonly revision: number}>> {
    const headers = conditionHeaders(condition);
    return this.#send('DELETE', `/kv/${key}?`, {headers}, reply =>
      json<{readonly deleted: number; readonly revision: number}>(reply),
    );
  }

  /** All keys with the prefix, which are few, at one moment. */
  range(
    prefix: string,
  ): Promise<
    Answer<{readonly records: readonly {readonly key: string; readonly value: string}[]}>
  > {
    const path = `/kv?prefix=${prefix}&limit=10000&consistency=${this.#consistency}`;
    return this.#send('GET', path, {}, reply => {
      const page = json<{
        readonly records: readonly {readonly key: string; readonly value: string}[];
        readonly more: boolean;
      }>(reply);
      if (page.more) throw new Error(`${prefix} holds more keys than one answer`);
      return {records: page.records};
    });
  }

  close(): void {
    this.#client.close();
  }

  async #send<T>(
    method: string,
    path: string,
    options: {readonly body?: string; readonly headers?: Readonly<Record<string, string>>},
    read: (reply: Reply) => T,
  ): Promise<Answer<T>> {
    let reply: Reply;
    try {
      const withTimeout = `${path}&timeout=${serverTimeoutMs}`.replace('?&', '?');
      reply = await this.#client.request(method, withTimeout, {
        ...options,
        timeoutMs: clientTimeoutMs,
      });
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      // Nobody listens: the request was never sent.
      if (code === 'ECONNREFUSED') return {type: 'fail', error: code, store: 0};
      return {type: 'info', error: code};
    }
    const store = Number(reply.headers['rosetta-revision'] ?? 0);
    const outcome = classify(reply);
    if (outcome.type === 'ok') return {type: 'ok', store, ...read(reply)};
    if (outcome.type === 'definite') return {type: 'fail', error: outcome.code, store};
    return {type: 'info', error: outcome.code};
  }
}

function conditionHeaders(condition: Precondition): Readonly<Record<string, string>> {
  if (condition === null) return {};
  if (condition === 'none') return {'If-None-Match': '*'};
  return {'If-Match': condition === '*' ? '*' : `"${condition}"`};
}
