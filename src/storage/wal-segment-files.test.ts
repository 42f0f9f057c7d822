/** Names of segments change in the background: what may not wait for them, and what must. */
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
import {must} from '../base/assert.ts';
import {Prng} from '../base/prng.ts';
import type {Entry} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import type {OpenedLog, WalLogStore} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};

function open(disk: FakeDisk, released = 0, termValue = 1): OpenedLog {
  const meta = {index: logIndex(released), term: term(termValue), membership: emptyMembership};
  const checkpoint: CheckpointMeta | null = released === 0 ? null : meta;
  const options = {
    segmentSizeBytes: 32 * 1024,
    fillStepSizeBytes: 8 * 1024,
    tailSizeBytesMax: 2 * 1024,
    retentionSizeBytesMax: 0,
    syncMarkDelayMs: 60_000,
    retryDelayMs: 2,
  };
  return openLog({disk, directory: '/wal', clock: realClock, identity, checkpoint, options});
}

/** Another disk with the same files, all durable. */
function copyOf(disk: FakeDisk): FakeDisk {
  const copy = new FakeDisk();
  copy.makeDirectorySync('/wal');
  for (const name of disk.listSync('/wal')) {
    const file = `/wal/${name}`;
    copy.openSync(file, 'create').closeSync();
    copy.replace(file, disk.content(file));
  }
  copy.syncDirectorySync('/wal');
  return copy;
}

/** The operations of a disk wait until they are run, each as a step of its own. */
class SteppedDisk extends FakeDisk {
  readonly #waiting: (() => void)[];

  constructor() {
    const waiting: (() => void)[] = [];
    super(operation => waiting.push(operation));
    this.#waiting = waiting;
  }

  step(): boolean {
    const operation = this.#waiting.shift();
    operation?.();
    return operation !== undefined;
  }

  /** Until the disk and the event loop have nothing to do. */
  async settle(): Promise<void> {
    do {
      while (this.step());
      await new Promise(setImmediate);
    } while (this.#waiting.length > 0);
  }
}

/** Its directory syncs wait until they are let through. */
class HeldDisk extends SteppedDisk {
  isHeld = true;
  readonly #held: (() => void)[] = [];

  get heldCount(): number {
    return this.#held.length;
  }

  override syncDirectory(directory: string, callback: (error: Error | null) => void): void {
    if (this.isHeld) this.#held.push(() => super.syncDirectory(directory, callback));
    else super.syncDirectory(directory, callback);
  }

  letThrough(): void {
    this.isHeld = false;
    for (const sync of this.#held.splice(0)) sync();
  }
}

async function filled(store: WalLogStore, from: number, to: number): Promise<void> {
  for (let i = from; i <= to; i += 10) await appended(store, someEntries(i, 10, {sizeBytes: 500}));
}

function segmentCount(disk: FakeDisk): number {
  return disk.listSync('/wal').length;
}

test('a crash between any two changes of the files loses nothing that was acknowledged', async () => {
  const entries = someEntries(1, 400, {sizeBytes: 500});
  for (let changes = 0, isDone = false; !isDone; changes++) {
    const disk = new FakeDisk();
    const {store} = open(disk);
    disk.changesLeft = changes;
    let acknowledged = 0;
    let released = 0;
    try {
      for (let i = 0; i < entries.length; i += 20) {
        await appended(store, entries.slice(i, i + 20));
        acknowledged = i + 20;
        // Two segments are given up at once, later four: renamed as well as removed.
        if (acknowledged % 120 !== 0 && acknowledged !== 400) continue;
        released = acknowledged;
        store.release({upTo: logIndex(released), neededAfter: null});
      }
    } catch (error) {
      assert.match(String(error), /the crash comes here/);
    }
    await closed(store);
    isDone = disk.changesLeft > 0;
    // Whatever failed, and wherever: what is on its way ends, then its files are closed.
    for (let turn = 0; disk.openFileCount > 0 && turn < 100; turn++) {
      await new Promise(setImmediate);
    }
    assert.equal(disk.openFileCount, 0, `open files after ${changes} changes`);
    disk.changesLeft = Number.POSITIVE_INFINITY;
    disk.crash(new Prng(changes));
    const {store: after} = open(disk, released);
    assert.ok(after.lastIndex() >= acknowledged, `${changes}: ${after.lastIndex()}`);
    assert.ok(after.firstIndex() <= released + 1, `${changes}: ${after.firstIndex()}`);
    const expected = entries.slice(after.firstIndex() - 1, after.lastIndex());
    assert.deepEqual(allEntries(after), expected, `${changes} changes`);
    // What the crash left behind does not stand in the way of more.
    const more = someEntries(after.lastIndex() + 1, 100, {term: 2, sizeBytes: 500});
    await appended(after, more, someHardState(2));
    await closed(after);
    const {store: last} = open(disk, released);
    assert.deepEqual(allEntries(last), [...expected, ...more]);
    await closed(last);
    assert.ok(changes < 1_000, 'the log is written');
  }
});

test('segments given up together cost one fsync of the directory', async () => {
  const disk = new SteppedDisk();
  const {store} = open(disk);
  const writes = filled(store, 1, 500);
  await disk.settle();
  await writes;
  const before = disk.directorySyncCount;
  const countBefore = segmentCount(disk);
  assert.ok(countBefore >= 8, `${countBefore} segments`);
  store.release({upTo: logIndex(500), neededAfter: null});
  assert.equal(segmentCount(disk), countBefore, 'nothing happens inside the call');
  await disk.settle();
  assert.ok(segmentCount(disk) <= 4, disk.listSync('/wal').join());
  assert.equal(disk.directorySyncCount, before + 1);
  const done = closed(store);
  await disk.settle();
  await done;
});

test('no write in a new segment is acknowledged before the name of the segment is durable', async () => {
  const disk = new HeldDisk();
  const {store} = open(disk);
  let acknowledged = 0;
  const entries = someEntries(1, 120, {sizeBytes: 500});
  const writes = entries.map(async entry => {
    await appended(store, [entry]);
    acknowledged = entry.index;
  });
  await disk.settle();
  assert.equal(disk.heldCount, 1);
  assert.equal(segmentCount(disk), 2);
  const held = acknowledged;
  assert.ok(held > 0 && held * 500 < 32 * 1024, `${held} entries`);
  disk.letThrough();
  await disk.settle();
  await Promise.all(writes);
  assert.equal(acknowledged, entries.length);
  const closing = closed(store);
  await disk.settle();
  await closing;
});

test('a close waits for the files that are given up', async () => {
  const disk = new HeldDisk();
  disk.isHeld = false;
  const {store} = open(disk);
  const writes = filled(store, 1, 300);
  await disk.settle();
  await writes;
  disk.isHeld = true;
  store.release({upTo: logIndex(300), neededAfter: null});
  let isClosed = false;
  const closing = closed(store).then(() => (isClosed = true));
  await disk.settle();
  assert.equal(disk.heldCount, 1);
  assert.equal(isClosed, false);
  disk.letThrough();
  await disk.settle();
  await closing;
  assert.ok(segmentCount(disk) <= 4, disk.listSync('/wal').join());
  const {store: again} = open(disk, 300);
  assert.equal(again.lastIndex(), 300);
  const done = closed(again);
  await disk.settle();
  await done;
});

for (const fault of ['failNextNameChange', 'failNextDirectorySync'] as const) {
  for (const occasion of ['a segment is made', 'segments are given up']) {
    test(`EIO (${fault}) when ${occasion} ends the log; the next start finds everything`, async () => {
      const disk = new SteppedDisk();
      const {store} = open(disk);
      const isRelease = occasion === 'segments are given up';
      const count = isRelease ? 300 : 20;
      const first = filled(store, 1, count);
      await disk.settle();
      await first;
      disk[fault] = 'EIO';
      if (isRelease) store.release({upTo: logIndex(count), neededAfter: null});
      const more = someEntries(count + 1, 60, {sizeBytes: 500});
      const writes = Promise.allSettled(more.map(entry => appended(store, [entry])));
      await disk.settle();
      const last = must((await writes).at(-1), 'a write');
      assert.ok(last.status === 'rejected');
      assert.match(String(last.reason), /EIO/);
      const done = closed(store);
      await disk.settle();
      await done;
      disk.crash(new Prng(1));
      const {store: again} = open(disk, isRelease ? count : 0);
      assert.ok(again.lastIndex() >= count);
      const closing = closed(again);
      await disk.settle();
      await closing;
    });
  }
}

test('a name for which there is no space is waited for, and one that cannot change is given up', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  disk.failNextNameChange = 'ENOSPC';
  const entries = someEntries(1, 100, {sizeBytes: 500});
  const writes = entries.map(entry => appended(store, [entry]));
  while (!store.isFull()) await new Promise(setImmediate);
  await Promise.all(writes);
  assert.equal(store.isFull(), false);
  disk.failNextNameChange = 'ENOSPC';
  store.release({upTo: logIndex(100), neededAfter: null});
  await filled(store, 101, 200);
  assert.equal(disk.failNextNameChange, null);
  await closed(store);
  const {store: again} = open(disk, 100);
  assert.equal(again.lastIndex(), 200);
  await closed(again);
});

test('a second reset before the first is durable wins, and completes what waited for both', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await filled(store, 1, 200);
  const done: string[] = [];
  const append = (name: string, entries: readonly Entry[]): void => {
    store.append({hardState: someHardState(1), entries}, error => {
      assert.equal(error, null);
      done.push(name);
    });
  };
  append('in flight', someEntries(201, 5));
  append('superseded by the first', someEntries(206, 5));
  const first = {index: logIndex(1_000), term: term(3), membership: emptyMembership};
  store.reset(first, someHardState(3, 1_000));
  append('superseded by the second', someEntries(1_001, 5, {term: 3}));
  const meta = {...first, index: logIndex(2_000)};
  store.reset(meta, someHardState(4, 2_000));
  assert.deepEqual(done, []);
  const entries = someEntries(2_001, 5, {term: 4});
  await appended(store, entries, someHardState(4, 2_000));
  assert.deepEqual(done, ['in flight', 'superseded by the first', 'superseded by the second']);
  assert.deepEqual(allEntries(store), entries);
  await closed(store);
  const {store: again, hardState} = open(disk, 2_000, 3);
  assert.deepEqual(allEntries(again), entries);
  assert.deepEqual(hardState, someHardState(4, 2_000));
  await closed(again);
});

test('a reset is not acknowledged, nor what it superseded, before its segment is durable', async () => {
  const disk = new SteppedDisk();
  const {store} = open(disk);
  const first = filled(store, 1, 100);
  await disk.settle();
  await first;
  const meta = {index: logIndex(500), term: term(3), membership: emptyMembership};
  let callbackCount = 0;
  const onDurable = (error: Error | null): void => {
    assert.equal(error, null);
    callbackCount++;
  };
  store.append({hardState: someHardState(3), entries: []}, onDurable);
  store.append({hardState: someHardState(3), entries: []}, onDurable);
  store.reset(meta, someHardState(3, 500));
  store.append({hardState: someHardState(3, 500), entries: []}, onDurable);
  while (disk.step()) {
    const files = disk.listSync('/wal').map(name => Buffer.from(disk.content(`/wal/${name}`)));
    // Byte 32: the log starts here. Byte 33: after this index.
    const isWritten = files.some(bytes => bytes[32] === 1 && bytes.readUInt32LE(33) === 500);
    assert.ok(isWritten || callbackCount <= 1, 'only the write that was on its way');
  }
  await disk.settle();
  assert.equal(callbackCount, 3);
  const done = closed(store);
  await disk.settle();
  await done;
});

test('segments given up of which a crash left the newest do not pass for a damaged log', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await filled(store, 1, 100);
  // Replaces what stands in the first segment and the second one.
  for (let i = 31; i <= 200; i += 10) {
    const entries = someEntries(i, 10, {term: 2, sizeBytes: 500});
    await appended(store, entries, someHardState(2));
  }
  const expected = allEntries(store);
  await closed(store);
  const names = disk.listSync('/wal');
  assert.ok(names.length >= 5);
  // The first one is gone; the second one's predecessor was entry 50 or so of term 1.
  disk.removeSync(`/wal/${must(names[0], 'a segment')}`);
  // Without a checkpoint behind it the entries are in neither place; nothing more is removed then.
  const left = disk.listSync('/wal');
  for (let i = 0; i < 2; i++) assert.throws(() => open(disk, 20, 1), /is missing/);
  assert.deepEqual(disk.listSync('/wal'), left);
  // Where the checkpoint was lost, a snapshot has to make up for both.
  const copy = copyOf(disk);
  const lost = open(copy);
  assert.equal(lost.needsSnapshot, true);
  assert.deepEqual(allEntries(lost.store), expected.slice(lost.store.firstIndex() - 1));
  await closed(lost.store);
  const again = open(copy);
  assert.equal(again.needsSnapshot, true, 'and at the next start again');
  await closed(again.store);
  const {store: after} = open(disk, 200, 2);
  assert.equal(after.lastIndex(), 200);
  assert.ok(after.firstIndex() > 31, String(after.firstIndex()));
  assert.deepEqual(allEntries(after), expected.slice(after.firstIndex() - 1));
  await closed(after);
});
