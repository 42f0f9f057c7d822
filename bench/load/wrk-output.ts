/** Reads the line of figures that the scripts of wrk-script.ts make wrk print. */
import type {LoadFigures} from './load-figures.ts';
import {figuresMark} from './wrk-script.ts';

interface PrintedFigures {
  /** Answers, those with a status of 400 or more included. */
  readonly requests: number;
  readonly durationUs: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export function parseWrkOutput(output: string): LoadFigures {
  const line = output.split('\n').find(text => text.startsWith(figuresMark));
  if (line === undefined) throw new Error(`wrk printed no figures: ${output.slice(-500)}`);
  const printed = JSON.parse(line.slice(figuresMark.length)) as PrintedFigures;
  const requestCount = printed.requests - printed.refused;
  const durationSeconds = printed.durationUs / 1e6;
  return {
    requestCount,
    errorCount: printed.refused + printed.unanswered,
    durationSeconds,
    requestsPerSecond: requestCount / durationSeconds,
    p50Us: printed.p50Us,
    p99Us: printed.p99Us,
  };
}
