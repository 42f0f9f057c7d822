import assert from 'node:assert/strict';
import test from 'node:test';
import {LatencyDistribution} from './latency-distribution.ts';

test('quantiles are within 2 % of the sorted values, and never above the largest', () => {
  const latencies = new LatencyDistribution();
  const values = Array.from({length: 10_000}, (_, i) => 0.05 * 1.001 ** ((i * 7919) % 10_000));
  for (const value of values) latencies.record(value);
  values.sort((a, b) => a - b);
  for (const share of [0.01, 0.5, 0.9, 0.99, 1]) {
    const exact = values[Math.ceil(share * values.length) - 1] ?? 0;
    const told = latencies.quantileMs(share);
    assert.ok(told >= exact * 0.999 && told <= exact * 1.021, `${share}: ${told} for ${exact}`);
  }
  assert.equal(latencies.maxMs, values.at(-1));
  assert.ok(latencies.quantileMs(1) <= latencies.maxMs);
  assert.equal(latencies.count, 10_000);
});

test('bars begin and end where there is something, and their bounds are inclusive', () => {
  const latencies = new LatencyDistribution();
  for (const ms of [1, 2, 2, 2.001, 30]) latencies.record(ms);
  assert.deepEqual(latencies.bars(), [
    {overMs: 0.5, upToMs: 1, count: 1},
    {overMs: 1, upToMs: 2, count: 2},
    {overMs: 2, upToMs: 5, count: 1},
    {overMs: 5, upToMs: 10, count: 0},
    {overMs: 10, upToMs: 20, count: 0},
    {overMs: 20, upToMs: 50, count: 1},
  ]);
});

test('nothing measured is nothing, and the unbounded is counted', () => {
  const latencies = new LatencyDistribution();
  assert.equal(latencies.quantileMs(0.99), 0);
  assert.equal(latencies.meanMs, 0);
  assert.deepEqual(latencies.bars(), []);
  latencies.record(0);
  latencies.record(1e9);
  assert.equal(latencies.bars().at(-1)?.upToMs, Infinity);
  assert.equal(latencies.quantileMs(1), 2 ** ((36 * 30 - 1) / 36) / 1000);
});
