import assert from 'node:assert/strict';
import {test} from 'node:test';
import {firstIdOf} from './first-id.ts';

const incarnations = ['0'.repeat(16), '00f3a91c55e7d204', 'b81d0e6ff2390a7c', 'f'.repeat(16)];

test('ids are safe integers, and lives of one directory never share one', () => {
  for (const incarnation of incarnations) {
    const firsts = [1, 2, 3, 1000, 2 ** 20 - 1, 2 ** 20].map(count => {
      return firstIdOf(incarnation, count);
    });
    for (const first of firsts) assert.ok(first >= 1 && Number.isSafeInteger(first + 2 ** 32));
    firsts.sort((a, b) => a - b);
    for (const [i, first] of firsts.slice(1).entries()) {
      assert.ok(first - (firsts[i] ?? first) >= 2 ** 32);
    }
  }
});

test('another directory of the same name begins elsewhere, at the same start', () => {
  for (const startCount of [1, 7]) {
    const firsts = incarnations.map(incarnation => firstIdOf(incarnation, startCount)).sort();
    assert.equal(new Set(firsts).size, incarnations.length);
  }
  // As far apart as chance has it, not by whole lives alone.
  const [, one = '', other = ''] = incarnations;
  assert.notEqual((firstIdOf(one, 1) - firstIdOf(other, 1)) % 2 ** 32, 0);
});
