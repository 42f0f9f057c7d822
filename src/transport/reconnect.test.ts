import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {Backoff} from './reconnect.ts';

test('the delay doubles with jitter up to its bound, and starts over after a reset', () => {
  const backoff = new Backoff(new Prng(1));
  let expectedMs: number = limits.reconnectDelayMsMin;
  for (let i = 0; i < 20; i++) {
    const delayMs = backoff.nextMs();
    assert.ok(delayMs >= expectedMs / 2 && delayMs <= expectedMs, `${delayMs} of ${expectedMs}`);
    expectedMs = Math.min(expectedMs * 2, limits.reconnectDelayMsMax);
  }
  backoff.reset();
  assert.ok(backoff.nextMs() <= limits.reconnectDelayMsMin);
});
