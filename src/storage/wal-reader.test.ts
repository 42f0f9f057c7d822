import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  appended,
  closed,
  someEntries,
  someHardState,
} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {Entry} from '../raft/entry.ts';
import {logIndex} from '../raft/ids.ts';
import type {Disk, DiskFile} from './disk.ts';
import {WalCorruptionError} from './storage-error.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import {segmentFileName} from './wal-segment.ts';

const mib = 1024 * 1024;
const segmentFile = `/wal/${segmentFileName(1)}`;
const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};

/** Bytes that were asked for since the last look. */
interface ReadCounter {
  sizeBytes: number;
}

function open(disk: Disk): OpenedLog {
  return openLog({
    disk,
    directory: '/wal',
    clock: realClock,
    identity,
    checkpoint: null,
    options: {
      segmentSizeBytes: 16 * mib,
      tailSizeBytesMax: 1024,
      syncMarkDelayMs: 60_000,
    },
  });
}

/** What needs `this` is called on the thing itself, however it is reached. */
function passingOn<T extends object>(target: T, changed: Partial<T>): T {
  return new Proxy(target, {
    get: (_, key) => {
      const value: unknown = Reflect.get(key in changed ? changed : target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function counting(disk: FakeDisk, counter: ReadCounter): Disk {
  return passingOn<Disk>(disk, {
    openSync: (file, mode) => {
      const opened = disk.openSync(file, mode);
      return passingOn<DiskFile>(opened, {
        readSync: (target, position) => {
          counter.sizeBytes += target.length;
          return opened.readSync(target, position);
        },
      });
    },
  });
}

/** The second write waits for the first, so that the third to the last share one batch with it. */
async function logWithLargeBatch(entries: readonly Entry[]): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await Promise.all(entries.map(entry => appended(store, [entry], someHardState(1))));
  await closed(store);
  return disk;
}

test('an entry is read without the others of its batch', async () => {
  const entries = someEntries(1, 9, {sizeBytes: 400_000});
  const counter = {sizeBytes: 0};
  const {store} = open(counting(await logWithLargeBatch(entries), counter));
  for (const entry of entries) {
    counter.sizeBytes = 0;
    const {index} = entry;
    assert.deepEqual(store.entries({from: index, to: index, sizeBytesMax: 1}), [entry]);
    assert.ok(counter.sizeBytes < 1.5 * mib, `${counter.sizeBytes} bytes for entry ${index}`);
  }
  await closed(store);
});

test('small and large entries of a large batch are read as they were written', async () => {
  const sizes = [0, 300_000, 8, 90_000, 262_144, 262_143, 1, 200_000, 700_000, 0, 64, 180_000];
  const entries = sizes.flatMap((sizeBytes, i) => someEntries(i + 1, 1, {sizeBytes}));
  const {store} = open(await logWithLargeBatch(entries));
  for (let from = 1; from <= entries.length; from++) {
    const range = {from: logIndex(from), to: logIndex(entries.length), sizeBytesMax: 1 << 30};
    assert.deepEqual(store.entries(range), entries.slice(from - 1));
  }
  await closed(store);
});

test('of a large batch that is cut off or damaged, what is left can be read and the rest not', async () => {
  const entries = someEntries(1, 9, {sizeBytes: 400_000});
  const disk = await logWithLargeBatch(entries);
  const {store} = open(disk);
  const read = (index: number): readonly Entry[] =>
    store.entries({from: logIndex(index), to: logIndex(index), sizeBytesMax: 1});
  const content = disk.content(segmentFile);
  disk.replace(segmentFile, content.slice(0, 2 * mib));
  assert.deepEqual(read(3), entries.slice(2, 3));
  assert.throws(() => read(9), WalCorruptionError);
  const flipped = new Uint8Array(content);
  flipped.fill(0xff, 2 * mib, 2 * mib + 1);
  disk.replace(segmentFile, flipped);
  const damaged = entries.filter(({index}) => {
    try {
      assert.deepEqual(read(index), [entries[index - 1]]);
      return false;
    } catch (error) {
      assert.ok(error instanceof WalCorruptionError, String(error));
      return true;
    }
  });
  assert.equal(damaged.length, 1);
  await closed(store);
});
