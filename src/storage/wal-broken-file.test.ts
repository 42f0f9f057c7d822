/** What is kept of a torn tail: little, seldom, and never at the price of the start. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {allEntries, appended, closed, someEntries} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import {segmentFileName} from './wal-segment.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const options = {segmentSizeBytes: 32 * 1024, fillStepSizeBytes: 8 * 1024, retryDelayMs: 2};
const untorn = someEntries(1, 3);

function open(disk: FakeDisk): OpenedLog {
  return openLog({disk, directory: '/wal', clock: realClock, identity, checkpoint: null, options});
}

/** Writes two batches and leaves the second one torn, zeros behind it. Returns the remains. */
async function tear(disk: FakeDisk, file: string): Promise<Uint8Array> {
  const {store} = open(disk);
  const first = store.lastIndex() + 1;
  await appended(store, someEntries(first, 3));
  await appended(store, someEntries(first + 3, 3));
  const bytes = Buffer.from(disk.content(file));
  await closed(store);
  const start = bytes.lastIndexOf('RWB1');
  bytes.fill(0, start + 100);
  bytes[start + 99] = 1;
  disk.replace(file, bytes);
  return bytes.subarray(start, start + 100);
}

test('only the bytes behind the cut are kept, without the zeros that end the file', async () => {
  const disk = new FakeDisk();
  const file = `/wal/${segmentFileName(1)}`;
  const remains = await tear(disk, file);
  const {store, warnings} = open(disk);
  assert.deepEqual(allEntries(store), untorn);
  assert.match(warnings.join(), /kept in the \.broken file/);
  assert.deepEqual(Buffer.from(disk.content(`${file}.broken`)), remains);
  await closed(store);
});

test('the two newest of these files stay', async () => {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/wal');
  const names = [1, 2, 3, 4].map(sequence => `${segmentFileName(sequence)}.broken`);
  for (const name of names.slice(0, 3)) disk.openSync(`/wal/${name}`, 'create').closeSync();
  const file = `/wal/${segmentFileName(4)}`;
  // The second time the segment has such a file already.
  for (let round = 0; round < 2; round++) {
    await tear(disk, file);
    const {store} = open(disk);
    const found = disk.listSync('/wal').filter(name => name.endsWith('.broken'));
    assert.deepEqual(found, names.slice(2));
    await closed(store);
  }
});

test('a torn log opens on a full disk; what was cut off is not kept then', async () => {
  const disk = new FakeDisk();
  const file = `/wal/${segmentFileName(1)}`;
  await tear(disk, file);
  disk.spaceSizeBytes = 0;
  const {store, warnings} = open(disk);
  const found = allEntries(store);
  // A log without space tries again and again until it is closed.
  await closed(store);
  assert.deepEqual(found, untorn);
  assert.match(warnings.join(), /are not kept: there is no space/);
  assert.equal(disk.existsSync(`${file}.broken`), false);
});
