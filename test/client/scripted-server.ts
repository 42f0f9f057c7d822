/**
 * A node that answers as a test says, request by request, and remembers what it was asked. A
 * request beyond the script fails the test.
 */
import assert from 'node:assert/strict';
import {createServer, type IncomingHttpHeaders, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import type {TestContext} from 'node:test';
import {errorTable, type ErrorCode, type Outcome} from '../../src/base/errors.ts';

export interface SeenRequest {
  readonly method: string;
  /** Path and query without `timeout`. */
  readonly target: string;
  readonly timeoutMs: number | null;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export type Step = (response: ServerResponse, request: SeenRequest) => void;

export class ScriptedServer {
  readonly seen: SeenRequest[] = [];
  /** Sessions are opened and closed beside the script: s1, s2, … */
  hasSessions = true;
  openedCount = 0;
  readonly closedSessions: string[] = [];
  readonly #steps: Step[];
  readonly #server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('error', () => undefined);
    request.on('end', () => {
      const {method = '', url = '', headers} = request;
      const match = /[?&]timeout=([0-9]+)$/.exec(url);
      const seen = {
        method,
        target: match === null ? url : url.slice(0, match.index),
        timeoutMs: match === null ? null : Number(match[1]),
        headers,
        body: Buffer.concat(pieces),
      };
      this.#onRequest(seen, response);
    });
  });
  #excess: string | null = null;
  readonly #watchers: {readonly count: number; readonly resolve: () => void}[] = [];

  private constructor(steps: readonly Step[]) {
    this.#steps = [...steps];
  }

  static async start(t: TestContext, ...steps: readonly Step[]): Promise<ScriptedServer> {
    const scripted = new ScriptedServer(steps);
    await new Promise<void>(resolve => scripted.#server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      scripted.stop();
      assert.equal(scripted.#excess, null, 'a request that the script does not know');
    });
    return scripted;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get isDone(): boolean {
    return this.#steps.length === 0;
  }

  more(...steps: readonly Step[]): void {
    this.#steps.push(...steps);
  }

  /** Forgets the rest of the script for another one. */
  becomeReady(...steps: readonly Step[]): void {
    this.#steps.splice(0, this.#steps.length, ...steps);
  }

  /** Resolves when so many requests have come. */
  whenSeen(count: number): Promise<void> {
    if (this.seen.length >= count) return Promise.resolve();
    return new Promise(resolve => this.#watchers.push({count, resolve}));
  }

  keys(): (string | undefined)[] {
    return this.seen.map(({headers}) => headers['idempotency-key'] as string | undefined);
  }

  targets(): string[] {
    return this.seen.map(({method, target}) => `${method} ${target}`);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #onRequest(seen: SeenRequest, response: ServerResponse): void {
    if (this.hasSessions && seen.target.startsWith('/session')) {
      if (seen.method === 'POST') this.openedCount += 1;
      else this.closedSessions.push(seen.target.slice('/session/'.length));
      json({id: `s${this.openedCount}`, ttl: 600})(response, seen);
      return;
    }
    this.seen.push(seen);
    const step = this.#steps.shift();
    if (step === undefined) {
      this.#excess ??= `${seen.method} ${seen.target}`;
      response.destroy();
    } else {
      step(response, seen);
    }
    for (const {count, resolve} of this.#watchers) if (this.seen.length >= count) resolve();
  }
}

export function json(value: unknown, status = 200): Step {
  return response => {
    const text = JSON.stringify(value);
    response.writeHead(status, {'Content-Type': 'application/json'}).end(text);
  };
}

export function problem(
  code: ErrorCode,
  extra: {readonly outcome?: Outcome; readonly headers?: Record<string, string>} = {},
): Step {
  const {status, outcome, title} = errorTable[code];
  return response => {
    const fields = {title, status, code, detail: title, outcome: extra.outcome ?? outcome};
    response
      .writeHead(status, {'Content-Type': 'application/problem+json', ...extra.headers})
      .end(JSON.stringify(fields));
  };
}

/** The request has arrived, and no answer follows. */
export const cut: Step = response => response.destroy();

/** Never answers. */
export const hang: Step = () => undefined;

export const written = json({key: 'k', revision: 2, version: 1});

export const record = json({
  key: 'k',
  value: 'v',
  createRevision: 2,
  modRevision: 2,
  version: 1,
});
