import assert from 'node:assert/strict';
import {test} from 'node:test';
import {logIndex} from '../raft/ids.ts';
import type {RetainedSegment} from './log-retention.ts';
import {releasedCount} from './log-retention.ts';

const bounds = {retentionSizeBytesMax: 300, heldSizeBytesMax: 600, retentionAgeMs: 1_000};

/** Segments of 100 bytes and 10 entries; the newest is one of them. */
function segments(count: number, changes: Partial<RetainedSegment> = {}): RetainedSegment[] {
  return Array.from({length: count}, (_, i) => ({
    previousIndex: logIndex(i * 10),
    sizeBytes: 100,
    ageMs: 0,
    isCleanStart: true,
    ...changes,
  }));
}

function released(
  list: readonly RetainedSegment[],
  release: {readonly upTo: number; readonly neededAfter?: number},
): number {
  const {upTo, neededAfter} = release;
  return releasedCount(
    list,
    {
      upTo: logIndex(upTo),
      neededAfter: neededAfter === undefined ? null : logIndex(neededAfter),
    },
    bounds,
  );
}

test('what exceeds the bytes goes, oldest first, as far as the checkpoint reaches', () => {
  assert.equal(released(segments(4), {upTo: 1_000}), 0);
  assert.equal(released(segments(10), {upTo: 1_000}), 6);
  assert.equal(released(segments(10), {upTo: 25}), 2);
  assert.equal(released(segments(10), {upTo: 9}), 0);
  assert.equal(released(segments(1), {upTo: 1_000}), 0);
  assert.equal(released([], {upTo: 1_000}), 0);
});

test('what a member needs stays, up to a bound of its own', () => {
  assert.equal(released(segments(7), {upTo: 1_000, neededAfter: 5}), 0);
  assert.equal(released(segments(7), {upTo: 1_000, neededAfter: 10}), 1);
  assert.equal(released(segments(7), {upTo: 1_000, neededAfter: 45}), 3, 'the usual bound');
  assert.equal(released(segments(10), {upTo: 1_000, neededAfter: 5}), 3, 'it is helped so far');
});

test('what is old goes, however little it is, unless somebody needs it', () => {
  const old = segments(4, {ageMs: 1_001});
  assert.equal(released(old, {upTo: 1_000}), 3, 'the newest stays');
  assert.equal(released(old, {upTo: 15}), 1);
  assert.equal(released(old, {upTo: 1_000, neededAfter: 10}), 1, 'but not what is needed');
  assert.equal(released(segments(4, {ageMs: 1_000}), {upTo: 1_000}), 0);
});

test('the log begins only where nothing supersedes across the border', () => {
  const list = segments(10).map((segment, i) => ({...segment, isCleanStart: i !== 6}));
  assert.equal(released(list, {upTo: 1_000}), 5);
  assert.equal(released(segments(10, {isCleanStart: false}), {upTo: 1_000}), 0);
});
