/**
 * What a browser's EventSource does (WHATWG HTML, 9.2 Server-sent events): it reads the stream line
 * by line, dispatches an event at each empty line, and when the connection ends it waits and comes
 * back with the id that it saw last. This one takes another node each time.
 */
import {request, type ClientRequest, type IncomingHttpHeaders} from 'node:http';

export interface MessageEvent {
  readonly type: string;
  readonly data: string;
  readonly lastEventId: string;
}

/** 9.2.5 and 9.2.6: from bytes to events. */
export class EventStreamParser {
  readonly events: MessageEvent[] = [];
  /** What a client that comes back would send. */
  lastEventId = '';
  /** Null: the server has not said. */
  retryMs: number | null = null;
  readonly #decoder = new TextDecoder('utf-8');
  #rest = '';
  #type = '';
  #data = '';
  #id: string;

  constructor(lastEventId: string) {
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  push(bytes: Uint8Array): void {
    this.#rest += this.#decoder.decode(bytes, {stream: true});
    for (;;) {
      // A carriage return at the end may be the first half of a line end.
      const end = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (end === null) return;
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      this.#takeLine(line);
    }
  }

  #takeLine(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    // A comment.
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') this.#type = value;
    else if (name === 'data') this.#data += `${value}\n`;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
  }

  #dispatch(): void {
    // Before it is known whether there is an event at all.
    this.lastEventId = this.#id;
    const data = this.#data.replace(/\n$/, '');
    const type = this.#type === '' ? 'message' : this.#type;
    const isEvent = this.#data !== '';
    this.#data = '';
    this.#type = '';
    if (isEvent) this.events.push({type, data, lastEventId: this.lastEventId});
  }
}

export class EventSource {
  readonly events: MessageEvent[] = [];
  /** The Last-Event-ID of each connection. */
  readonly sentIds: (string | undefined)[] = [];
  readonly #endpoints: readonly string[];
  readonly #path: string;
  readonly #retryMs: number;
  #parser = new EventStreamParser('');
  #call: ClientRequest | null = null;
  #onChange: () => void = () => undefined;
  #failure: Error | null = null;
  #isClosed = false;

  /** `retryMs`: instead of what the server says, which a test need not wait for. */
  constructor(endpoints: readonly string[], path: string, retryMs: number) {
    this.#endpoints = endpoints;
    this.#path = path;
    this.#retryMs = retryMs;
    this.#connect();
  }

  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** Resolves when it holds; rejects when the stream is one that an EventSource gives up. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onChange = () => {
        if (this.#failure !== null) reject(this.#failure);
        else if (condition()) resolve();
      };
      this.#onChange();
    });
  }

  /** The network takes the connection away. */
  cut(): void {
    this.#call?.destroy();
  }

  close(): void {
    this.#isClosed = true;
    this.#call?.destroy();
  }

  #connect(): void {
    if (this.#isClosed) return;
    const {lastEventId} = this.#parser;
    const [host = '', port = ''] =
      this.#endpoints[this.sentIds.length % this.#endpoints.length]?.split(':') ?? [];
    const id = lastEventId === '' ? {} : {'Last-Event-ID': lastEventId};
    const headers = {Accept: 'text/event-stream', 'Cache-Control': 'no-store', ...id};
    this.sentIds.push(lastEventId === '' ? undefined : lastEventId);
    const parser = new EventStreamParser(lastEventId);
    this.#parser = parser;
    const call = request({host, port, path: this.#path, headers, agent: false});
    this.#call = call;
    call.on('error', () => undefined);
    call.on('close', () => void setTimeout(() => this.#connect(), this.#retryMs));
    call.on('response', response => {
      this.#checkBeginning(response.statusCode ?? 0, response.headers);
      response.on('error', () => undefined);
      response.on('data', (bytes: Buffer) => {
        parser.push(bytes);
        this.events.push(...parser.events.splice(0));
        this.#onChange();
      });
    });
    call.end();
  }

  /** Anything else ends an EventSource for good. */
  #checkBeginning(status: number, headers: IncomingHttpHeaders): void {
    if (status === 200 && headers['content-type'] === 'text/event-stream') return;
    this.#failure = new Error(`${status} ${String(headers['content-type'])}`);
    this.#onChange();
  }
}

/** The events that `bytes` make, and the state in which a client is left. */
export function parsedStream(bytes: Uint8Array): EventStreamParser {
  const parser = new EventStreamParser('');
  parser.push(bytes);
  return parser;
}
