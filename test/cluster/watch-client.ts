/**
 * A client that follows changes through everything: when its connection ends it resumes behind the
 * last whole revision, at whatever node comes next in its list.
 */
import assert from 'node:assert/strict';
import {request, type ClientRequest} from 'node:http';

export interface SeenEvent {
  readonly type: string;
  readonly revision: number;
  readonly key: string;
  readonly value?: string;
}

interface Line extends SeenEvent {
  readonly more?: boolean;
}

const retryMs = 50;

export class WatchClient {
  /** Of whole revisions, in the order in which they came. */
  readonly events: SeenEvent[] = [];
  /** How often a connection was made and answered with 200. */
  connectionCount = 0;
  /** Resume from the revision behind this one. */
  #revision: number;
  readonly #query: string;
  #ports: readonly number[];
  #turn = 0;
  #call: ClientRequest | null = null;
  #part: SeenEvent[] = [];
  #onChange: () => void = () => undefined;
  #isClosed = false;

  /** Tells everything from `from` on; `query` names the keys. */
  constructor(ports: readonly number[], query: string, from: number) {
    this.#ports = ports;
    this.#query = query;
    this.#revision = from - 1;
    this.#connect();
  }

  /** Everything up to here has been told. */
  get revision(): number {
    return this.#revision;
  }

  /** Resolves when everything up to `revision` has been told. */
  reach(revision: number): Promise<void> {
    return new Promise(resolve => {
      this.#onChange = () => {
        if (this.#revision >= revision) resolve();
      };
      this.#onChange();
    });
  }

  /** Leaves its node for the first of `ports`. */
  move(ports: readonly number[]): void {
    this.#ports = ports;
    this.#turn = 0;
    this.#call?.destroy();
  }

  close(): void {
    this.#isClosed = true;
    this.#call?.destroy();
  }

  #connect(): void {
    if (this.#isClosed) return;
    const port = this.#ports[this.#turn++ % this.#ports.length] ?? 0;
    this.#part = [];
    const call = request({
      host: '127.0.0.1',
      port,
      path: `/watch?${this.#query}&from=${this.#revision + 1}`,
      headers: {Accept: 'application/x-ndjson'},
      agent: false,
    });
    this.#call = call;
    call.on('error', () => undefined);
    call.on('close', () => void setTimeout(() => this.#connect(), retryMs));
    call.on('response', response => {
      let rest = '';
      if (response.statusCode === 200) this.connectionCount++;
      response.setEncoding('utf8');
      response.on('error', () => undefined);
      response.on('data', (chunk: string) => {
        if (response.statusCode !== 200 || this.#call !== call) return;
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.#onLine(JSON.parse(line) as Line);
        this.#onChange();
      });
    });
    call.end();
  }

  #onLine(line: Line): void {
    const {type, revision, key, value, more} = line;
    if (type === 'end') return;
    if (type === 'progress') {
      assert.equal(this.#part.length, 0, 'progress in the middle of a revision');
      assert.ok(revision >= this.#revision, `progress from ${this.#revision} to ${revision}`);
      this.#revision = revision;
      return;
    }
    const first = this.#part[0];
    assert.ok(first === undefined || first.revision === revision, 'a revision comes as a whole');
    assert.ok(revision > this.#revision, `${revision} told after ${this.#revision}`);
    this.#part.push({type, revision, key, ...(value === undefined ? {} : {value})});
    if (more === true) return;
    this.events.push(...this.#part);
    this.#part = [];
    this.#revision = revision;
  }
}
