/** Saturating random writes for minutes: what grows without bound shows here. */
import {readdirSync, statSync} from 'node:fs';
import path from 'node:path';
import {must} from '../../src/base/assert.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {SoakFigures} from '../report/results.ts';
import {rssAnonBytes} from '../systems/process-usage.ts';
import type {BenchContext} from './bench-context.ts';
import {randomKeyCount} from './workload-plan.ts';

const sampleIntervalMs = 2_000;
/** Memory still settles in the first part of the time. */
const settlingShare = 0.3;
const connectionCount = 64;

interface Sample {
  readonly minutes: number;
  readonly bytes: number;
}

export async function measureSoak(context: BenchContext): Promise<SoakFigures> {
  const durationSeconds = context.options.isQuick ? 60 : 600;
  const directory = context.directory('soak');
  const cluster = await context.rosetta({directory});
  await cluster.start();
  const leader = await cluster.leader();
  const termBefore = must(await cluster.status(leader), 'the leader answers').term;
  const memory = cluster.pids().map((): Sample[] => []);
  let diskBytesMax = 0;
  const startedAtMs = performance.now();
  const timer = setInterval(() => {
    const minutes = (performance.now() - startedAtMs) / 60_000;
    for (const [node, pid] of cluster.pids().entries()) {
      memory[node]?.push({minutes, bytes: rssAnonBytes(pid) ?? NaN});
    }
    diskBytesMax = Math.max(diskBytesMax, sizeOnDisk(directory));
  }, sampleIntervalMs);
  const load = await runWrk(
    {port: must(cluster.clientPorts[leader], 'a port'), connectionCount, durationSeconds},
    {...defaultWorkload, keyCount: randomKeyCount},
    context.scratchDirectory,
  );
  clearInterval(timer);
  const termAfter = must(await cluster.status(await cluster.leader()), 'it answers').term;
  await cluster.stop();
  const settled = (durationSeconds / 60) * settlingShare;
  const late = memory.map(samples => samples.filter(({minutes}) => minutes >= settled));
  const figures: SoakFigures = {
    durationSeconds,
    load,
    electionCount: termAfter - termBefore,
    rssAnonSlopeMbPerMinute: Math.max(...late.map(slope)) / 1e6,
    rssAnonBytesMax: Math.max(...memory.flat().map(({bytes}) => bytes)),
    diskBytesMax,
  };
  context.say(`soak: ${Math.round(load.requestsPerSecond)} PUT/s, p99 ${load.p99Us / 1000} ms`);
  return figures;
}

/** Bytes a minute, least squares. */
function slope(samples: readonly Sample[]): number {
  const count = samples.length;
  const mean = (pick: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / count;
  const meanMinutes = mean(({minutes}) => minutes);
  const meanBytes = mean(({bytes}) => bytes);
  const covariance = mean(({minutes, bytes}) => (minutes - meanMinutes) * (bytes - meanBytes));
  return covariance / mean(({minutes}) => (minutes - meanMinutes) ** 2);
}

/** Blocks in use; a file that goes away meanwhile counts nothing. */
function sizeOnDisk(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory, {recursive: true, encoding: 'utf8'})) {
    bytes += (statSync(path.join(directory, name), {throwIfNoEntry: false})?.blocks ?? 0) * 512;
  }
  return bytes;
}
