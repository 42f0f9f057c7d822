/**
 * `npm run bench`: measures Rosetta beside what a user would pick instead, on this machine, in one
 * run, and writes what it found. Everything listens on loopback; everything it starts ends with it.
 */
import {mkdirSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {BenchOptions} from './bench-options.ts';
import {helpText, parseBenchOptions} from './bench-options.ts';
import {BenchContext} from './measure/bench-context.ts';
import {measureCatchUp} from './measure/catch-up.ts';
import {measureClient} from './measure/client.ts';
import {measureEqualLoad} from './measure/equal-load.ts';
import {measureFailover} from './measure/failover.ts';
import {measureGrowth} from './measure/growth.ts';
import {loadKeys} from './measure/key-loader.ts';
import {measureLeaseExpiry} from './measure/lease-expiry.ts';
import {measureMachineLimits} from './measure/machine-limits.ts';
import {measureMicro} from './measure/micro.ts';
import {measureRestart} from './measure/restart.ts';
import {measureSoak} from './measure/soak.ts';
import {measureThroughput} from './measure/throughput.ts';
import {measureWatching} from './measure/watching.ts';
import {randomKeyCount, valueSizeBytes} from './measure/workload-plan.ts';
import {
  loadResults,
  reportText,
  resultsDirectory,
  saveResults,
  writeDocuments,
} from './report/documents.ts';
import type {EqualLoadRow, FailoverRow, Machine, Results, ThroughputRow} from './report/results.ts';
import {workloadNames} from './report/results.ts';
import {EtcdCluster} from './systems/etcd-cluster.ts';
import {
  isInstalled,
  missingPrograms,
  programNames,
  programVersion,
  programs,
} from './systems/program-path.ts';
import {RedisServer} from './systems/redis-server.ts';
import {makeScratchDirectory} from './systems/scratch-directory.ts';

async function main(): Promise<void> {
  const parsed = parseBenchOptions(process.argv.slice(2));
  if (parsed.type === 'help') {
    process.stdout.write(helpText);
    return;
  }
  const {options} = parsed;
  const results = options.from === null ? await measure(options) : loadResults(options.from);
  process.stdout.write(`\n${reportText(results)}\n`);
  if (options.from === null) {
    const file = saveResults(results, {isWhole: options.isWhole});
    say(`written to ${path.relative('.', file)}`);
  }
  if (options.mustWriteDocuments) {
    const changed = writeDocuments(results);
    say(changed.length === 0 ? 'no document changed' : `written: ${changed.join(', ')}`);
  }
  for (const violation of results.soak?.violations ?? []) {
    process.stderr.write(`bench: soak: ${violation}\n`);
    process.exitCode = 1;
  }
}

async function measure(options: BenchOptions): Promise<Results> {
  const startedAt = new Date().toISOString();
  const missing = missingPrograms();
  for (const name of missing) {
    const {package: debianPackage, for: purpose} = programs[name];
    say(`${name} is not installed (Debian: ${debianPackage}); going on without ${purpose}`);
  }
  const profileDirectory = options.mustProfile ? path.join(resultsDirectory, 'profiles') : null;
  if (profileDirectory !== null) mkdirSync(profileDirectory, {recursive: true});
  const context = new BenchContext({
    options,
    scratchDirectory: makeScratchDirectory(options.directory),
    profileDirectory,
    missing: new Set(missing),
  });
  const {isQuick, roundCount, secondsPerRound} = options;
  let results: Results = {
    startedAt,
    isQuick,
    rounds: {count: roundCount, seconds: secondsPerRound},
    valueSizeBytes,
    machine: await describeMachine(),
    ...nothing,
    restart: null,
    soak: null,
    limits: null,
    growth: [],
    micro: [],
  };
  for (const measurePart of wantedParts(context)) {
    results = {...results, ...(await measurePart())};
    // What was measured is kept, whatever the next part meets.
    saveResults(results, {isWhole: false});
  }
  return results;
}

/** In this order, so that what takes longest comes last. */
function wantedParts(context: BenchContext): readonly (() => Promise<Partial<Results>>)[] {
  const {selected} = context.options;
  const canLoad = context.has('wrk');
  const isGrowthSelected = [...selected].some(name => name.startsWith('growth-'));
  const parts: readonly (readonly [boolean, () => Promise<Partial<Results>>])[] = [
    [selected.has('limits'), async () => ({limits: await measureMachineLimits(context)})],
    [selected.has('micro'), async () => ({micro: await measureMicro(context)})],
    [true, () => measureSideBySide(context)],
    [selected.has('restart') && canLoad, async () => ({restart: await measureRestart(context)})],
    [selected.has('catch-up') && canLoad, async () => ({catchUp: await measureCatchUp(context)})],
    [selected.has('watch'), async () => ({watch: await measureWatching(context)})],
    [selected.has('leases') && canLoad, async () => ({leases: await measureLeaseExpiry(context)})],
    [selected.has('client') && canLoad, async () => ({client: await measureClient(context)})],
    [isGrowthSelected && canLoad, async () => ({growth: await measureGrowth(context)})],
    [selected.has('soak') && canLoad, async () => ({soak: await measureSoak(context)})],
  ];
  return parts.flatMap(([isWanted, measurePart]) => (isWanted ? [measurePart] : []));
}

interface SideBySide {
  readonly throughput: readonly ThroughputRow[];
  readonly equalLoad: readonly EqualLoadRow[];
  readonly failover: readonly FailoverRow[];
}

const nothing: SideBySide = {throughput: [], equalLoad: [], failover: []};

async function measureSideBySide(context: BenchContext): Promise<SideBySide> {
  const {selected} = context.options;
  const isThroughputSelected = workloadNames.some(name => selected.has(name));
  const canLoad = context.has('wrk');
  const isWanted = isThroughputSelected || selected.has('equal-load') || selected.has('failover');
  if (!isWanted) return nothing;
  const rosetta = await context.rosetta();
  const etcd = context.has('etcd', 'h2load')
    ? await EtcdCluster.create({directory: context.directory('etcd'), nodeCount: 3})
    : null;
  const redis =
    isThroughputSelected && context.has('redis-server', 'redis-benchmark')
      ? await RedisServer.start(context.directory('redis'))
      : null;
  const clusters = etcd === null ? [rosetta] : [rosetta, etcd];
  for (const cluster of clusters) await cluster.start();
  if ((selected.has('mix') || selected.has('put-random')) && canLoad) {
    await loadKeys(context, rosetta, randomKeyCount);
  }
  const throughput =
    isThroughputSelected && canLoad ? await measureThroughput(context, {clusters, redis}) : [];
  const equalLoad =
    selected.has('equal-load') && context.has('h2load')
      ? await measureEqualLoad(context, clusters, throughput)
      : [];
  const failover: FailoverRow[] = [];
  if (selected.has('failover')) {
    for (const cluster of clusters) failover.push(await measureFailover(context, cluster));
  }
  for (const cluster of clusters) await cluster.stop();
  await redis?.stop();
  return {throughput, equalLoad, failover};
}

async function describeMachine(): Promise<Machine> {
  const versions = await Promise.all(
    programNames.map(
      async name => [name, isInstalled(name) ? await programVersion(name) : null] as const,
    ),
  );
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    coreCount: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    node: process.versions.node,
    programs: Object.fromEntries(versions),
  };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
// Keep-alive sockets and servers that a failure left behind must not keep the process.
process.exit();
