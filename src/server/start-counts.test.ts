import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {openStartCounts} from './start-counts.ts';

test('start counts outlive a full disk in memory and are written once there is space', () => {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/data');
  const counts = openStartCounts(disk, '/data/peers.json');
  counts.record('00000000000000aa', 1);
  disk.spaceSizeBytes = 0;
  counts.record('00000000000000aa', 2);
  assert.equal(counts.get('00000000000000aa'), 2);
  disk.spaceSizeBytes = Number.POSITIVE_INFINITY;
  counts.record('00000000000000aa', 2);
  assert.equal(openStartCounts(disk, '/data/peers.json').get('00000000000000aa'), 2);
});
