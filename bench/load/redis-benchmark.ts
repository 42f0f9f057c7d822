/** One round of load from redis-benchmark, which counts requests rather than seconds. */
import {runToEnd} from '../systems/child-process.ts';
import type {LoadFigures} from './load-figures.ts';
import {parseRedisBenchmarkOutput} from './redis-benchmark-output.ts';
import type {LoadShape} from './wrk.ts';

export interface RedisWorkload {
  readonly command: 'set' | 'get';
  readonly valueSizeBytes: number;
}

const probeRequestCount = 1_000;
const graceMs = 30_000;

/** A short probe tells how many requests fill the time. */
export async function runRedisBenchmark(
  shape: LoadShape,
  workload: RedisWorkload,
): Promise<LoadFigures> {
  const probe = await run(shape, workload, probeRequestCount);
  const requestCount = Math.ceil(probe.requestsPerSecond * shape.durationSeconds);
  return run(shape, workload, Math.max(probeRequestCount, requestCount));
}

async function run(
  shape: LoadShape,
  workload: RedisWorkload,
  requestCount: number,
): Promise<LoadFigures> {
  const args = [
    ...['-h', '127.0.0.1', '-p', String(shape.port), '-c', String(shape.connectionCount)],
    ...['-t', workload.command, '-d', String(workload.valueSizeBytes)],
    ...['-n', String(requestCount), '--csv'],
  ];
  const timeoutMs = shape.durationSeconds * 4000 + graceMs;
  const output = await runToEnd('redis-benchmark', args, {timeoutMs});
  return parseRedisBenchmarkOutput(output, requestCount);
}
