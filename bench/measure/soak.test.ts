import assert from 'node:assert/strict';
import {test} from 'node:test';
import {violationsOf} from './soak.ts';

const sound = {
  durationSeconds: 600,
  load: {
    requestCount: 4_000_000,
    errorCount: 0,
    durationSeconds: 600,
    requestsPerSecond: 6_700,
    p50Us: 8_000,
    p99Us: 40_000,
  },
  electionCount: 0,
  rssAnonSlopeMbPerMinute: 0.4,
  rssAnonBytesMax: 180e6,
  diskBytesMax: 2e9,
  diskGrowthShare: 0.02,
};

test('a soak in which nothing grows and nothing fails has no violations', () => {
  assert.deepEqual(violationsOf(sound), []);
});

test('each thing that must hold is named when it does not', () => {
  const {load} = sound;
  assert.deepEqual(
    [
      {electionCount: 2},
      {load: {...load, errorCount: 3}},
      {load: {...load, p99Us: 51_234}},
      {rssAnonSlopeMbPerMinute: 1.5},
      {rssAnonSlopeMbPerMinute: NaN},
      {diskGrowthShare: 0.25},
    ].map(change => violationsOf({...sound, ...change}).join('; ')),
    [
      '2 elections',
      '3 errors',
      'p99 of 51.2 ms',
      'memory grows by 1.50 MB/min',
      'memory grows by NaN MB/min',
      "the disk's use grows by 25.0 % at the end",
    ],
  );
});
