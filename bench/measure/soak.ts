/**
 * Saturating random writes for minutes: what grows without bound shows here. So little history is
 * kept that compaction and scrubbing run for most of the time.
 */
import {readdirSync, statSync} from 'node:fs';
import path from 'node:path';
import {must} from '../../src/base/assert.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {SoakFigures} from '../report/results.ts';
import {httpRequest} from '../systems/http-request.ts';
import {delay} from '../systems/poll.ts';
import {rssAnonBytes} from '../systems/process-usage.ts';
import type {BenchContext} from './bench-context.ts';
import {randomKeyCount, runWrites} from './workload-plan.ts';

const flags = ['-history-size=64'];
const sampleIntervalMs = 2_000;
/** Memory and disk still settle in the first part of the time. */
const settlingShare = 0.3;
/** Where the part begins that is compared with the one between. */
const lateShare = 0.65;
const connectionCount = 64;
/** What must hold, beside no election and no error. */
const rssAnonSlopeMbPerMinuteMax = 1;
const p99UsMax = 50_000;
const diskGrowthShareMax = 0.1;
/** Writes beside the load: wrk does not count a request that never gets its answer. */
const besideIntervalMs = 500;
const besideTimeoutMs = 5_000;

type JudgedFigures = Omit<Required<SoakFigures>, 'violations'>;

interface Sample {
  readonly minutes: number;
  readonly bytes: number;
}

export async function measureSoak(context: BenchContext): Promise<SoakFigures> {
  const durationSeconds = context.options.isQuick ? 60 : 600;
  const directory = context.directory('soak');
  const cluster = await context.rosetta({directory, flags});
  await cluster.start();
  const leader = await cluster.leader();
  const port = must(cluster.clientPorts[leader], 'a port');
  const termBefore = must(await cluster.status(leader), 'the leader answers').term;
  const memory = cluster.pids().map((): Sample[] => []);
  const disk: Sample[] = [];
  const startedAtMs = performance.now();
  const timer = setInterval(() => {
    const minutes = (performance.now() - startedAtMs) / 60_000;
    for (const [node, pid] of cluster.pids().entries()) {
      memory[node]?.push({minutes, bytes: rssAnonBytes(pid) ?? NaN});
    }
    disk.push({minutes, bytes: sizeOnDisk(directory)});
  }, sampleIntervalMs);
  const beside = new WritesBeside(port);
  const load = await runWrites(cluster, 'soak', () =>
    runWrk(
      {port, connectionCount, durationSeconds},
      {...defaultWorkload, keyCount: randomKeyCount},
      context.scratchDirectory,
    ),
  ).finally(() => clearInterval(timer));
  const unansweredCount = await beside.stop();
  const termAfter = must(await cluster.status(await cluster.leader()), 'it answers').term;
  await cluster.stop();
  const minutes = durationSeconds / 60;
  const between = (samples: readonly Sample[], from: number, to: number): Sample[] =>
    samples.filter(each => each.minutes >= from * minutes && each.minutes < to * minutes);
  const late = memory.map(samples => between(samples, settlingShare, Infinity));
  const most = (samples: readonly Sample[]): number => Math.max(...samples.map(s => s.bytes));
  const figures: JudgedFigures = {
    durationSeconds,
    load: {...load, errorCount: load.errorCount + unansweredCount},
    electionCount: termAfter - termBefore,
    rssAnonSlopeMbPerMinute: Math.max(...late.map(slope)) / 1e6,
    rssAnonBytesMax: most(memory.flat()),
    diskBytesMax: most(disk),
    diskGrowthShare:
      most(between(disk, lateShare, Infinity)) / most(between(disk, settlingShare, lateShare)) - 1,
  };
  context.say(`soak: ${Math.round(load.requestsPerSecond)} PUT/s, p99 ${load.p99Us / 1000} ms`);
  return {...figures, violations: violationsOf(figures)};
}

/** Exported for its test. */
export function violationsOf(figures: JudgedFigures): string[] {
  const {load, electionCount, rssAnonSlopeMbPerMinute, diskGrowthShare} = figures;
  const checks: readonly (readonly [boolean, string])[] = [
    [electionCount === 0, `${electionCount} elections`],
    [load.errorCount === 0, `${load.errorCount} errors`],
    [load.p99Us <= p99UsMax, `p99 of ${(load.p99Us / 1000).toFixed(1)} ms`],
    [
      rssAnonSlopeMbPerMinute < rssAnonSlopeMbPerMinuteMax,
      `memory grows by ${rssAnonSlopeMbPerMinute.toFixed(2)} MB/min`,
    ],
    [
      diskGrowthShare <= diskGrowthShareMax,
      `the disk's use grows by ${(100 * diskGrowthShare).toFixed(1)} % at the end`,
    ],
  ];
  return checks.flatMap(([holds, what]) => (holds ? [] : [what]));
}

/** One write after the other, each with a deadline. */
class WritesBeside {
  readonly #port: number;
  readonly #end: Promise<void>;
  #isOver = false;
  #failureCount = 0;

  constructor(port: number) {
    this.#port = port;
    this.#end = this.#run();
  }

  /** Resolves with how many had no success. */
  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#end;
    return this.#failureCount;
  }

  async #run(): Promise<void> {
    const target = {method: 'PUT', path: '/kv/beside', body: 'x'};
    while (!this.#isOver) {
      const answer = await httpRequest(this.#port, target, besideTimeoutMs);
      if (answer?.status !== 200) this.#failureCount++;
      await delay(besideIntervalMs);
    }
  }
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
