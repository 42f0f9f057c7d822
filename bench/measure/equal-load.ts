/**
 * Latency when both stores are offered the same number of writes a second: half of what the slower
 * one can do, from the same generator. At saturation a latency says little more than the
 * throughput does.
 */
import {must} from '../../src/base/assert.ts';
import {runH2load} from '../load/h2load.ts';
import type {EqualLoadRow, ThroughputRow} from '../report/results.ts';
import type {StoreCluster} from '../systems/store-cluster.ts';
import type {BenchContext} from './bench-context.ts';
import {etcdPut, rosettaPut, runWrites} from './workload-plan.ts';

const connectionCount = 64;
const fallbackPerSecond = 2_000;

export async function measureEqualLoad(
  context: BenchContext,
  clusters: readonly StoreCluster[],
  throughput: readonly ThroughputRow[],
): Promise<EqualLoadRow[]> {
  const offeredPerSecond = chooseRate(throughput);
  const durationSeconds = context.options.isQuick ? 2 : 10;
  const rows: EqualLoadRow[] = [];
  for (const cluster of clusters) {
    const port = must(cluster.clientPorts[await cluster.leader()], 'a leader has a port');
    const shape = {port, connectionCount, durationSeconds, offeredPerSecond};
    const request = cluster.name === 'etcd' ? etcdPut : rosettaPut;
    const load = await runWrites(cluster, 'at equal load', () =>
      runH2load(shape, request, context.scratchDirectory),
    );
    rows.push({store: cluster.name, connectionCount, offeredPerSecond, ...load});
    context.say(
      `${cluster.name} at ${offeredPerSecond} PUT/s: ` +
        `p50 ${(load.p50Us / 1000).toFixed(2)} ms, p99 ${(load.p99Us / 1000).toFixed(2)} ms`,
    );
  }
  return rows;
}

function chooseRate(throughput: readonly ThroughputRow[]): number {
  const rates = throughput
    .filter(row => row.workload === 'put' && row.connectionCount === connectionCount)
    .filter(row => row.store !== 'redis')
    .map(row => row.requestsPerSecond);
  if (rates.length === 0) return fallbackPerSecond;
  return Math.max(100, Math.round(Math.min(...rates) / 2 / 100) * 100);
}
