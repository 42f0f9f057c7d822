import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {SnapshotPacer} from './snapshot-pacer.ts';

const blockSizeBytes = limits.snapshotBlockSizeBytesMax;

/** One timer at a time, which fires as late as the test says. */
class LateClock implements Clock {
  readonly #latenessMs: number;
  #nowMs = 1_000;
  #timer: {readonly dueAtMs: number; readonly callback: () => void} | null = null;

  constructor(latenessMs: number) {
    this.#latenessMs = latenessMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = {dueAtMs: this.#nowMs + delayMs, callback};
    this.#timer = timer;
    return {
      cancel: () => {
        if (this.#timer === timer) this.#timer = null;
      },
    };
  }

  afterPoll(): void {
    throw new Error('the pacer has no use for it');
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** False: there is no timer. */
  fire(): boolean {
    const timer = this.#timer;
    if (timer === null) return false;
    this.#timer = null;
    this.#nowMs = timer.dueAtMs + this.#latenessMs;
    timer.callback();
    return true;
  }
}

/** Bytes a second of one stream that always has a block ready, over ten seconds. */
function measuredRate(latenessMs: number): number {
  const clock = new LateClock(latenessMs);
  const pacer = new SnapshotPacer(clock);
  const startedAtMs = clock.monotonicMs();
  let sizeBytes = 0;
  while (clock.monotonicMs() - startedAtMs < 10_000) {
    const before = sizeBytes;
    pacer.take(blockSizeBytes, () => {
      sizeBytes += blockSizeBytes;
    });
    if (sizeBytes === before) assert.ok(clock.fire());
  }
  return (1_000 * sizeBytes) / (clock.monotonicMs() - startedAtMs);
}

function isAbout(rate: number, wanted: number): boolean {
  return Math.abs(rate / wanted - 1) < 0.02;
}

test('a loop that is in time sends at the highest rate', () => {
  assert.ok(isAbout(measuredRate(0), limits.snapshotBytesPerSecondMax));
});

test('a stream begins at the lowest rate', () => {
  const {bytesPerSecond} = new SnapshotPacer(new LateClock(0));
  assert.equal(bytesPerSecond, limits.snapshotBytesPerSecondMin);
});

test('a loop that is always late sends at the lowest rate, and no slower', () => {
  for (const latenessMs of [11, 20]) {
    const rate = measuredRate(latenessMs);
    assert.ok(isAbout(rate, limits.snapshotBytesPerSecondMin), `${rate} at ${latenessMs} ms`);
  }
});

test('after a pause no more than the bound leaves at once', () => {
  const clock = new LateClock(0);
  const pacer = new SnapshotPacer(clock);
  for (const pauseMs of [0, 60_000]) {
    clock.pass(pauseMs);
    let count = 0;
    let triedCount = 0;
    while (triedCount === count) {
      triedCount += 1;
      pacer.take(blockSizeBytes, () => (count += 1));
    }
    // The one that waits has its time only then; the last one before it ends with the bound.
    const burst = count * blockSizeBytes;
    assert.ok(burst >= limits.snapshotBurstSizeBytesMax, `${burst} bytes`);
    assert.ok(burst <= limits.snapshotBurstSizeBytesMax + blockSizeBytes, `${burst} bytes`);
    assert.ok(clock.fire());
  }
});

test('what is cancelled does not leave', () => {
  const clock = new LateClock(0);
  const pacer = new SnapshotPacer(clock);
  let count = 0;
  let triedCount = 0;
  let cancel = (): void => undefined;
  while (triedCount === count) {
    triedCount += 1;
    cancel = pacer.take(blockSizeBytes, () => (count += 1));
  }
  cancel();
  assert.equal(clock.fire(), false);
  assert.equal(count, triedCount - 1);
});
