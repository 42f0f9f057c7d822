/**
 * From a failing run to a smaller one that fails in the same way: without classes of faults, with a
 * shorter time of faults, fewer clients. Each class draws from a stream of its own, so leaving one
 * out does not reshuffle the others.
 */
import {Simulation} from './simulation.ts';
import type {Outcome} from './simulation.ts';
import type {Overrides, SwarmConfig} from './swarm.ts';
import {drawSwarm} from './swarm.ts';

const runCountMax = 80;

export interface Shrunk {
  readonly overrides: Overrides;
  readonly runCount: number;
}

export function shrink(seed: number, start: Overrides, failure: Outcome): Shrunk {
  const check = failure.violation?.check;
  let best = start;
  let runCount = 0;
  const stillFails = (overrides: Overrides): boolean => {
    if (runCount >= runCountMax) return false;
    runCount++;
    const fails = runOnce(seed, overrides).violation?.check === check;
    if (fails) best = overrides;
    return fails;
  };
  const drawn = drawSwarm(seed, start);
  for (const name of [...drawn.clientKinds, ...drawn.faults]) {
    stillFails({...best, without: [...(best.without ?? []), name]});
  }
  let chaosMs = drawSwarm(seed, best).chaosMs;
  let step = chaosMs / 2;
  while (step >= 250) {
    if (stillFails({...best, chaosMs: Math.round(chaosMs - step)})) {
      chaosMs = Math.round(chaosMs - step);
    } else {
      step /= 2;
    }
  }
  let {clientCount} = drawSwarm(seed, best);
  while (clientCount > 1 && stillFails({...best, clientCount: clientCount >> 1})) {
    clientCount >>= 1;
  }
  return {overrides: best, runCount};
}

export function runOnce(seed: number, overrides: Overrides): Outcome {
  return runWith(drawSwarm(seed, overrides));
}

/** Without stacks: clients get many errors, and a failing run is repeated for its story. */
export function runWith(config: SwarmConfig): Outcome {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new Simulation(config).run();
  } finally {
    Error.stackTraceLimit = before;
  }
}
