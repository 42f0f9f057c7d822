/**
 * Closed-loop load on three stores that run side by side, one at a time: round by round, and within
 * a round one store after the other, so that a change of the machine's mood meets all of them.
 */
import type {LoadFigures} from '../load/load-figures.ts';
import {median} from '../load/load-figures.ts';
import {runRedisBenchmark} from '../load/redis-benchmark.ts';
import type {ThroughputRow, WorkloadName} from '../report/results.ts';
import {workloadNames} from '../report/results.ts';
import {cpuSeconds, rssAnonBytes} from '../systems/process-usage.ts';
import type {RedisServer} from '../systems/redis-server.ts';
import type {StoreCluster, StoreName} from '../systems/store-cluster.ts';
import type {BenchContext} from './bench-context.ts';
import {comparedKey, comparedValue, etcdHas, runRound, valueSizeBytes} from './workload-plan.ts';

export const connectionCounts = [1, 64, 256] as const;
/**
 * Of each load at 64 connections, before anything is measured: a server runs for weeks, and some
 * hundred thousand requests into them its code is compiled and its files have their size.
 */
const warmUpSeconds = 8;
const quickWarmUpSeconds = 2;

export interface Stores {
  readonly clusters: readonly StoreCluster[];
  /** Null: not installed. */
  readonly redis: RedisServer | null;
}

interface Measured {
  readonly figures: LoadFigures;
  readonly cpuSecondsPer10kRequests: number | null;
  readonly rssAnonBytesPerNode: number | null;
}

/** Rounds of one store, workload and number of connections. */
interface Series {
  readonly store: StoreName;
  readonly workload: WorkloadName;
  readonly connectionCount: number;
  readonly run: (durationSeconds: number) => Promise<Measured>;
  readonly rounds: Measured[];
}

export async function measureThroughput(
  context: BenchContext,
  stores: Stores,
): Promise<ThroughputRow[]> {
  const {roundCount, secondsPerRound, selected, isQuick} = context.options;
  const workloads = workloadNames.filter(name => selected.has(name));
  for (const cluster of stores.clusters) await writeComparedKey(cluster);
  const series = connectionCounts.flatMap(connectionCount =>
    workloads.flatMap(workload => seriesOf(context, stores, {workload, connectionCount})),
  );
  for (const one of series) {
    if (one.connectionCount === 64) await one.run(isQuick ? quickWarmUpSeconds : warmUpSeconds);
  }
  for (let round = 1; round <= roundCount; round++) {
    for (const one of series) {
      const measured = await one.run(secondsPerRound);
      one.rounds.push(measured);
      const {figures} = measured;
      context.say(
        `round ${round}/${roundCount}  ${one.store.padEnd(8)} ${one.workload.padEnd(13)} ` +
          `${String(one.connectionCount).padStart(3)} connections  ` +
          `${String(Math.round(figures.requestsPerSecond)).padStart(7)}/s  ` +
          `p50 ${ms(figures.p50Us)}  p99 ${ms(figures.p99Us)}` +
          (figures.errorCount === 0 ? '' : `  ${figures.errorCount} errors`),
      );
    }
  }
  for (const cluster of stores.clusters) await verifyComparedKey(cluster);
  return series.map(summarize);
}

/** So that the first GET has something to read. */
async function writeComparedKey(cluster: StoreCluster): Promise<void> {
  const isDone = await cluster.put(await cluster.leader(), comparedKey, comparedValue, 5_000);
  if (!isDone) throw new Error(`${cluster.name} does not take a write`);
}

async function verifyComparedKey(cluster: StoreCluster): Promise<void> {
  const found = await cluster.get(await cluster.leader(), comparedKey);
  if (found !== comparedValue) throw new Error(`${cluster.name} does not hold what was written`);
}

function seriesOf(
  context: BenchContext,
  stores: Stores,
  load: {readonly workload: WorkloadName; readonly connectionCount: number},
): Series[] {
  const {workload, connectionCount} = load;
  const {scratchDirectory} = context;
  const series: Series[] = [];
  for (const cluster of stores.clusters) {
    if (cluster.name === 'etcd' && !etcdHas(workload)) continue;
    const run = (durationSeconds: number): Promise<Measured> => {
      const shape = {connectionCount, durationSeconds, scratchDirectory};
      return withUsage(cluster.pids(), () => runRound(cluster, workload, shape));
    };
    series.push({store: cluster.name, ...load, run, rounds: []});
  }
  const {redis} = stores;
  if (redis !== null && (workload === 'put' || workload === 'get')) {
    const command = workload === 'put' ? 'set' : 'get';
    const run = (durationSeconds: number): Promise<Measured> => {
      const shape = {connectionCount, durationSeconds, port: redis.port};
      return withUsage(redis.pids(), () => runRedisBenchmark(shape, {command, valueSizeBytes}));
    };
    series.push({store: 'redis', ...load, run, rounds: []});
  }
  return series;
}

async function withUsage(
  pids: readonly number[],
  run: () => Promise<LoadFigures>,
): Promise<Measured> {
  const before = cpuSeconds(pids);
  const figures = await run();
  const after = cpuSeconds(pids);
  const memory = pids.flatMap(pid => rssAnonBytes(pid) ?? []);
  return {
    figures,
    cpuSecondsPer10kRequests:
      before === null || after === null ? null : ((after - before) / figures.requestCount) * 1e4,
    rssAnonBytesPerNode:
      memory.length === 0 ? null : memory.reduce((sum, bytes) => sum + bytes, 0) / memory.length,
  };
}

function summarize({store, workload, connectionCount, rounds}: Series): ThroughputRow {
  const of = (pick: (figures: LoadFigures) => number): number =>
    median(rounds.map(({figures}) => pick(figures)));
  const ofUsage = (pick: (round: Measured) => number | null): number | null => {
    const values = rounds.flatMap(round => pick(round) ?? []);
    return values.length === 0 ? null : median(values);
  };
  return {
    store,
    workload,
    connectionCount,
    roundCount: rounds.length,
    requestCount: rounds.reduce((sum, {figures}) => sum + figures.requestCount, 0),
    errorCount: rounds.reduce((sum, {figures}) => sum + figures.errorCount, 0),
    durationSeconds: of(figures => figures.durationSeconds),
    requestsPerSecond: of(figures => figures.requestsPerSecond),
    p50Us: of(figures => figures.p50Us),
    p99Us: of(figures => figures.p99Us),
    cpuSecondsPer10kRequests: ofUsage(round => round.cpuSecondsPer10kRequests),
    rssAnonBytesPerNode: ofUsage(round => round.rssAnonBytesPerNode),
  };
}

function ms(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(2)} ms`.padStart(9);
}
