/** Room ahead of the log: how far a segment is prepared, and what a full disk does to that. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import {noIndex, noTerm} from '../raft/ids.ts';
import {createFirstSegment} from './wal-directory.ts';
import {walOptions} from './wal-options.ts';
import {WalSegmentPool} from './wal-segment-pool.ts';
import type {WalSegment} from './wal-segment.ts';

const kib = 1024;
const segmentSizeBytes = 1024 * kib;
const stepSizeBytes = 16 * kib;
const headerSizeBytes = 4 * kib;

interface Prepared {
  readonly disk: FakeDisk;
  readonly pool: WalSegmentPool;
  readonly segment: WalSegment;
}

function createPool(): Prepared {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/wal');
  const options = walOptions({segmentSizeBytes, fillStepSizeBytes: stepSizeBytes, retryDelayMs: 1});
  const incarnation = '0123456789abcdef';
  const identity = {clusterId: 'c', nodeId: 'node1', incarnation};
  const previous = {index: noIndex, term: noTerm};
  const bytes = new Uint8Array(headerSizeBytes);
  const wal = {disk, directory: '/wal', identity, options};
  const segment = createFirstSegment(wal, 1, bytes, previous);
  const pool = new WalSegmentPool({
    disk,
    directory: '/wal',
    clock: realClock,
    options,
    incarnation,
    current: segment,
    prepared: [],
    onProgress: () => undefined,
    onFailure: error => assert.fail(error),
  });
  return {disk, pool, segment};
}

/** Turns the event loop until it holds. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 5_000;
  while (!holds()) {
    assert.ok(Date.now() < deadlineMs, `not within seconds: ${what}`);
    await new Promise(setImmediate);
  }
}

/** The log has got so far in its segment. */
async function advance({pool, segment}: Prepared, end: number): Promise<void> {
  segment.wanted = end;
  await until('the log has room', () => {
    pool.maybeWork();
    return segment.filled >= end;
  });
  segment.end = end;
  pool.maybeWork();
}

test('the next segment is filled while the second half of the present one is used', async () => {
  const prepared = createPool();
  const {pool} = prepared;
  await advance(prepared, segmentSizeBytes / 2);
  assert.equal(pool.preparedSizeBytes, 0);
  for (const share of [0.55, 0.7, 0.85, 1]) {
    const end = Math.floor(share * segmentSizeBytes);
    await advance(prepared, end);
    const due = Math.min(segmentSizeBytes, 2 * end - segmentSizeBytes + 8 * stepSizeBytes);
    await until(`${due} bytes at ${share}`, () => pool.preparedSizeBytes >= due);
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    assert.ok(pool.preparedSizeBytes < due + stepSizeBytes, `${pool.preparedSizeBytes} bytes`);
  }
});

test('space that comes back is noticed when no step is wanted any more', async () => {
  const prepared = createPool();
  const {disk, pool, segment} = prepared;
  await advance(prepared, Math.floor(0.9 * segmentSizeBytes));
  const isFarFilled = (): boolean => pool.preparedSizeBytes > 0.8 * segmentSizeBytes;
  await until('the next segment is nearly filled', isFarFilled);
  await until('this one is filled', () => segment.filled === segmentSizeBytes);
  disk.spaceSizeBytes = 0;
  segment.end = segmentSizeBytes;
  pool.maybeWork();
  await until('a step fails', () => pool.isFull);
  // What waits goes into the next segment, which has room for long.
  const next = pool.take(headerSizeBytes);
  assert.ok(next !== null);
  next.headerSizeBytes = headerSizeBytes;
  next.end = headerSizeBytes;
  disk.spaceSizeBytes = Number.POSITIVE_INFINITY;
  await until('the pool is not full', () => !pool.isFull);
});

test('a segment that is left before it is full is not kept open for zeros', async () => {
  for (const isFilling of [false, true]) {
    const prepared = createPool();
    const {disk, pool, segment} = prepared;
    const end = Math.floor(0.55 * segmentSizeBytes);
    await advance(prepared, end);
    await until('nothing is to be filled', () => {
      const aheadSizeBytes = 8 * stepSizeBytes;
      const nextSizeBytes = 2 * end - segmentSizeBytes + aheadSizeBytes;
      return segment.filled >= end + aheadSizeBytes && pool.preparedSizeBytes >= nextSizeBytes;
    });
    // Both segments, each once for the log and once for zeros.
    assert.equal(disk.openFileCount, 4);
    if (isFilling) {
      segment.end += stepSizeBytes;
      pool.maybeWork();
    }
    assert.ok(pool.take(headerSizeBytes) !== null);
    assert.equal(disk.openFileCount, isFilling ? 4 : 3);
    await until('the step has ended', () => disk.openFileCount === 3);
    assert.ok(segment.filled < segmentSizeBytes);
  }
});
