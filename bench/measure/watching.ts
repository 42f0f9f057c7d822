/**
 * How soon many watchers on all nodes are told of writes at a fixed rate. Writer and watchers share
 * this process and its clock; each value is the moment at which its write was sent.
 */
import net from 'node:net';
import {must} from '../../src/base/assert.ts';
import {percentile} from '../load/load-figures.ts';
import type {WatchFigures} from '../report/results.ts';
import {httpRequest} from '../systems/http-request.ts';
import {delay} from '../systems/poll.ts';
import type {BenchContext} from './bench-context.ts';

const writesPerSecond = 1_000;
const watcherCount = 1_000;
/** So many watchers are told of one write. */
const watchersPerKey = 20;
const batchIntervalMs = 10;
const settleMs = 2_000;

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

  await writeAtRate(leaderPort, prefixCount, 2);
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
  const startedAtMs = performance.now();
  const writes: Promise<void>[] = [];
  while (writes.length < total) {
    const dueCount = Math.floor(((performance.now() - startedAtMs) * writesPerSecond) / 1000);
    while (writes.length < Math.min(total, dueCount)) {
      writes.push(writeNow(port, `w${writes.length % prefixCount}-${writes.length}`));
    }
    await delay(batchIntervalMs);
  }
  await Promise.all(writes);
  return total;
}

async function writeNow(port: number, key: string): Promise<void> {
  const body = JSON.stringify({key, value: `at${performance.now().toFixed(3)}`});
  const answer = await httpRequest(port, {method: 'PUT', path: '/kv', body});
  if (answer?.status !== 200) throw new Error(`a write was answered ${answer?.status ?? 'never'}`);
}

const valuePattern = /"value":"at([0-9.]+)"/g;
/** More than one value with its name. */
const restSizeMax = 64;

/** A stream of events as lines, of which only the values are looked at. */
class Watcher {
  readonly opened: Promise<void>;
  readonly latenciesMs: number[] = [];
  readonly #socket: net.Socket;
  #rest = '';

  constructor(port: number, prefix: string) {
    this.#socket = net.connect(port, '127.0.0.1');
    this.#socket.setEncoding('latin1');
    this.#socket.write(
      `GET /watch?prefix=${prefix} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
        'Accept: application/x-ndjson\r\n\r\n',
    );
    this.opened = new Promise((resolve, reject) => {
      this.#socket.once('data', text => {
        if (String(text).startsWith('HTTP/1.1 200')) resolve();
        else reject(new Error(`a watch was answered ${String(text).slice(0, 200)}`));
      });
      this.#socket.once('error', reject);
    });
    this.#socket.on('data', text => this.#take(String(text)));
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    const nowMs = performance.now();
    const whole = this.#rest + text;
    let end = 0;
    for (const match of whole.matchAll(valuePattern)) {
      this.latenciesMs.push(nowMs - Number(match[1]));
      end = match.index + match[0].length;
    }
    this.#rest = whole.slice(Math.max(end, whole.length - restSizeMax));
  }
}
