/**
 * A node with keys, leases and watches in memory, just enough for locks and elections: a put if
 * absent with a lease, listings by prefix, watches of one key, and leases that end when a test says
 * so. Time does not pass here.
 */
import type {ServerResponse} from 'node:http';
import {json, problem, type SeenRequest} from './scripted-server.ts';

interface Row {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: string;
}

interface Watcher {
  readonly prefix: string;
  readonly from: number;
  readonly response: ServerResponse;
}

export class FakeLeases {
  readonly rows = new Map<string, Row>();
  readonly leases = new Map<string, number>();
  readonly watchers = new Set<Watcher>();
  readonly events: Readonly<Record<string, unknown>>[] = [];
  keepAliveCount = 0;
  /** While set, keepalives are not answered. */
  isSilent = false;
  #revision = 1;
  #nextLease = 100;
  #watcherCount = 0;
  readonly #onWatchers: {readonly count: number; readonly resolve: () => void}[] = [];

  /** So many watches were opened since the start. */
  whenWatched(count: number): Promise<void> {
    if (this.#watcherCount >= count) return Promise.resolve();
    return new Promise(resolve => this.#onWatchers.push({count, resolve}));
  }

  readonly step = (response: ServerResponse, request: SeenRequest): void => {
    const {method, target, body} = request;
    const url = new URL(target, 'http://node');
    const answer = (value: unknown): void => json(value)(response, request);
    const refuse = (code: Parameters<typeof problem>[0]): void => problem(code)(response, request);
    const [, route = '', id = '', verb = ''] = url.pathname.split('/');
    if (route === 'watch') this.#watch(url, response);
    else if (route === 'lease' && method === 'POST' && verb === 'keepalive') {
      this.keepAliveCount += 1;
      const ttl = this.leases.get(id);
      if (this.isSilent) return;
      if (ttl === undefined) refuse('LEASE_NOT_FOUND');
      else answer({id, ttl});
    } else if (route === 'lease' && method === 'POST') {
      const {ttl} = JSON.parse(String(body)) as {ttl: number};
      const granted = String(this.#nextLease++);
      this.leases.set(granted, ttl);
      answer({id: granted, ttl});
    } else if (route === 'lease') {
      if (!this.leases.has(id)) refuse('LEASE_NOT_FOUND');
      else {
        this.end(id);
        answer({});
      }
    } else if (method === 'GET') {
      const prefix = url.searchParams.get('prefix') ?? '';
      const records = [...this.rows.values()].filter(row => row.key.startsWith(prefix));
      answer({records, count: records.length, more: false, revision: this.#revision});
    } else this.#put(request, url, {answer, refuse});
  };

  /** The lease expires, or is revoked. */
  end(lease: string): void {
    this.leases.delete(lease);
    const gone = [...this.rows.values()].filter(row => row.lease === lease);
    if (gone.length === 0) return;
    this.#revision += 1;
    for (const {key} of gone) {
      this.rows.delete(key);
      this.#tell({type: 'delete', revision: this.#revision, key, modRevision: this.#revision});
    }
  }

  #put(
    request: SeenRequest,
    url: URL,
    how: {
      readonly answer: (value: unknown) => void;
      readonly refuse: (code: Parameters<typeof problem>[0]) => void;
    },
  ): void {
    const key = decodeURIComponent(url.pathname.slice('/kv/'.length));
    const lease = url.searchParams.get('lease') ?? '';
    const before = this.rows.get(key);
    const mustBeAbsent = request.headers['if-none-match'] === '*';
    if (!this.leases.has(lease)) how.refuse('LEASE_NOT_FOUND');
    else if (mustBeAbsent === (before !== undefined)) how.refuse('PRECONDITION_FAILED');
    else {
      const revision = ++this.#revision;
      const row = {
        key,
        value: String(request.body),
        createRevision: before?.createRevision ?? revision,
        modRevision: revision,
        version: (before?.version ?? 0) + 1,
        lease,
      };
      this.rows.set(key, row);
      how.answer({key, revision, version: row.version});
      this.#tell({type: 'put', revision, ...row});
    }
  }

  #watch(url: URL, response: ServerResponse): void {
    const prefix = url.searchParams.get('key') ?? url.searchParams.get('prefix') ?? '';
    const from = Number(url.searchParams.get('from') ?? this.#revision + 1);
    const watcher = {prefix, from, response};
    this.watchers.add(watcher);
    response.on('close', () => this.watchers.delete(watcher));
    response.writeHead(200, {'Content-Type': 'application/x-ndjson'});
    response.write(`${JSON.stringify({type: 'progress', revision: from - 1})}\n`);
    for (const event of this.events) send(watcher, event);
    this.#watcherCount += 1;
    for (const {count, resolve} of this.#onWatchers) if (this.#watcherCount >= count) resolve();
  }

  #tell(event: Readonly<Record<string, unknown>>): void {
    this.events.push(event);
    for (const watcher of this.watchers) send(watcher, event);
  }
}

function send(watcher: Watcher, event: Readonly<Record<string, unknown>>): void {
  const isMeant = String(event['key']).startsWith(watcher.prefix);
  if (isMeant && Number(event['revision']) >= watcher.from) {
    watcher.response.write(`${JSON.stringify(event)}\n`);
  }
}
