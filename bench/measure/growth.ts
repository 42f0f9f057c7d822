/** How rates change with the number of keys, the size of values, the members and the history. */
import {must} from '../../src/base/assert.ts';
import type {LoadFigures} from '../load/load-figures.ts';
import type {HttpWorkload} from '../load/wrk-script.ts';
import {defaultWorkload, keyName} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {GrowthRow} from '../report/results.ts';
import type {RosettaCluster} from '../systems/rosetta-cluster.ts';
import type {BenchContext} from './bench-context.ts';
import {loadKeys} from './key-loader.ts';
import {runWrites} from './workload-plan.ts';

const connectionCount = 64;
const warmUpSeconds = 4;
const kib = 1024;
/** Steady is a load whose rate grows by less than a tenth from one of these rounds to the next. */
const steadyRoundSeconds = 10;
const steadyRoundCountMax = 12;
const steadyGrowthMax = 1.1;
const quickKeyCounts = [10_000, 100_000];
const keyCounts = [10_000, 100_000, 1_000_000, 10_000_000];
const valueSizes = [16, 128, kib, 16 * kib, 128 * kib, 1024 * kib];
const memberCounts = [1, 3, 5];
/** Updates of one key. */
const historyLengths = [100, 10_000, 100_000];

export async function measureGrowth(context: BenchContext): Promise<GrowthRow[]> {
  const {selected} = context.options;
  const rows: GrowthRow[] = [];
  if (selected.has('growth-keys')) rows.push(...(await growKeys(context)));
  if (selected.has('growth-values')) rows.push(...(await growValues(context)));
  if (selected.has('growth-members')) rows.push(...(await growMembers(context)));
  if (selected.has('growth-history')) rows.push(...(await growHistory(context)));
  return rows;
}

/** A process that has just started has yet to compile what it runs. */
async function startWarm(context: BenchContext, nodeCount = 3): Promise<RosettaCluster> {
  const cluster = await context.rosetta({nodeCount});
  await cluster.start();
  for (const readShare of [0, 1]) await runLoad(context, cluster, {readShare}, warmUpSeconds);
  return cluster;
}

async function growKeys(context: BenchContext): Promise<GrowthRow[]> {
  const cluster = await startWarm(context);
  const rows: GrowthRow[] = [];
  for (const keyCount of context.options.isQuick ? quickKeyCounts : keyCounts) {
    await loadKeys(context, cluster, keyCount);
    const first = await runLoad(context, cluster, {keyCount});
    const put = await runUntilSteady(context, cluster, {keyCount}, first);
    const get = await runLoad(context, cluster, {keyCount, readShare: 1});
    rows.push({
      property: 'keys',
      value: keyCount,
      operation: 'PUT, right after loading',
      load: first,
    });
    rows.push({property: 'keys', value: keyCount, operation: 'PUT', load: put});
    rows.push({property: 'keys', value: keyCount, operation: 'GET', load: get});
    sayRate(context, `${keyCount} keys`, put.requestsPerSecond, get.requestsPerSecond);
  }
  await cluster.stop();
  return rows;
}

async function growValues(context: BenchContext): Promise<GrowthRow[]> {
  const cluster = await startWarm(context);
  const rows: GrowthRow[] = [];
  for (const valueSizeBytes of valueSizes) {
    // So few keys, in turn, that all have this size when they are read.
    const workload = {body: 'raw', valueSizeBytes, keyCount: 8, order: 'ascending'} as const;
    const put = await runLoad(context, cluster, workload);
    const get = await runLoad(context, cluster, {...workload, readShare: 1});
    rows.push({property: 'value size', value: valueSizeBytes, operation: 'PUT', load: put});
    rows.push({property: 'value size', value: valueSizeBytes, operation: 'GET', load: get});
    sayRate(context, `${valueSizeBytes} bytes`, put.requestsPerSecond, get.requestsPerSecond);
  }
  await cluster.stop();
  return rows;
}

async function growMembers(context: BenchContext): Promise<GrowthRow[]> {
  const rows: GrowthRow[] = [];
  for (const nodeCount of memberCounts) {
    const cluster = await startWarm(context, nodeCount);
    const put = await runLoad(context, cluster, {});
    const get = await runLoad(context, cluster, {readShare: 1});
    rows.push({property: 'members', value: nodeCount, operation: 'PUT', load: put});
    rows.push({property: 'members', value: nodeCount, operation: 'GET', load: get});
    sayRate(context, `${nodeCount} members`, put.requestsPerSecond, get.requestsPerSecond);
    await cluster.stop();
  }
  return rows;
}

/** One key is updated over and over; its newest and its first state are read. */
async function growHistory(context: BenchContext): Promise<GrowthRow[]> {
  const cluster = await startWarm(context);
  const first = await writeAndTellRevision(cluster);
  const rows: GrowthRow[] = [];
  for (const length of historyLengths) {
    while ((await cluster.revision()) - first < length) {
      await runLoad(context, cluster, {}, 1, length < 1_000 ? 1 : connectionCount);
    }
    const value = (await cluster.revision()) - first + 1;
    // The writes last: they make the history longer.
    const get = await runLoad(context, cluster, {readShare: 1});
    const old = await runLoad(context, cluster, {readShare: 1, readQuery: `?revision=${first}`});
    const put = await runLoad(context, cluster, {});
    rows.push({property: 'history', value, operation: 'GET', load: get});
    rows.push({property: 'history', value, operation: 'GET at the first revision', load: old});
    rows.push({property: 'history', value, operation: 'PUT', load: put});
    sayRate(context, `${value} updates`, put.requestsPerSecond, old.requestsPerSecond);
  }
  await cluster.stop();
  return rows;
}

async function writeAndTellRevision(cluster: RosettaCluster): Promise<number> {
  const leader = await cluster.leader();
  await cluster.put(leader, keyName(0), 'the first', 5_000);
  return cluster.revision();
}

async function runLoad(
  context: BenchContext,
  cluster: RosettaCluster,
  workload: Partial<HttpWorkload>,
  durationSeconds = context.options.secondsPerRound,
  connections = connectionCount,
): Promise<LoadFigures> {
  const port = must(cluster.clientPorts[await cluster.leader()], 'a leader has a port');
  const shape = {port, connectionCount: connections, durationSeconds};
  const run = (): Promise<LoadFigures> =>
    runWrk(shape, {...defaultWorkload, ...workload}, context.scratchDirectory);
  return workload.readShare === 1 ? run() : runWrites(cluster, 'growth', run);
}

/** The system may have put out of memory what was not used for a while, and brings it back. */
async function runUntilSteady(
  context: BenchContext,
  cluster: RosettaCluster,
  workload: Partial<HttpWorkload>,
  first: LoadFigures,
): Promise<LoadFigures> {
  let before = first;
  for (let round = 0; round < steadyRoundCountMax; round++) {
    const load = await runLoad(context, cluster, workload, steadyRoundSeconds);
    const isSteady = load.requestsPerSecond < before.requestsPerSecond * steadyGrowthMax;
    before = load;
    if (isSteady) break;
  }
  return runLoad(context, cluster, workload);
}

function sayRate(context: BenchContext, what: string, put: number, get: number): void {
  context.say(`${what}: ${Math.round(put)} PUT/s, ${Math.round(get)} GET/s`);
}
