/**
 * An HttpApi on a loopback port over the fake service, and two ways to talk to it: requests
 * through node's client, and bytes on a bare socket for what no client would send.
 */
import {request as httpRequest, type IncomingHttpHeaders} from 'node:http';
import {connect, type Socket} from 'node:net';
import {performance} from 'node:perf_hooks';
import type {TestContext} from 'node:test';
import {HttpApi, type HttpApiOptions} from '../../src/api/http/http-api.ts';
import type {Clock} from '../../src/base/clock.ts';
import {silentLogger} from '../../src/base/logger.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import {WatchHub} from '../../src/node/watch-hub.ts';
import {FakeRows} from './fake-rows.ts';
import {FakeService} from './fake-service.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON; undefined when it is not JSON. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
}

export interface Observation {
  readonly route: string;
  readonly method: string;
  readonly status: number;
}

export const testClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return {cancel: () => clearTimeout(timer)};
  },
  afterPoll: callback => void setImmediate(callback),
};

export class HttpFixture {
  readonly service = new FakeService();
  readonly observations: Observation[] = [];
  readonly api: HttpApi;

  constructor(options: Partial<HttpApiOptions>) {
    this.api = new HttpApi({
      service: this.service,
      // Of a store in which nothing happens.
      watches: new WatchHub({
        source: new KvStateMachine(new FakeRows()),
        clock: testClock,
        refusal: () => null,
      }),
      address: {host: '127.0.0.1', port: 0},
      hostNames: [],
      corsOrigins: [],
      logger: silentLogger,
      clock: testClock,
      metricsText: () => Promise.resolve('rosetta_up 1\n'),
      observe: (route, method, status) => this.observations.push({route, method, status}),
      ...options,
    });
  }

  get port(): number {
    return this.api.address().port;
  }

  request(
    method: string,
    path: string,
    options: {
      readonly body?: string | Uint8Array;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Answer> {
    const {port} = this;
    return new Promise((resolve, reject) => {
      const headers = {...options.headers};
      if (options.body !== undefined && headers['Transfer-Encoding'] === undefined) {
        headers['Content-Length'] = String(Buffer.byteLength(options.body));
      }
      const sent = httpRequest({port, host: '127.0.0.1', method, path, headers, agent: false});
      sent.on('error', reject);
      sent.on('response', response => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString('utf8');
          const status = response.statusCode ?? 0;
          resolve({status, headers: response.headers, bytes, text, json: asJson(text)});
        });
      });
      sent.end(options.body);
    });
  }

  put(key: string, value: string): Promise<Answer> {
    return this.request('PUT', `/kv/${encodeURIComponent(key)}`, {body: value});
  }

  socket(): Socket {
    return connect(this.port, '127.0.0.1');
  }

  /** Writes `bytes` to a fresh connection and returns what came until the server closed it. */
  raw(bytes: string | Uint8Array): Promise<string> {
    return new Promise(resolve => {
      const socket = this.socket();
      let received = '';
      socket.setEncoding('latin1');
      socket.on('data', (chunk: string) => (received += chunk));
      // A reset after the answer is the server's right.
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(received));
      socket.write(bytes);
    });
  }

  stop(): Promise<void> {
    return new Promise(resolve => this.api.stop(1_000, resolve));
  }
}

/** Started; stopped when the test ends. */
export async function startHttp(
  t: TestContext,
  options: Partial<HttpApiOptions> = {},
): Promise<HttpFixture> {
  const fixture = new HttpFixture(options);
  await new Promise<void>((resolve, reject) =>
    fixture.api.start(error => {
      if (error === null) resolve();
      else reject(error);
    }),
  );
  t.after(() => fixture.stop());
  return fixture;
}

function asJson(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
