/**
 * Runs by seed: crashes that forget what was not synced, cuts, slow disks, concurrent clients.
 * Replay one: ROSETTA_TEST_SEED=7 node --test dist/test/node/random-faults.test.js
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {must} from '../../src/base/assert.ts';
import {describeViolation, findViolation} from '../checker/linearizability.ts';
import {RandomRun} from './random-history.ts';
import {TestCluster} from './test-cluster.ts';

const durationMs = 4_000;
const seedCount = 40;

function runSeed(seed: number): RandomRun {
  const cluster = new TestCluster({
    ids: ['node1', 'node2', 'node3'],
    seed,
    // Small, so that members fall behind the log and need snapshots.
    member: {wal: {segmentSizeBytes: 32_768, retentionSizeBytesMax: 0}},
  });
  cluster.startAll();
  const run = new RandomRun(cluster, {seed, clientCount: 5});
  run.run(durationMs);
  run.readAll();
  const violation = findViolation(run.history);
  assert.equal(violation, null, violation === null ? '' : describeViolation(violation));
  cluster.settle();
  for (const [key, {acknowledged, unknown}] of run.written) {
    const found = cluster.done(cluster.get(must(cluster.members[0], 'a member'), key));
    const version = found.record?.version ?? 0;
    // Each acknowledged write took effect once, each unknown one at most once.
    assert.ok(version >= acknowledged, `${key}: version ${version}, ${acknowledged} acknowledged`);
    assert.ok(version <= acknowledged + unknown, `${key}: version ${version}`);
  }
  for (const {counts} of cluster.members) run.counts.snapshots += counts.snapshots;
  return run;
}

test('acknowledged writes survive and histories are linearizable, whatever fails', () => {
  const given = process.env['ROSETTA_TEST_SEED'];
  const seeds = given === undefined ? range(seedCount) : [Number(given)];
  const totals = {
    crashes: 0,
    cuts: 0,
    acknowledged: 0,
    unknown: 0,
    definite: 0,
    reads: 0,
    snapshots: 0,
  };
  for (const seed of seeds) {
    try {
      const {counts} = runSeed(seed);
      for (const name of Object.keys(totals) as (keyof typeof totals)[]) {
        totals[name] += counts[name];
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, {cause: error});
    }
  }
  // A run in which nothing happened proves nothing.
  if (given === undefined) {
    for (const [name, count] of Object.entries(totals)) assert.ok(count >= 5, `${name}: ${count}`);
  }
});

function range(count: number): number[] {
  return Array.from({length: count}, (_, i) => i + 1);
}
