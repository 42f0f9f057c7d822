/**
 * How fast the simulator is, by a load that does not change with the seed's mood: five members with
 * a heartbeat of 50 ms, 30 operations a second of plain clients, and nothing broken. The first
 * runs are left out: until the program is compiled it is several times slower.
 */
import {must} from '../../src/base/assert.ts';
import {runWith} from './shrink.ts';
import {fairWeather} from './sim-network.ts';
import type {SwarmConfig} from './swarm.ts';

const warmUpRunCount = 12;
const measuredRunCount = 12;

const load: Omit<SwarmConfig, 'seed'> = {
  size: 5,
  faults: new Set(),
  clientKinds: new Set(),
  chaosMs: 60_000,
  faultIntervalMs: 4_000,
  electionTimeoutMs: 150,
  heartbeatMs: 50,
  turnMs: 0,
  lookMs: 0,
  weather: {...fairWeather, delayMinMs: 0.2, delayMeanMs: 1},
  limits: {},
  diskDelayMinMs: 0.1,
  diskDelayMeanMs: 1,
  segmentSizeBytes: 262_144,
  fillStepSizeBytes: 1_048_576,
  retentionSizeBytesMax: 100_000,
  tailSizeBytesMax: 100_000,
  historyAgeMs: 5_000,
  historySizeBytesMax: 200_000,
  clientCount: 8,
  operationsPerSecond: 30,
  keyCount: 10,
  valueSizeBytesMax: 200,
  timeoutMs: 1_000,
  streamBreakRate: 0,
};

/** Medians of the measured runs, as a line. Throws what a run violates. */
export function measureReferenceLoad(first: number): string {
  const rates: number[] = [];
  const eventRates: number[] = [];
  for (let i = 0; i < warmUpRunCount + measuredRunCount; i++) {
    const startedAtMs = performance.now();
    const outcome = runWith({seed: first + i, ...load});
    const tookMs = performance.now() - startedAtMs;
    if (outcome.violation !== null) throw outcome.violation;
    if (i < warmUpRunCount) continue;
    rates.push(outcome.simulatedMs / tookMs);
    eventRates.push(outcome.eventCount / outcome.simulatedMs);
  }
  const events = Math.round(1_000 * medianOf(eventRates));
  const [least, most] = [Math.min(...rates), Math.max(...rates)];
  return (
    `${Math.round(medianOf(rates))} simulated seconds a second in one process ` +
    `(${Math.round(least)} to ${Math.round(most)} in ${rates.length} runs), ` +
    `${events} events each`
  );
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return must(sorted[sorted.length >> 1], 'something was measured');
}
