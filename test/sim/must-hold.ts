/**
 * A range of seeds as a test; what `npm run simulate` does for many. Each with a quarter of its
 * time of faults: the first seconds of many seeds show more than the last of few.
 */
import assert from 'node:assert/strict';
import {runOnce} from './shrink.ts';
import {replayCommand} from './story.ts';
import {drawSwarm} from './swarm.ts';

export function mustHold(seeds: {readonly first: number; readonly count: number}): void {
  let writeCount = 0;
  let faultCount = 0;
  for (let seed = seeds.first; seed < seeds.first + seeds.count; seed++) {
    const overrides = {chaosMs: Math.round(drawSwarm(seed).chaosMs / 4)};
    const {violation, coverage} = runOnce(seed, overrides);
    assert.ok(
      violation === null,
      `seed ${seed}: ${violation?.message ?? ''}\n${replayCommand(seed, overrides)}`,
    );
    writeCount += coverage.of('write acknowledged');
    faultCount += coverage.of('power cut') + coverage.of('process killed') + coverage.of('cut');
  }
  // Runs in which nothing happened would prove nothing.
  assert.ok(writeCount > 50 * seeds.count, `${writeCount} writes`);
  assert.ok(faultCount > seeds.count, `${faultCount} faults`);
}
