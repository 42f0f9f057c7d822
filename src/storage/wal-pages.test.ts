/** Which bytes of its files the log writes. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {allEntries, appended, closed, someEntries} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import {logIndex} from '../raft/ids.ts';
import type {DiskFile} from './disk.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';

const pageSizeBytes = 4096;
const segmentSizeBytes = 16 * pageSizeBytes;
const identity = {clusterId: null, nodeId: 'node1', incarnation: '0123456789abcdef'};
const options = {segmentSizeBytes, tailSizeBytesMax: segmentSizeBytes, retentionSizeBytesMax: 0};

interface Write {
  readonly position: number;
  readonly end: number;
  /** What was there before, up to the end of the page that the write begins in. */
  readonly behindTheLog: Uint8Array;
}

/** Tells what is written to its files. */
class WatchedDisk extends FakeDisk {
  readonly writes: Write[] = [];

  override openSync(file: string, mode: 'create' | 'open'): DiskFile {
    return this.#watched(super.openSync(file, mode));
  }

  override create(file: string, callback: (result: DiskFile | Error) => void): void {
    super.create(file, result => callback(this.#watchedUnlessError(result)));
  }

  override open(file: string, callback: (result: DiskFile | Error) => void): void {
    super.open(file, result => callback(this.#watchedUnlessError(result)));
  }

  #watchedUnlessError(result: DiskFile | Error): DiskFile | Error {
    return result instanceof Error ? result : this.#watched(result);
  }

  #watched(file: DiskFile): DiskFile {
    const write = file.write.bind(file);
    file.write = (bytes, position, callback) => {
      const behindTheLog = new Uint8Array(pageSizeBytes - (position % pageSizeBytes));
      file.readSync(behindTheLog, position);
      this.writes.push({position, end: position + bytes.length, behindTheLog});
      write(bytes, position, callback);
    };
    return file;
  }
}

function open(disk: FakeDisk): OpenedLog {
  return openLog({disk, directory: '/wal', clock: realClock, identity, checkpoint: null, options});
}

test('no page is written in part: a used one would have to be read for it', async () => {
  const disk = new WatchedDisk();
  const {store} = open(disk);
  const sizesBytes = [1, 100, 3_900, 4_096, 9_000];
  const segmentNames = new Set<string>();
  for (let index = 1; index <= 200; index++) {
    const sizeBytes = sizesBytes[index % sizesBytes.length] ?? 1;
    await appended(store, someEntries(index, 1, {sizeBytes}));
    store.release({upTo: logIndex(index), neededAfter: null});
    for (const name of disk.listSync('/wal')) segmentNames.add(name);
  }
  assert.ok(disk.listSync('/wal').length * 3 < segmentNames.size, 'segments are used again');
  const batches = disk.writes.filter(({position}) => position % pageSizeBytes !== 0);
  assert.ok(batches.length > 100);
  for (const {end} of disk.writes) assert.equal(end % pageSizeBytes, 0);
  // The part of the page before the write came with the write before, and zeros behind it.
  for (const {behindTheLog} of batches) assert.ok(behindTheLog.every(byte => byte === 0));
  const entries = allEntries(store);
  await closed(store);
  const reopened = open(disk);
  assert.deepEqual(allEntries(reopened.store), entries);
  await closed(reopened.store);
});
