/** Runs that must fail: what is put wrong on purpose is seen. */
import assert from 'node:assert/strict';
import {rmSync} from 'node:fs';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {tortureDefaults} from '../torture/options.ts';
import type {TortureOptions} from '../torture/options.ts';
import type {TortureResult} from '../torture/run.ts';
import {runTorture} from '../torture/run.ts';

/** The machine of a test may be slow; that there is load at all is what counts. */
const rateMin = 10;

/** What a run that must fail may leave behind goes with the test. */
async function mustTurnRed(
  context: TestContext,
  options: Partial<TortureOptions>,
): Promise<TortureResult> {
  const lines: string[] = [];
  const result = await runTorture({...tortureDefaults, rateMin, ...options}, line =>
    lines.push(line),
  );
  const {directory} = result;
  context.after(() => {
    if (directory !== null) rmSync(directory, {recursive: true, force: true});
  });
  const {problems} = result;
  assert.ok(problems.length > 0, `nothing was noticed:\n${lines.join('\n')}`);
  return result;
}

function illegalWorkloads({judgements}: TortureResult): string[] {
  return judgements.filter(row => row.verdict === 'illegal').map(row => row.workload);
}

test(
  'local reads passed off as linearizable turn the run red in every workload that reads',
  {timeout: 240_000},
  async t => {
    const faults = ['partition', 'one-way'] as const;
    const result = await mustTurnRed(t, {seconds: 8, seed: 5, faults, hasStaleReads: true});
    const illegal = illegalWorkloads(result);
    assert.ok(illegal.includes('register') && illegal.includes('set'), illegal.join());
  },
);

test(
  'a disk that acknowledges what it has not written turns the run red',
  {timeout: 240_000},
  async t => {
    const faults = ['kill-all'] as const;
    // Long enough for a slow machine to serve again between two kills.
    const result = await mustTurnRed(t, {seconds: 20, seed: 6, faults, hasLyingDisks: true});
    const illegal = illegalWorkloads(result);
    assert.ok(illegal.length > 0, result.problems.join('\n'));
  },
);

test('repeats without their idempotency key turn the run red', {timeout: 240_000}, async t => {
  const result = await mustTurnRed(t, {
    seconds: 12,
    seed: 7,
    faults: ['kill', 'kill-all', 'pause'],
    workloads: ['counter'],
    clientsPerWorkload: 8,
    mayRepeatKeyless: true,
  });
  assert.deepEqual(illegalWorkloads(result), ['counter'], result.problems.join('\n'));
});
