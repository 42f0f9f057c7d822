/**
 * A process that runs seeds it is sent and answers with what came of each. Started by seed-pool.ts,
 * from the built files, or from a copy of them with a mutant in it.
 */
import {runOnce} from './shrink.ts';
import type {Overrides} from './swarm.ts';

export interface SeedRequest {
  readonly seed: number;
  readonly overrides: Overrides;
}

export interface SeedReport {
  readonly seed: number;
  /** Null: nothing was violated. */
  readonly violation: {readonly check: string; readonly message: string} | null;
  readonly traceHash: string;
  readonly eventCount: number;
  readonly simulatedMs: number;
  readonly operationCount: number;
  readonly coverage: Readonly<Record<string, number>>;
}

export function reportOf({seed, overrides}: SeedRequest): SeedReport {
  const outcome = runOnce(seed, overrides);
  const {violation, traceHash, eventCount, simulatedMs, operationCount, coverage} = outcome;
  return {
    seed,
    violation: violation && {check: violation.check, message: violation.message},
    traceHash,
    eventCount,
    simulatedMs,
    operationCount,
    coverage: coverage.toJSON(),
  };
}

if (process.argv.includes('--worker')) {
  process.on('message', message => {
    process.send?.(reportOf(message as SeedRequest));
  });
  // Who asked is gone.
  process.on('disconnect', () => process.exit(0));
}
