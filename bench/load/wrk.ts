/** One round of load from wrk, one thread, closed loop: every connection waits for its answer. */
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {runToEnd} from '../systems/child-process.ts';
import type {LoadFigures} from './load-figures.ts';
import {parseWrkOutput} from './wrk-output.ts';
import type {HttpWorkload} from './wrk-script.ts';
import {wrkScript} from './wrk-script.ts';

export interface LoadShape {
  readonly port: number;
  readonly connectionCount: number;
  readonly durationSeconds: number;
}

/** wrk may take a moment longer: it waits for answers that are on their way. */
const graceMs = 15_000;
let seed = 1;

export async function runWrk(
  shape: LoadShape,
  workload: HttpWorkload,
  scratchDirectory: string,
): Promise<LoadFigures> {
  const script = path.join(scratchDirectory, 'wrk.lua');
  writeFileSync(script, wrkScript(workload));
  seed += 1;
  const args = [
    ...['-t', '1', '-c', String(shape.connectionCount)],
    ...['-d', `${shape.durationSeconds}s`, '--timeout', '10s', '-s', script],
    ...[`http://127.0.0.1:${shape.port}/`, '--', String(seed)],
  ];
  const timeoutMs = shape.durationSeconds * 1000 + graceMs;
  return parseWrkOutput(await runToEnd('wrk', args, {timeoutMs}));
}
