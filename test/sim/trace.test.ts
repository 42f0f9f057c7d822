import assert from 'node:assert/strict';
import {test} from 'node:test';
import {runOnce} from './shrink.ts';

const seedCount = 20;

test('the same seed gives the same trace, another seed another one', () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= seedCount; seed++) {
    const first = runOnce(seed, {chaosMs: 3_000});
    const second = runOnce(seed, {chaosMs: 3_000});
    assert.equal(first.violation, null, `seed ${seed}`);
    assert.equal(first.traceHash, second.traceHash, `seed ${seed}`);
    assert.equal(first.eventCount, second.eventCount, `seed ${seed}`);
    hashes.add(first.traceHash);
  }
  assert.equal(hashes.size, seedCount);
});
