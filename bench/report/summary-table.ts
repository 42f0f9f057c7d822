/** The table of the README: what a user would compare, and nothing else. */
import {median} from '../load/load-figures.ts';
import type {StoreName} from '../systems/store-cluster.ts';
import {latency, megabytes, milliseconds, rate, ratio} from './figure-format.ts';
import {roundsText} from './detail-sections.ts';
import {markdownTable} from './markdown-table.ts';
import type {Results, ThroughputRow, WorkloadName} from './results.ts';

interface SummaryLoad {
  readonly title: string;
  readonly workload: WorkloadName;
  readonly connectionCount: number;
}

const loads: readonly SummaryLoad[] = [
  {title: 'PUT, 1 connection', workload: 'put', connectionCount: 1},
  {title: 'PUT, 64 connections', workload: 'put', connectionCount: 64},
  {title: 'PUT, 256 connections', workload: 'put', connectionCount: 256},
  {title: 'PUT through a follower, 64', workload: 'put-follower', connectionCount: 64},
  {title: 'linearizable GET, 64', workload: 'get', connectionCount: 64},
  {title: 'linearizable GET on a follower, 64', workload: 'get-follower', connectionCount: 64},
  {title: 'local GET, 64', workload: 'get-local', connectionCount: 64},
];

/** Null for a run without throughput: the table stays whole. */
export function summarySection(results: Results): string | null {
  const compared = throughputRows(results);
  if (compared.length === 0) return null;
  const rows = [...compared, ...failoverRows(results), ...restartRows(results)];
  const etcd = results.machine.programs['etcd'] ?? null;
  const redis = results.machine.programs['redis-server'] ?? null;
  const header = [
    '',
    'Rosetta',
    etcd === null ? 'etcd' : `etcd ${etcd}`,
    'Rosetta : etcd',
    redis === null ? 'Redis' : `Redis ${redis}, one node`,
  ];
  return `${markdownTable(header, rows)}\n\n${conditions(results)}`;
}

function conditions(results: Results): string {
  const {cpu, coreCount, node} = results.machine;
  const day = results.startedAt.slice(0, 10);
  return (
    `Three nodes and the load on one machine (${coreCount} × ${cpu}, Node ${node}), data on its ` +
    `disk, values of ${results.valueSizeBytes} bytes, nothing acknowledged before it is durable ` +
    `on a majority; Redis with \`appendfsync always\`. Rates are medians of one run of ` +
    `${roundsText(results)}, ${day}, failovers of several kills, restarts are single; in brackets ` +
    "the 99th percentile of latency, Rosetta's with what a waiting connection could not send " +
    '([how](docs/performance.md#how-it-is-measured)). `npm run bench -- --write-readme` measures ' +
    'it again.'
  );
}

function throughputRows(results: Results): string[][] {
  const find = (load: SummaryLoad, store: StoreName): ThroughputRow | undefined =>
    results.throughput.find(
      row =>
        row.store === store &&
        row.workload === load.workload &&
        row.connectionCount === load.connectionCount,
    );
  return loads.flatMap(load => {
    const rosetta = find(load, 'rosetta');
    if (rosetta === undefined) return [];
    const etcd = find(load, 'etcd');
    const factor =
      etcd === undefined ? '-' : ratio(rosetta.requestsPerSecond / etcd.requestsPerSecond);
    return [[load.title, cell(rosetta), cell(etcd), factor, cell(find(load, 'redis'))]];
  });
}

function cell(row: ThroughputRow | undefined): string {
  if (row === undefined) return '-';
  return `${rate(row.requestsPerSecond)} (${latency(row, row.p99Us)})`;
}

function failoverRows(results: Results): string[][] {
  const find = (store: StoreName): number | null => {
    const row = results.failover.find(candidate => candidate.store === store);
    return row === undefined ? null : median(row.durationsMs) * 1000;
  };
  const rosetta = find('rosetta');
  if (rosetta === null) return [];
  const etcd = find('etcd');
  const text = etcd === null ? '-' : milliseconds(etcd);
  const factor = etcd === null ? '-' : ratio(rosetta / etcd);
  // Each with its default, which the row compares too.
  const title = 'leader killed, next write; election timeouts 150 ms and 1,000 ms';
  return [[title, milliseconds(rosetta), text, factor, '-']];
}

function restartRows({restart}: Results): string[][] {
  if (restart === null) return [];
  const keys = `${restart.keyCount.toLocaleString('en')} keys`;
  const own = (title: string, text: string): string[] => [title, text, '-', '-', '-'];
  return [
    own(
      `node with ${keys}, from exec after kill -9 to serving`,
      milliseconds(restart.oneNodeMs * 1000),
    ),
    own(`cluster with ${keys}, likewise`, milliseconds(restart.clusterMs * 1000)),
    own(`memory of a node with ${keys}`, megabytes(restart.rssAnonBytesIdle)),
  ];
}
