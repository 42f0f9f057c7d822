/** The tables of docs/performance.md, one per marked part. */
import {median} from '../load/load-figures.ts';
import {latency, megabytes, milliseconds, rate, seconds} from './figure-format.ts';
import {markdownTable} from './markdown-table.ts';
import type {BackupFigures, HalfLoadFigures, Results} from './results.ts';

/** By the name of the part; parts that were not measured are absent. */
export function detailSections(results: Results): ReadonlyMap<string, string> {
  const makers: readonly (readonly [string, (results: Results) => string | null])[] = [
    ['machine', machineSection],
    ['throughput', throughputSection],
    ['equal-load', equalLoadSection],
    ['one-request', oneRequestSection],
    ['limits', limitsSection],
    ['failover', failoverSection],
    ['restart', restartSection],
    ['catch-up', catchUpSection],
    ['building-blocks', buildingBlocksSection],
    ['soak', soakSection],
    ['growth', growthSection],
    ['micro', microSection],
  ];
  const sections = new Map<string, string>();
  for (const [name, make] of makers) {
    const body = make(results);
    if (body === null) continue;
    // A part that a later run does not measure keeps its table, and with it whence it is.
    sections.set(name, name === 'machine' ? body : `${body}\n\n${origin(results)}`);
  }
  return sections;
}

function origin(results: Results): string {
  const {machine, startedAt} = results;
  const {coreCount, cpu, node} = machine;
  const where = `${coreCount} × ${cpu}, Node ${node}`;
  return `Measured ${startedAt}, ${roundsText(results)}, on ${where}.`;
}

/** Short ones are of small stores too. */
export function roundsText({rounds, isQuick}: Results): string {
  const length = isQuick ? 'short rounds' : 'full rounds';
  return rounds === undefined ? length : `${length} (${rounds.count} × ${rounds.seconds} s)`;
}

function machineSection(results: Results): string {
  const {machine, startedAt} = results;
  const programs = Object.entries(machine.programs).map(([name, version]) => {
    return version === null ? `${name} not installed` : `${name} ${version}`;
  });
  return (
    `${machine.coreCount} × ${machine.cpu}, ${megabytes(machine.memoryBytes)} of memory, ` +
    `${machine.kernel}, Node ${machine.node}; ${programs.join(', ')}. ` +
    `Newest run: ${startedAt}, ${roundsText(results)}.`
  );
}

function throughputSection({throughput}: Results): string | null {
  if (throughput.length === 0) return null;
  const header = ['load', 'store', 'rate', 'p50', 'p99', 'CPU per 10,000', 'memory', 'errors'];
  const sorted = [...throughput].sort((a, b) => a.workload.localeCompare(b.workload));
  return markdownTable(
    header,
    sorted.map(row => [
      `${row.workload}, ${row.connectionCount}`,
      row.store,
      rate(row.requestsPerSecond),
      latency(row, row.p50Us),
      latency(row, row.p99Us),
      seconds(row.cpuSecondsPer10kRequests),
      megabytes(row.rssAnonBytesPerNode),
      String(row.errorCount),
    ]),
  );
}

function equalLoadSection({equalLoad}: Results): string | null {
  if (equalLoad.length === 0) return null;
  return markdownTable(
    ['store', 'sent at once', 'offered', 'reached', 'p50', 'p99', 'errors'],
    equalLoad.map(row => [
      row.store,
      String(row.connectionCount),
      rate(row.offeredPerSecond),
      rate(row.requestsPerSecond),
      latency(row, row.p50Us),
      latency(row, row.p99Us),
      String(row.errorCount),
    ]),
  );
}

/** A write alone in the cluster, taken apart by what the machine's limits explain of it. */
function oneRequestSection({throughput, limits}: Results): string | null {
  const put = throughput.find(
    row => row.store === 'rosetta' && row.workload === 'put' && row.connectionCount === 1,
  );
  const echo = limits?.httpEcho.find(row => row.connectionCount === 1);
  if (put === undefined || limits === null || echo === undefined) return null;
  const {loopbackP50Us, fdatasyncP50Us} = limits;
  const rest = put.p50Us - echo.p50Us - loopbackP50Us - fdatasyncP50Us;
  const row = (name: string, us: number): string[] => [
    name,
    `${us.toFixed(0)} µs`,
    `${((us / put.p50Us) * 100).toFixed(0)} %`,
  ];
  return markdownTable(
    ['part of a PUT, one connection, p50', 'time', 'share'],
    [
      row('client, sockets and node:http (bare echo)', echo.p50Us),
      row('to a follower and back (loopback echo)', loopbackP50Us),
      row('fdatasync on that follower, the leader beside it', fdatasyncP50Us),
      row('everything else: event loops, threads, Rosetta', rest),
      row('all', put.p50Us),
    ],
  );
}

function limitsSection({limits}: Results): string | null {
  if (limits === null) return null;
  const us = (value: number): string => `${value.toFixed(0)} µs`;
  return markdownTable(
    ['what', 'rate', 'p50', 'p99'],
    [
      ['4 KiB written and fdatasync', '-', us(limits.fdatasyncP50Us), us(limits.fdatasyncP99Us)],
      ['loopback echo, 128 bytes', '-', us(limits.loopbackP50Us), us(limits.loopbackP99Us)],
      ...limits.httpEcho.map(row => [
        `node:http echo of a PUT, ${row.connectionCount} connections`,
        rate(row.requestsPerSecond),
        us(row.p50Us),
        us(row.p99Us),
      ]),
    ],
  );
}

function failoverSection({failover}: Results): string | null {
  if (failover.length === 0) return null;
  return markdownTable(
    ['store', 'median', 'least', 'most', 'repetitions'],
    failover.map(({store, durationsMs}) => [
      store,
      `${median(durationsMs).toFixed(0)} ms`,
      `${Math.min(...durationsMs).toFixed(0)} ms`,
      `${Math.max(...durationsMs).toFixed(0)} ms`,
      String(durationsMs.length),
    ]),
  );
}

function restartSection({restart}: Results): string | null {
  if (restart === null) return null;
  return markdownTable(
    [`with ${restart.keyCount.toLocaleString('en')} keys`, ''],
    [
      ['loaded in', seconds(restart.loadSeconds)],
      ['one node, exec to the first local read', `${restart.oneNodeMs.toFixed(0)} ms`],
      ['all nodes, exec to the first linearizable read', `${restart.clusterMs.toFixed(0)} ms`],
      ['RssAnon of a node, idle after the load', megabytes(restart.rssAnonBytesIdle)],
    ],
  );
}

function catchUpSection({catchUp}: Results): string | null {
  if (catchUp === undefined || catchUp === null) return null;
  const share = (100 * catchUp.requestsPerSecondDuring) / catchUp.requestsPerSecondBefore;
  const {errorCount = 0, backup, atHalf} = catchUp;
  return markdownTable(
    [`a snapshot of ${catchUp.keyCount.toLocaleString('en')} keys, under load`, ''],
    [
      ['exec until the follower takes part in every write', seconds(catchUp.durationMs / 1000)],
      ['PUT/s of the cluster, all up', rate(catchUp.requestsPerSecondBefore)],
      ['PUT/s until it had caught up', rate(catchUp.requestsPerSecondDuring)],
      ['the same as a share', `${share.toFixed(0)} %`],
      ['p99, all up', latency({errorCount}, catchUp.p99UsBefore)],
      ['p99 meanwhile, of the worst two seconds', latency({errorCount}, catchUp.p99UsDuring)],
      ['errors', String(errorCount)],
      ['growth of RssAnon, sender', megabytes(catchUp.senderGrowthBytes)],
      ['growth of RssAnon, receiver', megabytes(catchUp.receiverGrowthBytes)],
      ...(atHalf === undefined ? [] : atHalfRows(atHalf)),
      ...(backup === undefined ? [] : [['`snapshot save`, without load', backupText(backup)]]),
    ],
  );
}

function atHalfRows(atHalf: HalfLoadFigures): string[][] {
  const load = `at ${rate(atHalf.offeredPerSecond)}`;
  return [
    [`${load}: the next catch-up`, seconds(atHalf.durationMs / 1000)],
    [`${load}: p99, all up`, latency(atHalf, atHalf.p99UsBefore)],
    [`${load}: p99 meanwhile, of the worst two seconds`, latency(atHalf, atHalf.p99UsDuring)],
    [`${load}: errors`, String(atHalf.errorCount)],
  ];
}

function backupText({sizeBytes, durationMs}: BackupFigures): string {
  const perSecond = megabytes((1000 * sizeBytes) / durationMs);
  return `${megabytes(sizeBytes)} in ${seconds(durationMs / 1000)}, ${perSecond}/s`;
}

function buildingBlocksSection({watch, leases, client}: Results): string | null {
  const rows: string[][] = [];
  if (watch !== undefined && watch !== null) {
    const count = watch.watcherCount.toLocaleString('en');
    rows.push(
      [`events a second to ${count} watchers`, rate(watch.eventsPerSecond)],
      ['writes a second meanwhile', rate(watch.writesPerSecond)],
      ['write sent to event received, p50', milliseconds(watch.p50Us)],
      ['write sent to event received, p99', milliseconds(watch.p99Us)],
      ['events that did not come', String(watch.missingCount)],
    );
  }
  if (leases !== undefined && leases !== null) {
    const count = leases.leaseCount.toLocaleString('en');
    const {errorCount = 0} = leases;
    rows.push(
      [`${count} leases that end at once: the last one is late by`, ms(leases.lateMs)],
      ['p99 of PUTs at 64 connections before', latency({errorCount}, leases.p99UsBefore)],
      ['p99 meanwhile, of the worst two seconds', latency({errorCount}, leases.p99UsDuring)],
      ['errors', String(errorCount)],
      ['PUT/s before', rate(leases.requestsPerSecondBefore)],
      ['PUT/s meanwhile', rate(leases.requestsPerSecondDuring)],
    );
  }
  if (client !== undefined && client !== null) {
    rows.push(
      [`puts of rosetta/client, ${client.inFlight} in flight`, rate(client.putsPerSecond)],
      [`PUTs of wrk, ${client.inFlight} connections`, rate(client.wrkPutsPerSecond)],
      ['processor time of the client a put', `${client.clientCpuUsPerPut.toFixed(0)} µs`],
    );
  }
  return rows.length === 0 ? null : markdownTable(['building blocks', ''], rows);
}

function ms(value: number): string {
  return milliseconds(value * 1000);
}

function soakSection({soak}: Results): string | null {
  if (soak === null) return null;
  const {diskGrowthShare = NaN, violations = []} = soak;
  return markdownTable(
    [`${soak.durationSeconds} s of random PUTs`, ''],
    [
      ['rate', rate(soak.load.requestsPerSecond)],
      ['p50', latency(soak.load, soak.load.p50Us)],
      ['p99', latency(soak.load, soak.load.p99Us)],
      ['errors', String(soak.load.errorCount)],
      ['elections', String(soak.electionCount)],
      ['RssAnon, growth', `${soak.rssAnonSlopeMbPerMinute.toFixed(2)} MB/min`],
      ['RssAnon, most', megabytes(soak.rssAnonBytesMax)],
      ['disk, three nodes, most', megabytes(soak.diskBytesMax)],
      ['disk, growth at the end', `${(100 * diskGrowthShare).toFixed(1)} %`],
      ['what does not hold', violations.join('; ') || 'nothing'],
    ],
  );
}

function growthSection({growth}: Results): string | null {
  if (growth.length === 0) return null;
  return markdownTable(
    ['property', 'value', 'operation', 'rate', 'p50', 'p99', 'errors'],
    growth.map(({property, value, operation, load}) => [
      property,
      value.toLocaleString('en'),
      operation,
      rate(load.requestsPerSecond),
      latency(load, load.p50Us),
      latency(load, load.p99Us),
      String(load.errorCount),
    ]),
  );
}

function microSection({micro}: Results): string | null {
  if (micro.length === 0) return null;
  return markdownTable(
    ['part', 'rate', 'each'],
    micro.map(row => [
      row.name,
      rate(row.operationsPerSecond),
      `${Math.round(row.nanoseconds).toLocaleString('en')} ns`,
    ]),
  );
}
