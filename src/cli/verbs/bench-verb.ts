/** `bench`: what a running cluster does, with a picture of its latencies. */
import {randomBytes} from 'node:crypto';
import {formatAddress} from '../../base/address.ts';
import {limits} from '../../base/limits.ts';
import {isClientError} from '../../client/client-error.ts';
import type {ClientError} from '../../client/client-error.ts';
import type {Client} from '../../client/client.ts';
import {connect} from '../../client/node-client.ts';
import {originsOf, timeoutMsOf, verbErrorOf, clientFlags} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {endpointsOf} from './endpoints.ts';
import {LatencyDistribution} from './latency-distribution.ts';
import type {Bar} from './latency-distribution.ts';
import {ProgressBar} from './progress-bar.ts';
import {countText, pairsText, Table} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {integerFlag, isOn, jsonFlag, secondsFlag, text} from './verb.ts';

export const benchVerb: Verb = {
  name: 'bench',
  operands: [],
  summary: 'measure a running cluster: rate, and a histogram of latencies',
  flags: {
    clients: text('N', 'requests under way at once, spread over the endpoints (64)'),
    seconds: text('SECONDS', 'measure so long (5)'),
    size: text('BYTES', 'of a value (128)'),
    read: {kind: 'switch', value: '', help: 'linearizable reads instead of writes'},
    ...clientFlags,
    ...jsonFlag,
  },
  run: bench,
};

/** Few enough to be deleted at one revision. */
const keyCount = 1_000;
/** Writers of the keys that are read. */
const fillClientCount = 64;
const failureCountMax = 1_000;

interface Plan {
  readonly clientCount: number;
  readonly seconds: number;
  readonly sizeBytes: number;
  readonly isRead: boolean;
  readonly prefix: string;
}

interface Report {
  readonly seconds: number;
  readonly latencies: LatencyDistribution;
  /** By code. */
  readonly failures: ReadonlyMap<string, number>;
}

async function bench(input: VerbInput): Promise<number> {
  const plan = {
    clientCount: integerFlag(input, 'clients', {min: 1, max: 1_024, fallback: 64}),
    seconds: secondsFlag(input, 'seconds', {min: 0.1, max: 86_400}) ?? 5,
    sizeBytes: integerFlag(input, 'size', {min: 0, max: limits.valueSizeBytesMax, fallback: 128}),
    isRead: isOn(input, 'read'),
    prefix: `rosetta-bench/${randomBytes(6).toString('hex')}/`,
  };
  const origins = originsOf(input);
  const clients = origins.map((_, i) => {
    // Each keeps to another node, and has the others to turn to.
    const endpoints = [...origins.slice(i), ...origins.slice(0, i)];
    const connectionCountMax = Math.max(plan.clientCount, fillClientCount);
    return connect({endpoints, timeoutMs: timeoutMsOf(input), connectionCountMax});
  });
  try {
    const report = await measure(input, clients, plan);
    print(input, plan, report);
    return report.latencies.count === 0 ? 1 : 0;
  } catch (error) {
    throw isClientError(error) ? verbErrorOf(error, origins) : error;
  } finally {
    await Promise.all(clients.map(client => client.close()));
  }
}

async function measure(input: VerbInput, clients: readonly Client[], plan: Plan): Promise<Report> {
  const [first] = clients;
  const value = randomBytes(plan.sizeBytes);
  const run = new Run(clients, plan, value);
  input.onSignal(() => run.stop());
  const bar = new ProgressBar(input.output);
  try {
    // Also the answer to whether there is a cluster at all.
    await run.fill();
    return await run.measure(bar);
  } finally {
    bar.end();
    await first?.deleteRange({prefix: plan.prefix}).catch(() => {
      input.output.note(`rosetta: the keys under ${plan.prefix} are still there\n`);
    });
  }
}

class Run {
  readonly #clients: readonly Client[];
  readonly #plan: Plan;
  readonly #value: Uint8Array;
  readonly #latencies = new LatencyDistribution();
  readonly #failures = new Map<string, number>();
  #failureCount = 0;
  #isStopped = false;
  #next = 0;

  constructor(clients: readonly Client[], plan: Plan, value: Uint8Array) {
    this.#clients = clients;
    this.#plan = plan;
    this.#value = value;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** One key before a run of writes, which opens the sessions; all of them before one of reads. */
  async fill(): Promise<void> {
    const wanted = this.#plan.isRead ? keyCount : this.#clients.length;
    await this.#workers(fillClientCount, async client => {
      while (!this.#isStopped && this.#next < wanted) {
        await client.put(this.#key(this.#next++), this.#value);
      }
    });
  }

  async measure(bar: ProgressBar): Promise<Report> {
    const startedAtMs = performance.now();
    const endsAtMs = startedAtMs + this.#plan.seconds * 1000;
    const tick = setInterval(() => {
      const seconds = (performance.now() - startedAtMs) / 1000;
      const rate = `${countText(Math.round(this.#latencies.count / seconds))}/s`;
      bar.showShare(seconds / this.#plan.seconds, rate);
    }, 100);
    try {
      await this.#workers(this.#plan.clientCount, client => this.#work(client, endsAtMs));
    } finally {
      clearInterval(tick);
    }
    const seconds = (performance.now() - startedAtMs) / 1000;
    return {seconds, latencies: this.#latencies, failures: this.#failures};
  }

  async #workers(count: number, work: (client: Client) => Promise<void>): Promise<void> {
    const workers = Array.from({length: count}, (_, i) => {
      const client = this.#clients[i % this.#clients.length];
      return client === undefined ? Promise.resolve() : work(client);
    });
    await Promise.all(workers);
  }

  async #work(client: Client, endsAtMs: number): Promise<void> {
    for (;;) {
      const startedAtMs = performance.now();
      if (startedAtMs >= endsAtMs || this.#isStopped) return;
      try {
        const key = this.#key(this.#next++);
        if (this.#plan.isRead) await client.get(key);
        else await client.put(key, this.#value);
        this.#latencies.record(performance.now() - startedAtMs);
      } catch (error) {
        if (!isClientError(error)) throw error;
        this.#noteFailure(error);
      }
    }
  }

  #noteFailure(error: ClientError): void {
    this.#failures.set(error.code, (this.#failures.get(error.code) ?? 0) + 1);
    this.#failureCount += 1;
    // A cluster that refuses everything is not measured by asking it faster.
    if (this.#failureCount >= failureCountMax) throw error;
  }

  #key(number: number): string {
    return `${this.#plan.prefix}${number % keyCount}`;
  }
}

function print(input: VerbInput, plan: Plan, report: Report): void {
  const {latencies, seconds, failures} = report;
  const rate = latencies.count / seconds;
  const millis = {
    p50: latencies.quantileMs(0.5),
    p99: latencies.quantileMs(0.99),
    max: latencies.maxMs,
    mean: latencies.meanMs,
  };
  if (isOn(input, 'json')) {
    const {clientCount: clients, sizeBytes: size, isRead} = plan;
    const fields = {
      operation: isRead ? 'get' : 'put',
      clients,
      size,
      seconds,
      requests: latencies.count,
      rate,
      latencyMs: millis,
      histogram: latencies.bars(),
      failures: Object.fromEntries(failures),
    };
    input.output.print(`${JSON.stringify(fields)}\n`);
    return;
  }
  const {bold, red} = coloursFor(input);
  const {clientCount, sizeBytes, isRead} = plan;
  const what = isRead ? 'linearizable get' : 'put';
  const where = endpointsOf(input).map(formatAddress).join(', ');
  const head =
    `${bold(what)} of ${countText(sizeBytes)} bytes, ${clientCount} at once, ` +
    `${seconds.toFixed(1)} s, through ${where}\n\n`;
  const failed = [...failures].map(([code, count]) => `${countText(count)} ${code}`).join(', ');
  const pairs = pairsText([
    ['rate', bold(`${countText(Math.round(rate))}/s`)],
    ['requests', countText(latencies.count)],
    ['failed', failed === '' ? 'none' : red(failed)],
    ['p50', `${msText(millis.p50)} ms`],
    ['p99', `${msText(millis.p99)} ms`],
    ['max', `${msText(millis.max)} ms`],
  ]);
  input.output.print(`${head}${pairs}\n${histogramText(input, latencies.bars())}`);
}

const barWidthMax = 40;

function histogramText(input: VerbInput, bars: readonly Bar[]): string {
  const {green} = coloursFor(input);
  const total = bars.reduce((sum, {count}) => sum + count, 0);
  const highest = Math.max(...bars.map(({count}) => count));
  const table = new Table([
    {title: 'LATENCY', align: 'right'},
    {title: 'REQUESTS', align: 'right'},
    {title: 'SHARE', align: 'right'},
    {title: '', paint: green},
  ]);
  const rows = bars.map(({upToMs, count}) => [
    upToMs === Infinity ? 'longer' : `≤ ${upToMs} ms`,
    countText(count),
    `${((100 * count) / total).toFixed(1)} %`,
    barText(count / highest),
  ]);
  table.measure(rows);
  return table.head(coloursFor(input).bold) + table.rows(rows);
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** `share` of the width, in eighths of a character; whatever is not 0 is seen. */
function barText(share: number): string {
  const parts = share === 0 ? 0 : Math.max(Math.round(share * barWidthMax * 8), 1);
  return '█'.repeat(Math.floor(parts / 8)) + (eighths[parts % 8] ?? '');
}

/** Three digits that count. */
function msText(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}
