/**
 * How soon many watchers on all nodes are told of writes at a fixed rate. Writer and watchers share
 * this process and its clock; each value is the moment at which its write was sent. This process
 * shares the processors with the nodes, so it does no more than it has to: requests and answers are
 * bytes, and what a socket receives is looked at where it lies.
 */
import {Buffer} from 'node:buffer';
import net from 'node:net';
import {must} from '../../src/base/assert.ts';
import {percentile} from '../load/load-figures.ts';
import type {WatchFigures} from '../report/results.ts';
import {delay} from '../systems/poll.ts';
import type {BenchContext} from './bench-context.ts';

const writesPerSecond = 1_000;
const watcherCount = 1_000;
/** So many watchers are told of one write. */
const watchersPerKey = 20;
const batchIntervalMs = 10;
const settleMs = 2_000;
const warmUpSeconds = 8;

export async function measureWatching(context: BenchContext): Promise<WatchFigures> {
  const durationSeconds = context.options.isQuick ? 3 : 15;
  const cluster = await context.rosetta();
  await cluster.start();
  const prefixCount = watcherCount / watchersPerKey;
  const watchers = Array.from({length: watcherCount}, (_, i) => {
    const port = must(cluster.clientPorts[i % cluster.nodeCount], 'a port');
    return new Watcher(port, `w${i % prefixCount}-`);
  });
  await Promise.all(watchers.map(watcher => watcher.opened));
  const leaderPort = must(cluster.clientPorts[await cluster.leader()], 'a port');

  await writeAtRate(leaderPort, prefixCount, warmUpSeconds);
  await delay(settleMs);
  for (const watcher of watchers) watcher.latenciesMs.length = 0;
  const startedAtMs = performance.now();
  const writtenCount = await writeAtRate(leaderPort, prefixCount, durationSeconds);
  const tookSeconds = (performance.now() - startedAtMs) / 1000;
  await delay(settleMs);
  const latenciesMs = watchers.flatMap(watcher => watcher.latenciesMs);
  for (const watcher of watchers) watcher.close();
  await cluster.stop();
  const figures: WatchFigures = {
    watcherCount,
    writesPerSecond: writtenCount / tookSeconds,
    eventsPerSecond: latenciesMs.length / tookSeconds,
    missingCount: writtenCount * watchersPerKey - latenciesMs.length,
    p50Us: percentile(latenciesMs, 0.5) * 1000,
    p99Us: percentile(latenciesMs, 0.99) * 1000,
  };
  context.say(
    `watch: ${Math.round(figures.eventsPerSecond)} events/s, p99 ` +
      `${(figures.p99Us / 1000).toFixed(1)} ms, ${figures.missingCount} missing`,
  );
  return figures;
}

/** Returns how many writes were acknowledged; throws when one was refused. */
async function writeAtRate(port: number, prefixCount: number, seconds: number): Promise<number> {
  const total = seconds * writesPerSecond;
  const writers = new Writers(port);
  const startedAtMs = performance.now();
  let count = 0;
  while (count < total) {
    const dueCount = Math.floor(((performance.now() - startedAtMs) * writesPerSecond) / 1000);
    for (; count < Math.min(total, dueCount); count++) {
      writers.put(`w${count % prefixCount}-${count}`);
    }
    await delay(batchIntervalMs);
  }
  await writers.close();
  return total;
}

/** Connections that have one request under way each, as many as are needed at once. */
class Writers {
  readonly #port: number;
  readonly #idle: net.Socket[] = [];
  readonly #sockets: net.Socket[] = [];
  #underWayCount = 0;
  #failure: Error | null = null;
  #onAllAnswered: (() => void) | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  put(key: string): void {
    const body = JSON.stringify({key, value: `at${performance.now().toFixed(3)}`});
    const head = `PUT /kv HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n`;
    const socket = this.#idle.pop() ?? this.#connect();
    this.#underWayCount++;
    socket.write(head + body, 'latin1');
  }

  /** When all are answered. */
  async close(): Promise<void> {
    while (this.#underWayCount > 0 && this.#failure === null) {
      await new Promise<void>(resolve => (this.#onAllAnswered = resolve));
    }
    for (const socket of this.#sockets) socket.destroy();
    if (this.#failure !== null) throw this.#failure;
  }

  #connect(): net.Socket {
    const socket = net.connect({port: this.#port, host: '127.0.0.1', noDelay: true});
    this.#sockets.push(socket);
    // An answer is small and comes in one piece.
    socket.on('data', answer => {
      const text = String(answer);
      if (!text.startsWith('HTTP/1.1 200 ')) this.#fail(new Error(`a write was answered ${text}`));
      this.#idle.push(socket);
      this.#underWayCount--;
      if (this.#underWayCount === 0) this.#onAllAnswered?.();
    });
    socket.on('error', error => this.#fail(error));
    return socket;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#onAllAnswered?.();
  }
}

const beforeValue = Buffer.from('"value":"at');
/** Digits of a moment, and the quote behind them. */
const momentSizeMax = 24;
/** What all watchers' sockets receive into: each piece is looked at before the next is read. */
const received = Buffer.allocUnsafeSlow(64 * 1024);

/** A stream of events as lines, of which only the values are looked at. */
class Watcher {
  readonly opened: Promise<void>;
  readonly latenciesMs: number[] = [];
  readonly #socket: net.Socket;
  /** A piece of the last line, when a value may begin in it. */
  #rest = Buffer.alloc(0);
  #onFirst: ((text: string) => void) | null = null;

  constructor(port: number, prefix: string) {
    const callback = (sizeBytes: number, buffer: Uint8Array): boolean => {
      this.#receive(Buffer.from(buffer.buffer, buffer.byteOffset, sizeBytes));
      return true;
    };
    this.#socket = net.connect({port, host: '127.0.0.1', onread: {buffer: received, callback}});
    this.#socket.write(
      `GET /watch?prefix=${prefix} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
        'Accept: application/x-ndjson\r\n\r\n',
    );
    this.opened = new Promise((resolve, reject) => {
      this.#onFirst = text => {
        if (text.startsWith('HTTP/1.1 200')) resolve();
        else reject(new Error(`a watch was answered ${text.slice(0, 200)}`));
      };
      this.#socket.once('error', reject);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    this.#onFirst?.(bytes.toString('latin1'));
    this.#onFirst = null;
    this.#take(this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]));
  }

  #take(bytes: Buffer): void {
    const nowMs = performance.now();
    let taken = 0;
    for (;;) {
      const found = bytes.indexOf(beforeValue, taken);
      const start = found + beforeValue.length;
      const end = found < 0 ? -1 : bytes.indexOf(0x22, start);
      if (end < 0) break;
      this.latenciesMs.push(nowMs - Number(bytes.toString('latin1', start, end)));
      taken = end;
    }
    const restSizeMax = beforeValue.length + momentSizeMax;
    const from = Math.max(taken, bytes.length - restSizeMax);
    // A line ends whole nearly always; then nothing of it can be the beginning of a value.
    const isWhole = bytes[bytes.length - 1] === 0x0a || bytes.length === 0;
    this.#rest = isWhole ? Buffer.alloc(0) : Buffer.from(bytes.subarray(from));
  }
}
