/** Reads the CSV of redis-benchmark: a line of names, then one line of figures in milliseconds. */
import type {LoadFigures} from './load-figures.ts';

export function parseRedisBenchmarkOutput(output: string, requestCount: number): LoadFigures {
  const lines = output.split('\n').filter(line => line.startsWith('"'));
  const [names = [], values = []] = lines.map(line =>
    line.split(',').map(cell => cell.replaceAll('"', '')),
  );
  const value = (name: string): number => Number(values[names.indexOf(name)] ?? NaN);
  const requestsPerSecond = value('rps');
  if (!(requestsPerSecond > 0)) {
    throw new Error(`redis-benchmark printed no figures: ${output.slice(-500)}`);
  }
  return {
    requestCount,
    errorCount: 0,
    durationSeconds: requestCount / requestsPerSecond,
    requestsPerSecond,
    p50Us: value('p50_latency_ms') * 1000,
    p99Us: value('p99_latency_ms') * 1000,
  };
}
