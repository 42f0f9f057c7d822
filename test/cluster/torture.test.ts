import assert from 'node:assert/strict';
import {test} from 'node:test';
import {tortureDefaults} from '../torture/options.ts';
import {runTorture} from '../torture/run.ts';

/** The machine of a test may be slow; that there is load at all is what counts. */
const rateMin = 10;

test(
  '45 seconds of faults of every kind: every history is legal and all nodes end with one state',
  {timeout: 480_000},
  async t => {
    const seed = Math.floor(Math.random() * 0xffff_ffff);
    const lines = [`seed ${seed}`];
    const options = {...tortureDefaults, rateMin, seconds: 45, seed};
    const result = await runTorture(options, line => {
      lines.push(line);
      if (line.startsWith('without')) t.diagnostic(line);
    });
    assert.deepEqual(result.problems, [], lines.join('\n'));
    assert.ok(result.faultCounts.size > 0, 'some fault struck');
    assert.deepEqual(
      result.judgements.map(({workload, verdict}) => `${workload} ${verdict}`),
      ['register ok', 'set ok', 'append ok', 'counter ok'],
    );
  },
);
