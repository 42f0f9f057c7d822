/** Reads the line of figures that the scripts of wrk-script.ts make wrk print. */
import type {LoadFigures} from './load-figures.ts';
import {figuresMark} from './wrk-script.ts';

interface PrintedFigures {
  readonly requests: number;
  readonly durationUs: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export function parseWrkOutput(output: string): LoadFigures {
  const line = output.split('\n').find(text => text.startsWith(figuresMark));
  if (line === undefined) throw new Error(`wrk printed no figures: ${output.slice(-500)}`);
  const printed = JSON.parse(line.slice(figuresMark.length)) as PrintedFigures;
  const durationSeconds = printed.durationUs / 1e6;
  return {
    requestCount: printed.requests,
    errorCount: printed.errors,
    durationSeconds,
    requestsPerSecond: printed.requests / durationSeconds,
    p50Us: printed.p50Us,
    p99Us: printed.p99Us,
  };
}
