/** Segments of several windows: what stands across a border is found as anywhere else. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  allEntries,
  appended,
  closed,
  someEntries,
  someHardState,
} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import {batchNeedle} from './wal-record.ts';
import {segmentFileName, segmentId} from './wal-segment.ts';

const mib = 1024 * 1024;
const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const options = {segmentSizeBytes: 16 * mib, fillStepSizeBytes: 4 * mib, syncMarkDelayMs: 60_000};
const firstFile = `/wal/${segmentFileName(1)}`;
const firstId = segmentId(1, identity.incarnation);
const batchesAt = 4096;

function open(disk: FakeDisk): OpenedLog {
  const place = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null};
  return openLog({...place, options});
}

test('batches across the borders of windows, and larger than one, are recovered', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  let next = 1;
  for (let i = 0; i < 60; i++) {
    const sizeBytes = i % 20 === 7 ? 1_500_000 : 1_000 + 77 * i;
    const entries = someEntries(next, i % 20 === 7 ? 1 : 40, {sizeBytes});
    next += entries.length;
    await appended(store, entries, someHardState(1));
  }
  const written = allEntries(store);
  await closed(store);
  const again = open(disk);
  assert.equal(again.store.lastIndex(), next - 1);
  assert.deepEqual(allEntries(again.store), written);
  assert.deepEqual(again.warnings, []);
  await closed(again.store);
});

test('what stands behind the end of the log is found on every side of a border', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 4, {sizeBytes: 2000}), someHardState(1));
  await closed(store);
  const content = disk.content(firstFile);
  const needle = batchNeedle(firstId);
  // The window that holds the first batch ends here.
  const border = batchesAt + mib;
  const places = [-9, -8, -7, -4, -1, 0, 1].map(at => border + at);
  for (const place of [...places, 2 * mib, content.length - needle.length]) {
    const changed = new Uint8Array(content);
    changed.set(needle, place);
    disk.replace(firstFile, changed);
    const opened = open(disk);
    assert.equal(opened.store.lastIndex(), 4, `at ${place}`);
    assert.match(opened.warnings.join(), /where a write was interrupted/, `at ${place}`);
    await closed(opened.store);
  }
  disk.replace(firstFile, content);
  assert.deepEqual(open(disk).warnings, []);
});
