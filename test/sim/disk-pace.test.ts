import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import {DiskPace, stuckMsMax} from './disk-pace.ts';

const disk = {diskDelayMinMs: 1, diskDelayMeanMs: 100};

test('all that a stuck disk was asked for ends when it moves again', () => {
  const pace = new DiskPace(disk, new Prng(1));
  pace.stick(1_000, 2 * stuckMsMax);
  const endsAtMs = 1_000 + stuckMsMax;
  assert.equal(pace.operationMs(1_500), endsAtMs - 1_500);
  assert.equal(pace.checkpointMs(1_500), endsAtMs - 1_500);
  pace.repair();
  assert.ok(pace.operationMs(1_500) < stuckMsMax);
});

test('no operation of a slow disk takes longer than a stuck one, a checkpoint included', () => {
  const pace = new DiskPace(disk, new Prng(1));
  pace.slowness = 100;
  let most = 0;
  for (let i = 0; i < 1_000; i++) {
    most = Math.max(most, pace.operationMs(0), pace.checkpointMs(0));
  }
  assert.equal(most, stuckMsMax);
});
