/**
 * Reads what h2load prints, and its log of single requests: the text has a mean and a maximum but
 * no percentiles.
 */
import type {LoadFigures} from './load-figures.ts';
import {percentile} from './load-figures.ts';

export interface H2loadFigures extends LoadFigures {
  /** Bytes of DATA frames per answer: an error in a trailer brings none, yet its status is 200. */
  readonly dataSizeBytesPerAnswer: number;
}

/** A line of the log is start in µs, HTTP status, duration in µs, separated by tabs. */
export function parseH2loadOutput(output: string, log: string): H2loadFigures {
  const finished = /^finished in ([\d.]+)(us|ms|s|m), ([\d.]+) req\/s/m.exec(output);
  const requests = /^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/m.exec(output);
  const data = /^traffic: .* \((\d+)\) data$/m.exec(output);
  if (finished === null || requests === null || data === null) {
    throw new Error(`h2load printed no figures: ${output.slice(-500)}`);
  }
  const doneCount = Number(requests[1]);
  const durations = durationsOf(log);
  return {
    requestCount: Number(requests[2]),
    errorCount: doneCount - Number(requests[2]),
    durationSeconds: toSeconds(Number(finished[1]), finished[2]),
    requestsPerSecond: Number(finished[3]),
    p50Us: percentile(durations, 0.5),
    p99Us: percentile(durations, 0.99),
    dataSizeBytesPerAnswer: Number(data[1]) / Math.max(1, doneCount),
  };
}

function toSeconds(value: number, unit: string | undefined): number {
  if (unit === 'us') return value / 1e6;
  if (unit === 'ms') return value / 1e3;
  return unit === 'm' ? value * 60 : value;
}

function durationsOf(log: string): Float64Array {
  const lines = log.split('\n').filter(line => line !== '');
  return Float64Array.from(lines, line => Number(line.slice(line.lastIndexOf('\t') + 1)));
}
