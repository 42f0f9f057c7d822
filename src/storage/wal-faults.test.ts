/** Crashes, damage and failing disks: nothing acknowledged is lost, nothing damaged is served. */
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
import {batchOffsets, copyOf} from '../../test/storage/wal-image.ts';
import {must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import {Prng} from '../base/prng.ts';
import type {Entry} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {StorageError, WalCorruptionError} from './storage-error.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import type {WalOptions} from './wal-options.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const segmentFile = '/wal/0000000000000001.wal';
const small: Partial<WalOptions> = {
  segmentSizeBytes: 32 * 1024,
  fillStepSizeBytes: 8 * 1024,
  tailSizeBytesMax: 2 * 1024,
  retentionSizeBytesMax: 0,
  syncMarkDelayMs: 60_000,
  retryDelayMs: 2,
};

function open(
  disk: FakeDisk,
  fields: {readonly checkpoint?: CheckpointMeta; readonly clock?: Clock} = {},
): OpenedLog {
  const {checkpoint = null, clock = realClock} = fields;
  return openLog({disk, directory: '/wal', clock, identity, checkpoint, options: small});
}

/** A log of batches of 3 entries whose last batch is not covered by a sync mark. */
async function crashedLog(batchCount: number): Promise<{disk: FakeDisk; entries: Entry[]}> {
  const disk = new FakeDisk();
  const {store} = open(disk);
  const entries = someEntries(1, batchCount * 3);
  for (let i = 0; i < entries.length; i += 3) await appended(store, entries.slice(i, i + 3));
  const image = copyOf(disk);
  await closed(store);
  return {disk: image, entries};
}

test('a log cut at any byte of its last batch loses that batch and no other', async () => {
  const {disk, entries} = await crashedLog(4);
  const content = disk.content(segmentFile);
  const offsets = batchOffsets(content);
  const start = must(offsets.at(-2), 'the last batch');
  const end = must(offsets.at(-1), 'its end');
  for (let cut = start; cut < end; cut++) {
    const copy = copyOf(disk, new Map([[segmentFile, content.slice(0, cut)]]));
    const {store, warnings} = open(copy);
    // The last bytes may be padding, which carries nothing.
    assert.deepEqual(allEntries(store), entries.slice(0, 9), `cut at ${cut}`);
    assert.ok(warnings.length <= 1);
    const more = someEntries(10, 2, {term: 2});
    await appended(store, more, someHardState(2));
    await closed(store);
    const again = open(copy);
    assert.deepEqual(allEntries(again.store), [...entries.slice(0, 9), ...more]);
    assert.deepEqual(again.warnings, []);
    await closed(again.store);
  }
});

test('zeros from any byte of the last batch on are a torn tail', async () => {
  const {disk, entries} = await crashedLog(3);
  const content = disk.content(segmentFile);
  const offsets = batchOffsets(content);
  const start = must(offsets.at(-2), 'the last batch');
  const end = must(offsets.at(-1), 'its end');
  for (let cut = start; cut < end - 8; cut += 3) {
    const bytes = new Uint8Array(content);
    bytes.fill(0, cut);
    const copy = copyOf(disk, new Map([[segmentFile, bytes]]));
    const {store, warnings} = open(copy);
    assert.deepEqual(allEntries(store), entries.slice(0, 6), `zeros from ${cut}`);
    const isVisible = cut >= start + 8;
    assert.equal(warnings.length, isVisible ? 1 : 0);
    assert.equal(copy.existsSync(`${segmentFile}.broken`), isVisible);
    await closed(store);
  }
});

test('a flipped bit below the synced position refuses to start, above it is cut', async () => {
  const {disk, entries} = await crashedLog(6);
  const content = disk.content(segmentFile);
  const offsets = batchOffsets(content);
  const lastStart = must(offsets.at(-2), 'the last batch');
  const end = must(offsets.at(-1), 'its end');
  const prng = new Prng(7);
  for (let i = 0; i < 400; i++) {
    const at = prng.integer({min: 0, max: end - 1});
    const bytes = new Uint8Array(content);
    bytes[at] = must(bytes[at], 'a byte') ^ (1 << prng.integer({min: 0, max: 7}));
    const copy = copyOf(disk, new Map([[segmentFile, bytes]]));
    if (at >= lastStart) {
      const {store} = open(copy);
      const found = allEntries(store);
      assert.ok(found.length === 15 || found.length === 18, `flip at ${at}: ${found.length}`);
      assert.deepEqual(found, entries.slice(0, found.length));
      await closed(store);
      continue;
    }
    let opened: OpenedLog | null = null;
    try {
      opened = open(copy);
    } catch (error) {
      assert.ok(error instanceof StorageError, `flip at ${at}: ${String(error)}`);
      if (error instanceof WalCorruptionError) assert.ok(must(error.offset, 'offset') <= at);
    }
    // Padding carries nothing; a flip there may pass, with the whole log intact.
    if (opened !== null) {
      assert.deepEqual(allEntries(opened.store), entries, `flip at ${at}`);
      await closed(opened.store);
    }
  }
});

test('after a sync mark the last batch cannot be lost silently', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 3));
  await closed(store);
  const content = disk.content(segmentFile);
  const start = must(batchOffsets(content)[0], 'a batch');
  const bytes = new Uint8Array(content);
  bytes[start + 100] = must(bytes[start + 100], 'a byte') ^ 1;
  const copy = copyOf(disk, new Map([[segmentFile, bytes]]));
  assert.throws(
    () => open(copy),
    (error: unknown) => {
      assert.ok(error instanceof WalCorruptionError);
      assert.equal(error.path, segmentFile);
      assert.equal(error.offset, start);
      assert.match(error.message, /-rejoin/);
      return true;
    },
  );
});

test('damage in an older segment refuses to start, whatever it is', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  for (let i = 1; i < 300; i += 5) await appended(store, someEntries(i, 5, {sizeBytes: 300}));
  const image = copyOf(disk);
  await closed(store);
  const names = image.listSync('/wal').map(name => `/wal/${name}`);
  assert.ok(names.length >= 3);
  const second = must(names[1], 'a second segment');
  const content = image.content(second);
  const offsets = batchOffsets(content);
  const lastStart = must(offsets.at(-2), 'the last batch');
  for (const at of [0, 13, 30, must(offsets[0], 'a batch') + 20, lastStart + 9, lastStart + 300]) {
    const bytes = new Uint8Array(content);
    bytes[at] = must(bytes[at], 'a byte') ^ 0x10;
    assert.throws(() => open(copyOf(image, new Map([[second, bytes]]))), WalCorruptionError);
  }
  const cut = content.slice(0, lastStart + 10);
  assert.throws(() => open(copyOf(image, new Map([[second, cut]]))), WalCorruptionError);
  const without = copyOf(image);
  without.removeSync(second);
  const checkpoint = {index: logIndex(5), term: term(1), membership: emptyMembership};
  assert.throws(() => open(without, {checkpoint}), WalCorruptionError);
  // A lost checkpoint is made up for by a snapshot, the gap with it; until then nothing goes.
  const left = without.listSync('/wal');
  const lost = open(without);
  assert.equal(lost.needsSnapshot, true);
  assert.ok(lost.store.firstIndex() > 5);
  assert.deepEqual(
    left.filter(name => !without.existsSync(`/wal/${name}`)),
    [],
  );
  await closed(lost.store);
});

test('a damaged header before a batch above a megabyte is corruption, no spare file', async () => {
  const disk = new FakeDisk();
  const options = {...small, segmentSizeBytes: 4 * 1024 * 1024, fillStepSizeBytes: 1024 * 1024};
  const input = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null, options};
  const {store} = openLog(input);
  await appended(store, someEntries(1, 1, {sizeBytes: 1_500_000}));
  await appended(store, someEntries(2, 1));
  await closed(store);
  const bytes = disk.content(segmentFile);
  bytes[33] = must(bytes[33], 'a byte') ^ 1;
  disk.replace(segmentFile, bytes);
  assert.throws(() => openLog(input), WalCorruptionError);
  assert.ok(disk.existsSync(segmentFile));
});

test('a commit index is not on the disk before the entries that it stands for', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 20));
  // One write is on its way; behind it wait one of the same leader and one of the next leader,
  // which replaces entries 11 to 20 and says that they are committed.
  const writes = [appended(store, someEntries(21, 2))];
  const images: FakeDisk[] = [];
  const entries = someEntries(23, 2);
  store.append({hardState: someHardState(1), entries}, () => images.push(copyOf(disk)));
  writes.push(appended(store, someEntries(11, 10, {term: 2}), someHardState(2, 20)));
  store.noteCommit(logIndex(20));
  await Promise.all(writes);
  const {store: crashed, hardState} = open(must(images[0], 'the disk between the two'));
  assert.equal(crashed.lastIndex(), 24);
  assert.equal(crashed.term(logIndex(11)), 1);
  assert.ok(hardState.commit < 11, `entries of term 1 up to ${hardState.commit} would be applied`);
  await closed(crashed);
  await closed(store);
  const after = open(disk);
  assert.equal(after.hardState.commit, 20);
  assert.equal(after.store.term(logIndex(20)), 2);
  await closed(after.store);
});

test('what a client writes into a value is never taken for a batch', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 2));
  const content = disk.content(segmentFile);
  const [start, end] = batchOffsets(content);
  // Whole batches of this very segment, at every alignment, as data behind it.
  const data = new Uint8Array(8 * 1024);
  const batch = content.subarray(start, end);
  for (let at = 0; at + batch.length + 1 < data.length; at += batch.length + 1) {
    data.set(batch, at);
  }
  const fields = {term: term(1), index: logIndex(3), type: 'command', proposedAtMs: 1} as const;
  await appended(store, [makeEntry({...fields, data})]);
  const image = copyOf(disk);
  await closed(store);
  const bytes = image.content(segmentFile);
  const last = must(batchOffsets(bytes).at(-2), 'the last batch');
  bytes[last + 20] = 0xff;
  const {store: recovered} = open(copyOf(image, new Map([[segmentFile, bytes]])));
  assert.deepEqual(allEntries(recovered), someEntries(1, 2));
  await closed(recovered);
});

test('a crash at any point of a reset leaves the old log or the new, and a vote', async () => {
  const meta = {index: logIndex(100), term: term(3), membership: emptyMembership};
  for (let changes = 0, isDone = false; !isDone; changes++) {
    for (let seed = 1; seed <= 8; seed++) {
      const disk = new FakeDisk();
      const {store} = open(disk);
      for (let i = 1; i < 60; i += 4) {
        await appended(store, someEntries(i, 4, {sizeBytes: 700}), someHardState(2));
      }
      disk.changesLeft = changes;
      store.reset(meta, someHardState(4, 100));
      let hasReset = true;
      try {
        await appended(store, [], someHardState(4, 100));
      } catch (error) {
        assert.match(String(error), /the crash comes here/);
        hasReset = false;
      }
      await closed(store);
      isDone = disk.changesLeft > 0;
      disk.changesLeft = Number.POSITIVE_INFINITY;
      disk.crash(new Prng(seed));
      const {store: after, hardState} = open(disk, {checkpoint: meta});
      assert.equal(after.lastIndex(), 100);
      assert.equal(after.firstIndex(), 101);
      // Without the new log's hard state: the snapshot's term, in which nobody was voted for.
      assert.ok(hardState.term === 4 || (!hasReset && hardState.term === 3));
      assert.equal(hardState.vote, hardState.term === 4 ? 'node1' : null);
      await closed(after);
    }
    assert.ok(changes < 100, 'a reset ends');
  }
});

test('a recovery that fails behind a reset that was interrupted has removed nothing', async () => {
  const meta = {index: logIndex(100), term: term(3), membership: emptyMembership};
  let failureCount = 0;
  for (let changes = 0, isDone = false; !isDone; changes++) {
    for (let seed = 1; seed <= 8; seed++) {
      const disk = new FakeDisk();
      const {store} = open(disk);
      for (let i = 1; i < 60; i += 4) {
        await appended(store, someEntries(i, 4, {sizeBytes: 700}), someHardState(2));
      }
      disk.changesLeft = changes;
      store.reset(meta, someHardState(4, 100));
      await appended(store, [], someHardState(4, 100)).catch(() => undefined);
      await closed(store);
      isDone = disk.changesLeft > 0;
      disk.changesLeft = Number.POSITIVE_INFINITY;
      disk.kill();
      disk.failNextSync = 'EIO';
      try {
        await closed(open(disk, {checkpoint: meta}).store);
      } catch (error) {
        assert.match(String(error), /EIO/);
        failureCount++;
      }
      disk.failNextSync = null;
      disk.crash(new Prng(seed));
      const {store: after} = open(disk, {checkpoint: meta});
      assert.equal(after.lastIndex(), 100, `crash after ${changes} changes, seed ${seed}`);
      await closed(after);
    }
  }
  assert.ok(failureCount > 0);
});

test('whatever a crash does, every acknowledged write is there afterwards', () => {
  for (let seed = 1; seed <= 100; seed++) crashRun(seed);
});

function crashRun(seed: number): void {
  const prng = new Prng(seed);
  // Every operation waits in this list, so that the crash can come between any two.
  let operations: (() => void)[] = [];
  let turns: (() => void)[] = [];
  let timers: (() => void)[] = [];
  const disk = new FakeDisk(operation => operations.push(operation));
  const clock: Clock = {
    wallMs: () => 0,
    monotonicMs: () => 0,
    setTimer: (_, callback) => {
      let isCancelled = false;
      timers.push(() => (isCancelled ? undefined : callback()));
      return {cancel: () => (isCancelled = true)};
    },
    afterPoll: callback => turns.push(callback),
  };
  let expected: Entry[] = [];
  let acknowledged = 0;
  let termValue = 1;
  let released = 0;
  for (let life = 0; life < 4; life++) {
    const releasedTerm = expected[released - 1]?.term ?? term(0);
    const membership = emptyMembership;
    const checkpoint = {index: logIndex(released), term: releasedTerm, membership};
    const opened = open(disk, {clock, checkpoint});
    const {store} = opened;
    const found = allEntries(store);
    assert.ok(store.lastIndex() >= acknowledged, `seed ${seed}: ${store.lastIndex()}`);
    const from = store.firstIndex() - 1;
    assert.deepEqual(found.slice(0, acknowledged - from), expected.slice(from, acknowledged));
    expected = [...expected.slice(0, from), ...found];
    acknowledged = expected.length;
    assert.ok(opened.hardState.term <= termValue);
    termValue++;
    for (let step = 0; step < 150; step++) {
      if (prng.integer({min: 0, max: 2}) === 0) {
        const supersedes = prng.integer({min: 0, max: 9}) === 0;
        // Another leader may replace what is durable here, as long as it is not committed.
        const isDeep = prng.integer({min: 0, max: 3}) === 0;
        const floor = isDeep ? released : Math.max(acknowledged, released);
        const keep = supersedes ? prng.integer({min: floor, max: expected.length}) : 0;
        const first = supersedes ? keep + 1 : expected.length + 1;
        if (supersedes) {
          termValue++;
          acknowledged = Math.min(acknowledged, keep);
        }
        const count = prng.integer({min: 1, max: 6});
        const sizeBytes = prng.integer({min: 0, max: 900});
        const entries = someEntries(first, count, {term: termValue, sizeBytes});
        expected = [...expected.slice(0, first - 1), ...entries];
        store.append({hardState: someHardState(termValue), entries}, error => {
          assert.equal(error, null);
          const last = must(entries.at(-1), 'an entry');
          // Acknowledged, unless a later write supersedes it already.
          if (expected[last.index - 1] === last) acknowledged = Math.max(acknowledged, last.index);
        });
      } else if (prng.integer({min: 0, max: 20}) === 0) {
        released = Math.max(released, acknowledged);
        store.release({upTo: logIndex(released), neededAfter: null});
      }
      for (const turn of turns.splice(0)) turn();
      if (prng.integer({min: 0, max: 4}) === 0) for (const timer of timers.splice(0)) timer();
      // Some take longer than others, whatever came first.
      for (const operation of operations.splice(0)) {
        if (prng.integer({min: 0, max: 3}) === 0) operations.push(operation);
        else operation();
      }
    }
    operations = [];
    turns = [];
    timers = [];
    disk.crash(prng);
  }
}

test('a full disk says so, keeps what waits, and goes on when there is space', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 2));
  disk.spaceSizeBytes = 10_000;
  const entries = someEntries(3, 200, {sizeBytes: 400});
  let done = 0;
  const all = new Promise<void>(resolve => {
    for (const entry of entries) {
      store.append({hardState: someHardState(1), entries: [entry]}, error => {
        assert.equal(error, null);
        done++;
        if (done === entries.length) resolve();
      });
    }
  });
  while (!store.isFull()) await new Promise(setImmediate);
  assert.ok(done < entries.length);
  disk.spaceSizeBytes = Number.POSITIVE_INFINITY;
  await all;
  while (store.isFull()) await new Promise(setImmediate);
  assert.equal(allEntries(store).length, 202);
  await closed(store);
  const again = open(disk);
  assert.equal(again.store.lastIndex(), 202);
  await closed(again.store);
});

test('a log that is full can be closed; what waited gets the error', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  await appended(store, someEntries(1, 2));
  disk.spaceSizeBytes = 0;
  const errors: (Error | null)[] = [];
  for (const entry of someEntries(3, 200, {sizeBytes: 400})) {
    store.append({hardState: someHardState(1), entries: [entry]}, error => errors.push(error));
  }
  await closed(store);
  assert.equal(errors.length, 200);
  assert.match(String(errors.at(-1)), /no space/);
});

for (const fault of ['failNextSync', 'failNextWrite'] as const) {
  test(`after EIO (${fault}) nothing is written any more and everybody hears of it`, async () => {
    const disk = new FakeDisk();
    const {store} = open(disk);
    await appended(store, someEntries(1, 20, {sizeBytes: 1000}));
    // Let the filling end, so that the fault meets the log itself.
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    disk[fault] = 'EIO';
    const errors: (Error | null)[] = [];
    for (const entry of someEntries(21, 3)) {
      store.append({hardState: someHardState(1), entries: [entry]}, error => errors.push(error));
    }
    await assert.rejects(appended(store, someEntries(24, 1)), {code: 'EIO'});
    assert.equal(errors.length, 3);
    assert.ok(errors.every(error => error !== null));
    const before = disk.syncCount;
    await assert.rejects(appended(store, someEntries(25, 1)), {code: 'EIO'});
    assert.equal(disk.syncCount, before);
    await closed(store);
    const again = open(disk);
    assert.ok(again.store.lastIndex() >= 20);
    await closed(again.store);
  });
}

test('what the sync of zeros hears of a lost batch is heard by the sync of the batch too', async () => {
  const operations: (() => void)[] = [];
  const reports: (() => void)[] = [];
  const disk = new FakeDisk(
    operation => operations.push(operation),
    report => reports.push(report),
  );
  const {store} = open(disk);
  const outcomes: (Error | null)[] = [];
  store.append({hardState: someHardState(1), entries: someEntries(1, 1)}, error => {
    outcomes.push(error);
  });
  // Until there is room for the batch: one step of zeros.
  while (operations.length < 2) {
    for (const operation of operations.splice(0)) operation();
    for (const report of reports.splice(0)) report();
    await new Promise(setImmediate);
  }
  // The batch and the next step of zeros are written; what each of them does next is its sync.
  for (const operation of operations.splice(0)) operation();
  for (const report of reports.splice(0)) report();
  const {syncCount} = disk;
  disk.failNextSync = 'EIO';
  // That of the zeros, the second one, meets the error; the news of it comes last.
  assert.equal(operations.length, 2);
  for (const operation of operations.splice(0).reverse()) operation();
  assert.equal(disk.syncCount, syncCount + 2);
  for (const report of reports.splice(0).reverse()) report();
  assert.equal(outcomes.length, 1);
  assert.match(String(outcomes[0]), /EIO/);
});
