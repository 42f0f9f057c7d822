import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mandatory, undecided} from './coverage.ts';
import {Tally, coverageSeedCount} from './tally.ts';

/** What a range shows too little of, when so many histories were given up. */
function gapsOf(seedCount: number, undecidedCount: number, leftOut = ''): string[] {
  const tally = new Tally();
  const met = mandatory.filter(name => name !== leftOut).map(name => [name, 1] as const);
  const coverage = Object.fromEntries(met);
  for (let seed = 0; seed < seedCount; seed++) {
    tally.add({
      seed,
      violation: null,
      traceHash: '',
      eventCount: 1,
      simulatedMs: 1,
      operationCount: 1,
      coverage: seed < undecidedCount ? {...coverage, [undecided]: 1} : coverage,
    });
  }
  return tally.gaps();
}

test('a long range must meet everything, and decide nine of ten histories', () => {
  assert.deepEqual(gapsOf(coverageSeedCount, 200), []);
  assert.match(gapsOf(coverageSeedCount, 201).join(), /^too many: history undecided, 201 in 2000/);
  assert.deepEqual(gapsOf(coverageSeedCount, 0, 'cut'), ['never met: cut']);
  assert.deepEqual(gapsOf(coverageSeedCount, 0, 'history of keys: ok').length, 1);
  assert.deepEqual(gapsOf(coverageSeedCount - 1, 500, 'cut'), []);
});
