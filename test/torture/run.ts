/**
 * One run: members and clients start; the load is real before anything breaks; faults; everything
 * is healed; the nodes' states are compared, every key is read on every node, the logs are read,
 * and the history is judged.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {must} from '../../src/base/assert.ts';
import {Prng} from '../../src/base/prng.ts';
import {pause} from '../cluster/eventually.ts';
import {ClientProcess} from './client-process.ts';
import type {FaultName} from './faults.ts';
import {obstacle} from './faults.ts';
import {History} from './history.ts';
import type {Judgement} from './judge.ts';
import {countSuccesses, judgeHistory, successCountMin} from './judge.ts';
import {Nemesis} from './nemesis.ts';
import type {TortureOptions} from './options.ts';
import {Requests} from './requests.ts';
import {TortureCluster} from './torture-cluster.ts';
import type {Workload} from './workloads.ts';
import {createWorkload} from './workloads.ts';

export interface TortureResult {
  /** Empty: all is well. */
  readonly problems: readonly string[];
  readonly judgements: readonly Judgement[];
  readonly faultCounts: ReadonlyMap<FaultName, number>;
  /** Answers by code, `ok` among them. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly okPerSecond: number;
  /** From the end of the last fault until every node had served a linearizable read. */
  readonly recoveryMs: number;
  readonly residentSizeMiBMax: number;
  readonly descriptorCountMax: number;
  /** Null: there was nothing to keep. */
  readonly directory: string | null;
}

const settleMsMax = 30_000;
/** Periods of warming up. */
const warmUpCountMax = 5;
/** Members that lost what they acknowledged may never agree again. */
const lyingSettleMsMax = 8_000;
/** A disk that lies loses what was acknowledged before a kill: that much there has to be. */
const lyingOkBetweenStrikes = 100;

export async function runTorture(
  options: TortureOptions,
  say: (line: string) => void,
): Promise<TortureResult> {
  const directory = mkdtempSync(join(tmpdir(), 'rosetta-torture-'));
  const run = new Run(directory, options, say);
  let result: TortureResult | null = null;
  try {
    result = await run.perform();
    return result;
  } finally {
    await run.close();
    const isGood = result?.problems.length === 0;
    if (isGood && !options.mustKeep) rmSync(directory, {recursive: true, force: true});
    else say(`kept: ${directory} (history.jsonl and the logs of the nodes)`);
  }
}

class Run {
  readonly #directory: string;
  readonly #options: TortureOptions;
  readonly #say: (line: string) => void;
  readonly #history: History;
  readonly #clients: ClientProcess[] = [];
  readonly #requests: Requests[] = [];
  #cluster: TortureCluster | null = null;
  #workloads: readonly Workload[] = [];
  #isStopping = false;
  readonly #settleMsMax: number;

  constructor(directory: string, options: TortureOptions, say: (line: string) => void) {
    this.#directory = directory;
    this.#options = options;
    this.#say = say;
    this.#settleMsMax = options.hasLyingDisks ? lyingSettleMsMax : settleMsMax;
    this.#history = new History(join(directory, 'history.jsonl'));
  }

  async perform(): Promise<TortureResult> {
    const {seconds, seed, warmUpSeconds, rateMin, mustKeep} = this.#options;
    const cluster = await TortureCluster.create(this.#directory, this.#options);
    this.#cluster = cluster;
    for (const node of cluster.nodes) cluster.start(node);
    await cluster.settle(this.#settleMsMax);
    this.#say(`${cluster.nodes.length} nodes are ready in ${this.#directory}`);

    const running = this.#startClients(cluster);
    const rate = await this.#warmUp(warmUpSeconds, rateMin);
    this.#say(`${rate.toFixed(1)} operations a second before the first fault`);
    if (rate < rateMin) {
      cluster.problems.push(`the load is no load: ${rate.toFixed(1)} operations a second`);
    }
    const startedAtMs = performance.now();
    const okBefore = this.#okCount();
    const load = {
      okCount: () => this.#okCount(),
      okBetweenStrikes: this.#options.hasLyingDisks ? lyingOkBetweenStrikes : 0,
    };
    const faults = await this.#faults(cluster);
    const nemesis = new Nemesis(cluster, new Prng(seed), faults, load, line => {
      const at = (performance.now() - startedAtMs) / 1000;
      this.#say(`${at.toFixed(1).padStart(6)} s  ${line}`);
    });
    await nemesis.run(seconds * 1000);
    const okPerSecond = (this.#okCount() - okBefore) / seconds;
    await nemesis.heal();
    const healedAtMs = performance.now();
    const recoveryMs = await this.#recovered(cluster, healedAtMs);
    this.#say(`healed; every node serves again after ${Math.round(recoveryMs)} ms`);
    this.#isStopping = true;
    await Promise.all(running);
    const underFaults = countSuccesses(this.#history.events);
    await this.#end(cluster);
    const judgements = this.#judge(cluster, underFaults);
    return {
      problems: cluster.problems,
      judgements,
      faultCounts: nemesis.counts,
      outcomes: this.#outcomes(),
      okPerSecond,
      recoveryMs,
      residentSizeMiBMax: cluster.residentSizeMiBSeen,
      descriptorCountMax: cluster.descriptorCountSeen,
      directory: cluster.problems.length === 0 && !mustKeep ? null : this.#directory,
    };
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    for (const requests of this.#requests) requests.close();
    await this.#cluster?.close();
    this.#history.close();
  }

  #startClients(cluster: TortureCluster): Promise<void>[] {
    const {workloads, clientsPerWorkload, seed, hasStaleReads} = this.#options;
    const {mayRepeatKeyless} = this.#options;
    this.#workloads = workloads.map(name => createWorkload(name, {mayRepeatKeyless}));
    const nodes = cluster.nodes.map(
      node =>
        new Requests(
          node.id,
          {host: cluster.network.httpHost(node), port: node.httpPort},
          {hasStaleReads},
        ),
    );
    this.#requests.push(...nodes);
    return this.#workloads.flatMap((workload, w) =>
      Array.from({length: clientsPerWorkload}, async (_, i) => {
        const prng = new Prng((seed + 1_000 * w + i + 1) >>> 0);
        const client = new ClientProcess(this.#history, nodes, prng);
        this.#clients.push(client);
        while (!this.#isStopping) await workload.turn(client);
      }),
    );
  }

  /**
   * Operations a second. A slow machine may take some times as long to come up to the rate; one
   * that never does has no load.
   */
  async #warmUp(seconds: number, rateMin: number): Promise<number> {
    let rate = 0;
    for (let i = 0; i < warmUpCountMax && (i === 0 || rate < rateMin); i++) {
      const before = this.#okCount();
      await pause(seconds * 1000);
      rate = (this.#okCount() - before) / seconds;
    }
    return rate;
  }

  async #faults(cluster: TortureCluster): Promise<FaultName[]> {
    const possible: FaultName[] = [];
    for (const name of this.#options.faults) {
      const reason = await obstacle(name, cluster);
      // Said, not hidden: what this machine cannot do was not tested.
      if (reason === null) possible.push(name);
      else this.#say(`without ${name}: ${reason}`);
    }
    return possible;
  }

  async #recovered(cluster: TortureCluster, healedAtMs: number): Promise<number> {
    const client = new ClientProcess(this.#history, this.#requests, new Prng(0));
    try {
      await Promise.all(cluster.nodes.map(node => node.waitReady(this.#settleMsMax)));
      for (const requests of this.#requests) {
        for (;;) {
          const answer = await requests.get('nothing');
          if (answer.type === 'ok') break;
          const elapsedMs = performance.now() - healedAtMs;
          if (elapsedMs > this.#settleMsMax) {
            throw new Error(`${requests.node} answers ${answer.error} long after the last fault`);
          }
          await pause(20);
        }
      }
    } catch (error) {
      cluster.problems.push(`no recovery: ${String(error)}`);
    }
    this.#clients.push(client);
    return performance.now() - healedAtMs;
  }

  /** No more writes, so the states can be compared; then every key on every node. */
  async #end(cluster: TortureCluster): Promise<void> {
    const client = must(this.#clients.at(-1), 'a client that reads at the end');
    try {
      // Who did not recover in that long is given no more time.
      await cluster.settle(cluster.problems.length === 0 ? this.#settleMsMax : 2_000);
      for (const workload of this.#workloads) {
        for (const requests of this.#requests) await this.#readAll(workload, client, requests);
      }
    } catch (error) {
      cluster.problems.push(`the nodes do not come to rest: ${String(error)}`);
    }
    cluster.checkUsage();
    cluster.readLogs();
  }

  /** What cannot be read at the end was not looked at. Throws then. */
  async #readAll(workload: Workload, client: ClientProcess, node: Requests): Promise<void> {
    for (const key of workload.keys()) {
      const endMs = performance.now() + this.#settleMsMax;
      for (;;) {
        const {type, fields} = await workload.read(client, node, key);
        if (type === 'ok') break;
        if (performance.now() > endMs) {
          throw new Error(
            `${node.node} answers the last read of ${key} with ${fields.error ?? ''}`,
          );
        }
      }
    }
  }

  /** `underFaults`: without the reads at the end. */
  #judge(
    cluster: TortureCluster,
    underFaults: ReturnType<typeof countSuccesses>,
  ): readonly Judgement[] {
    const min = successCountMin(this.#options.seconds);
    for (const {name} of this.#workloads) {
      const {reads, writes} = underFaults.get(name) ?? {reads: 0, writes: 0};
      if (reads >= min && writes >= min) continue;
      cluster.problems.push(`${name}: ${reads} reads and ${writes} writes succeeded, not ${min}`);
    }
    const judgements = judgeHistory(this.#history.events);
    for (const {workload, verdict, text} of judgements) {
      if (verdict !== 'ok') cluster.problems.push(`${workload}: ${verdict}. ${text}`);
    }
    return judgements;
  }

  #okCount(): number {
    return this.#clients.reduce((sum, client) => sum + client.okCount, 0);
  }

  #outcomes(): Map<string, number> {
    const outcomes = new Map<string, number>();
    for (const client of this.#clients) {
      for (const [code, count] of client.outcomes) {
        outcomes.set(code, (outcomes.get(code) ?? 0) + count);
      }
    }
    return outcomes;
  }
}
