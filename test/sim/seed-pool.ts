/** Runs seeds in a few processes at once and hands over their reports as they come. */
import type {ChildProcess} from 'node:child_process';
import {fork} from 'node:child_process';
import type {Overrides} from './swarm.ts';
import type {SeedReport, SeedRequest} from './worker.ts';

export interface PoolOptions {
  /** worker.js of the build to run. */
  readonly workerFile: string;
  readonly jobCount: number;
  readonly overrides: Overrides;
  /** The next seed; null: there are no more. */
  readonly next: () => number | null;
  readonly onReport: (report: SeedReport) => void;
}

/** Named by a report whose process ended in the middle of the seed. */
export const survives = 'the simulator survives';

/** Resolves when every seed that was taken has been reported. */
export async function runSeeds(options: PoolOptions): Promise<void> {
  const jobs = Array.from({length: options.jobCount}, () => runJob(options));
  await Promise.all(jobs);
}

function runJob({workerFile, overrides, next, onReport}: PoolOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = fork(workerFile, ['--worker'], {execArgv: ['--enable-source-maps']});
    let running: number | null = null;
    const take = (): void => {
      running = next();
      if (running === null) end(child, resolve);
      else child.send({seed: running, overrides} satisfies SeedRequest);
    };
    child.on('message', message => {
      onReport(message as SeedReport);
      take();
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (running === null) return;
      // It died in the middle of a seed: that seed is a finding of its own.
      const what = `the process ended with ${signal ?? code ?? 'nothing'}`;
      onReport(emptyReport(running, what));
      resolve(runJob({workerFile, jobCount: 1, overrides, next, onReport}));
    });
    take();
  });
}

function end(child: ChildProcess, resolve: () => void): void {
  child.once('exit', () => resolve());
  child.disconnect();
}

function emptyReport(seed: number, message: string): SeedReport {
  return {
    seed,
    violation: {check: survives, message},
    traceHash: '',
    eventCount: 0,
    simulatedMs: 0,
    operationCount: 0,
    coverage: {},
  };
}
