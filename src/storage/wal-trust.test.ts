/** What a start looks at, and what it leaves to whoever reads it, when a checkpoint holds the entries. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {appended, closed, someEntries} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import {batchOffsets, copyOf} from '../../test/storage/wal-image.ts';
import {must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {WalCorruptionError} from './storage-error.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const segmentFile = '/wal/0000000000000001.wal';
const options = {
  segmentSizeBytes: 32 * 1024,
  fillStepSizeBytes: 8 * 1024,
  tailSizeBytesMax: 2 * 1024,
  retentionSizeBytesMax: 0,
  syncMarkDelayMs: 60_000,
};

function open(disk: FakeDisk, checkpoint: CheckpointMeta | null = null): OpenedLog {
  return openLog({disk, directory: '/wal', clock: realClock, identity, options, checkpoint});
}

/** A log of so many entries, a checkpoint of all of them, and its first segment with one bit flipped. */
async function checkpointedLog(entryCount: number): Promise<{
  readonly open: (flippedAt: number) => OpenedLog;
  /** Where the third batch, entries 11 to 15, begins. */
  readonly start: number;
  readonly isFollowed: boolean;
}> {
  const disk = new FakeDisk();
  const {store} = open(disk);
  for (let i = 1; i < entryCount; i += 5)
    await appended(store, someEntries(i, 5, {sizeBytes: 300}));
  const checkpoint = {index: store.lastIndex(), term: term(1), membership: emptyMembership};
  await closed(store);
  const next = '/wal/0000000000000002.wal';
  const content = disk.content(segmentFile);
  return {
    open: flippedAt => {
      const bytes = new Uint8Array(content);
      bytes[flippedAt] = must(bytes[flippedAt], 'a byte') ^ 0x10;
      return open(copyOf(disk, new Map([[segmentFile, bytes]])), checkpoint);
    },
    start: must(batchOffsets(content)[2], 'the third batch'),
    isFollowed: disk.existsSync(next) && disk.content(next)[0] !== 0,
  };
}

function readRange(store: OpenedLog['store'], from: number, to: number): readonly Entry[] {
  return store.entries({from: logIndex(from), to: logIndex(to), sizeBytesMax: 1 << 20});
}

test('the newest segment is checked byte by byte at the start, whatever the checkpoint holds', async () => {
  const log = await checkpointedLog(30);
  assert.equal(log.isFollowed, false);
  for (const at of [20, 90, 300]) {
    assert.throws(() => log.open(log.start + at), WalCorruptionError, `at ${at}`);
  }
});

test('a closed segment below the checkpoint is checked when it is read', async () => {
  const log = await checkpointedLog(300);
  assert.equal(log.isFollowed, true);
  for (const at of [20, 90, 300]) {
    const {store} = log.open(log.start + at);
    assert.equal(store.lastIndex(), 300);
    assert.equal(store.term(logIndex(12)), 1);
    assert.deepEqual(readRange(store, 1, 10), someEntries(1, 10, {sizeBytes: 300}));
    assert.deepEqual(readRange(store, 250, 300), someEntries(250, 51, {sizeBytes: 300}));
    assert.throws(() => readRange(store, 1, 300), WalCorruptionError);
    await closed(store);
  }
});

test('a closed segment below the checkpoint that is cut off is corruption at the start', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk);
  for (let i = 1; i < 300; i += 5) await appended(store, someEntries(i, 5, {sizeBytes: 300}));
  const checkpoint = {index: store.lastIndex(), term: term(1), membership: emptyMembership};
  await closed(store);
  const content = disk.content(segmentFile);
  const cut = copyOf(disk, new Map([[segmentFile, content.slice(0, 20_000)]]));
  assert.throws(() => open(cut, checkpoint), WalCorruptionError);
  const {store: whole} = open(copyOf(disk), checkpoint);
  await closed(whole);
});
