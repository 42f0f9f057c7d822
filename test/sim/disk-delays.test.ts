import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import {DiskDelays, stuckMsMax} from './disk-delays.ts';

const disk = {diskDelayMinMs: 1, diskDelayMeanMs: 100};

test('all that a stuck disk was asked for ends when it moves again', () => {
  const delays = new DiskDelays(disk, new Prng(1));
  delays.stick(1_000, stuckMsMax);
  const endsAtMs = 1_000 + stuckMsMax;
  assert.equal(delays.operationMs(1_500), endsAtMs - 1_500);
  assert.equal(delays.checkpointMs(1_500), endsAtMs - 1_500);
  delays.repair();
  assert.ok(delays.operationMs(1_500) < stuckMsMax);
});

test('no operation of a slow disk takes longer than a stuck one, a checkpoint included', () => {
  const delays = new DiskDelays(disk, new Prng(1));
  delays.slowness = 100;
  let most = 0;
  for (let i = 0; i < 1_000; i++) {
    most = Math.max(most, delays.operationMs(0), delays.checkpointMs(0));
  }
  assert.equal(most, stuckMsMax);
});
