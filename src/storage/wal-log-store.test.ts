import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {
  allEntries,
  appended,
  closed,
  logStoreContract,
  someEntries,
  someHardState,
} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import {makeEntry} from '../raft/entry.ts';
import {Prng} from '../base/prng.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {emptyMembership, encodeMembership} from '../raft/membership.ts';
import type {Disk} from './disk.ts';
import {nodeDisk} from './node-disk.ts';
import {StorageError} from './storage-error.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import type {WalOptions} from './wal-options.ts';
import {decodeSegmentHeader, segmentFileName} from './wal-segment.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';

const identity = {clusterId: null, nodeId: 'node1', incarnation: '0123456789abcdef'};
const small: Partial<WalOptions> = {
  segmentSizeBytes: 64 * 1024,
  tailSizeBytesMax: 16 * 1024,
  retentionSizeBytesMax: 0,
  retryDelayMs: 5,
};

function open(
  disk: Disk,
  directory: string,
  fields: {readonly checkpoint?: CheckpointMeta; readonly options?: Partial<WalOptions>} = {},
): OpenedLog {
  const checkpoint = fields.checkpoint ?? null;
  const options = {...small, ...fields.options};
  return openLog({disk, directory, clock: realClock, identity, checkpoint, options});
}

logStoreContract('fake', () => ({store: new FakeLogStore(), dispose: () => Promise.resolve()}));

logStoreContract('wal on the real disk', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-wal-'));
  const {store} = open(nodeDisk, path.join(directory, 'wal'));
  const dispose = (): Promise<void> => fs.promises.rm(directory, {recursive: true});
  return {store, dispose};
});

logStoreContract('wal on the fake disk', () => {
  const {store} = open(new FakeDisk(), '/wal');
  return {store, dispose: () => Promise.resolve()};
});

test('a log over many segments is the same after a restart', async () => {
  const disk = new FakeDisk();
  const first = open(disk, '/wal');
  const entries = someEntries(1, 1000, {sizeBytes: 400});
  for (let i = 0; i < entries.length; i += 10) {
    await appended(first.store, entries.slice(i, i + 10), someHardState(1, i));
  }
  assert.ok(disk.listSync('/wal').length > 5);
  assert.deepEqual(allEntries(first.store, 5_000), entries);
  await closed(first.store);
  const second = open(disk, '/wal');
  assert.deepEqual(second.warnings, []);
  assert.deepEqual(second.hardState, someHardState(1, 990));
  assert.deepEqual(allEntries(second.store, 5_000), entries);
  await closed(second.store);
});

test('superseded entries stay superseded, in memory, on disk and after a restart', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal');
  let expected = someEntries(1, 100, {sizeBytes: 300});
  await appended(store, expected);
  for (let round = 2; round < 12; round++) {
    const first = 20 + ((round * 37) % 60);
    const fresh = someEntries(first, 60, {term: round, sizeBytes: 300});
    // Several writes wait for the disk at once and are merged.
    const writes = [0, 20, 40].map(at =>
      appended(store, fresh.slice(at, at + 20), someHardState(round)),
    );
    expected = [...expected.slice(0, first - 1), ...fresh];
    assert.deepEqual(allEntries(store), expected);
    await Promise.all(writes);
    assert.deepEqual(allEntries(store, 3_000), expected);
  }
  await closed(store);
  const reopened = open(disk, '/wal');
  assert.deepEqual(allEntries(reopened.store), expected);
  await closed(reopened.store);
});

test('what somebody needs is in memory, the rest in the file alone', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal');
  const entries = someEntries(1, 20);
  await appended(store, entries);
  store.noteNeeds({applied: logIndex(15), sent: [logIndex(10)]});
  for (const name of disk.listSync('/wal')) {
    const file = `/wal/${name}`;
    disk.replace(file, new Uint8Array(disk.content(file).length));
  }
  const from = (first: number): unknown =>
    store.entries({from: logIndex(first), to: logIndex(20), sizeBytesMax: 1 << 20});
  assert.deepEqual(from(11), entries.slice(10));
  assert.throws(() => from(10), StorageError);
  await closed(store);
});

test('one entry larger than a segment is written, read and recovered', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal');
  const entries = [
    ...someEntries(1, 3),
    ...someEntries(4, 1, {sizeBytes: 300_000}),
    ...someEntries(5, 3),
  ];
  for (const entry of entries) await appended(store, [entry]);
  assert.deepEqual(allEntries(store), entries);
  await closed(store);
  const reopened = open(disk, '/wal');
  assert.deepEqual(allEntries(reopened.store), entries);
  await closed(reopened.store);
});

test('released segments are used again and never bring old entries back', async () => {
  const disk = new FakeDisk();
  const opened = open(disk, '/wal');
  let {store} = opened;
  let index = 1;
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 30; i++) {
      await appended(store, someEntries(index, 10, {sizeBytes: 500}));
      index += 10;
      store.release({upTo: logIndex(index - 1), neededAfter: null});
    }
    const last = store.lastIndex();
    const expected = allEntries(store);
    await closed(store);
    assert.ok(disk.listSync('/wal').length <= 4, disk.listSync('/wal').join());
    const checkpoint = {index: last, term: term(1), membership: emptyMembership};
    const again = open(disk, '/wal', {checkpoint});
    ({store} = again);
    assert.equal(store.lastIndex(), index - 1);
    assert.deepEqual(allEntries(store), expected);
    assert.deepEqual(again.warnings, []);
  }
  await closed(store);
});

test('memberships are recovered, rolled back and survive the loss of their segment', async () => {
  const disk = new FakeDisk();
  const {store, memberships} = open(disk, '/wal');
  assert.deepEqual(memberships, [{index: 0, membership: emptyMembership}]);
  const make = (id: string): typeof emptyMembership => ({
    voters: [nodeId(id)],
    votersOutgoing: [],
    learners: [],
    members: [{id: nodeId(id), incarnation: 'x', listen: 'l', http: 'h'}],
  });
  const entry = (index: number, id: string, termValue = 1): ReturnType<typeof makeEntry> =>
    makeEntry({
      term: term(termValue),
      index: logIndex(index),
      type: 'membership',
      proposedAtMs: 1,
      data: encodeMembership(make(id)),
    });
  await appended(store, [entry(1, 'a'), ...someEntries(2, 8), entry(10, 'b')]);
  await appended(store, [entry(10, 'c', 2)], someHardState(2));
  for (let i = 11; i < 400; i += 10) {
    await appended(store, someEntries(i, 10, {term: 2, sizeBytes: 500}), someHardState(2));
  }
  store.release({upTo: logIndex(300), neededAfter: null});
  assert.ok(store.firstIndex() > 11);
  await closed(store);
  const checkpoint = {index: logIndex(300), term: term(2), membership: make('c')};
  const again = open(disk, '/wal', {checkpoint});
  assert.deepEqual(again.memberships, [{index: 10, membership: make('c')}]);
  await closed(again.store);
});

test('segments that a member needs stay, and old ones go however small the log is', async () => {
  const clock = {...realClock, monotonicMs: () => nowMs};
  let nowMs = 0;
  const options = {...small, retentionAgeMs: 1_000, heldSizeBytesMax: 10_000_000};
  const log = {disk: new FakeDisk(), directory: '/wal', clock, identity, checkpoint: null};
  const {store} = openLog({...log, options});
  for (let i = 1; i < 400; i += 10) {
    await appended(store, someEntries(i, 10, {sizeBytes: 500}));
  }
  store.release({upTo: logIndex(390), neededAfter: logIndex(0)});
  assert.equal(store.firstIndex(), 1);
  store.release({upTo: logIndex(390), neededAfter: logIndex(200)});
  const first = store.firstIndex();
  assert.ok(first > 1 && first <= 201, `it begins at ${first}`);
  await closed(store);

  const roomy = {...options, retentionSizeBytesMax: 10_000_000};
  const again = openLog({...log, options: roomy}).store;
  nowMs = 1_000;
  again.release({upTo: logIndex(390), neededAfter: null});
  assert.equal(again.firstIndex(), first);
  nowMs = 1_001;
  again.release({upTo: logIndex(390), neededAfter: null});
  assert.ok(again.firstIndex() > 300, `it begins at ${again.firstIndex()}`);
  await closed(again);
});

test('the syncs that writes wait for are timed, those of zeros ahead of the log are not', async () => {
  const disk = new FakeDisk();
  const durationsMs: number[] = [];
  const {store} = openLog({
    ...{disk, directory: '/wal', clock: realClock, identity, checkpoint: null},
    options: {...small, syncMarkDelayMs: 60_000},
    onSync: durationMs => void durationsMs.push(durationMs),
  });
  const syncCount = disk.syncCount;
  for (let i = 1; i <= 5; i++) await appended(store, someEntries(i, 1));
  assert.equal(durationsMs.length, 5);
  assert.ok(durationsMs.every(durationMs => durationMs >= 0));
  assert.ok(disk.syncCount > syncCount + 5, `${disk.syncCount - syncCount} syncs`);
  await closed(store);
});

test('a log continued after a checkpoint of a later term is in that term, without a vote', async () => {
  const disk = new FakeDisk();
  const first = open(disk, '/wal');
  await appended(first.store, someEntries(1, 3));
  await closed(first.store);
  const checkpoint = {index: logIndex(1000), term: term(7), membership: emptyMembership};
  for (let start = 0; start < 2; start++) {
    const {store, hardState} = open(disk, '/wal', {checkpoint});
    assert.deepEqual(hardState, {term: 7, vote: null, commit: 1000});
    await closed(store);
  }
});

test('a log that does not hold the checkpoint is replaced, the vote stays', async () => {
  for (const checkpoint of [
    {index: logIndex(50), term: term(7), membership: emptyMembership},
    {index: logIndex(500), term: term(1), membership: emptyMembership},
  ]) {
    const disk = new FakeDisk();
    const {store} = open(disk, '/wal');
    await appended(store, someEntries(1, 100), someHardState(9, 20));
    await closed(store);
    const again = open(disk, '/wal', {checkpoint});
    assert.equal(again.store.firstIndex(), checkpoint.index + 1);
    assert.equal(again.store.lastIndex(), checkpoint.index);
    assert.deepEqual(again.hardState, someHardState(9, checkpoint.index));
    assert.equal(again.warnings.length, 1);
    await closed(again.store);
    const third = open(disk, '/wal', {checkpoint});
    assert.deepEqual(third.hardState, someHardState(9, checkpoint.index));
    assert.deepEqual(third.warnings, []);
    await closed(third.store);
  }
});

test('such a log begins behind the checkpoint as soon as it is open, whatever happens then', () => {
  const disk = new FakeDisk();
  const checkpoint = {index: logIndex(500), term: term(2), membership: emptyMembership};
  open(disk, '/wal');
  disk.crash(new Prng(1));
  // It ends before it has written anything, and the checkpoint is lost meanwhile.
  open(disk, '/wal', {checkpoint});
  disk.crash(new Prng(1));
  const again = open(disk, '/wal');
  assert.equal(again.needsSnapshot, true);
  assert.equal(again.store.lastIndex(), 500);
});

test('a log behind a lost checkpoint is kept and asks for a snapshot', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal');
  const meta = {index: logIndex(100), term: term(3), membership: emptyMembership};
  store.reset(meta, someHardState(3, 100));
  await appended(store, someEntries(101, 5, {term: 3}), someHardState(3, 103));
  await closed(store);
  const again = open(disk, '/wal');
  assert.equal(again.needsSnapshot, true);
  assert.equal(again.store.firstIndex(), 101);
  assert.equal(again.store.lastIndex(), 105);
  await closed(again.store);
});

test('a member that has taken part does not start without its log', () => {
  const disk = new FakeDisk();
  const checkpoint = {index: logIndex(5), term: term(1), membership: emptyMembership};
  assert.throws(() => open(disk, '/wal', {checkpoint}), /holds no log/);
  const input = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null};
  assert.throws(() => openLog({...input, mustExist: true}), /holds no log/);
});

test('files without a log are removed only by a member that may begin a new one', async () => {
  const disk = new FakeDisk();
  const file = `/wal/${segmentFileName(1)}`;
  disk.makeDirectorySync('/wal');
  disk.openSync(file, 'create').closeSync();
  disk.replace(file, Buffer.from('what is left of the header'));
  const input = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null};
  const checkpoint = {index: logIndex(5), term: term(1), membership: emptyMembership};
  assert.throws(() => openLog({...input, mustExist: true}), /holds no log/);
  assert.throws(() => openLog({...input, checkpoint}), /holds no log/);
  assert.equal(Buffer.from(disk.content(file)).toString(), 'what is left of the header');
  const {store} = openLog({...input, options: small});
  assert.deepEqual(disk.listSync('/wal'), [segmentFileName(2)]);
  await closed(store);
});

test('a segment states the membership of what is before it, not of what waits', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal', {options: {segmentSizeBytes: 32 * 1024}});
  const make = (id: string): typeof emptyMembership => ({
    voters: [nodeId(id)],
    votersOutgoing: [],
    learners: [],
    members: [{id: nodeId(id), incarnation: 'x', listen: 'l', http: 'h'}],
  });
  const entry = (id: string, termValue: number): ReturnType<typeof makeEntry> =>
    makeEntry({
      term: term(termValue),
      index: logIndex(10),
      type: 'membership',
      proposedAtMs: 1,
      data: encodeMembership(make(id)),
    });
  await appended(store, [...someEntries(1, 9, {sizeBytes: 2500}), entry('a', 1)]);
  // Too large for the rest of the segment, and it replaces the membership there.
  const other = [entry('b', 2), ...someEntries(11, 4, {term: 2, sizeBytes: 2500})];
  await appended(store, other, someHardState(2));
  const bytes = Buffer.from(disk.content(`/wal/${segmentFileName(2)}`));
  const {incarnation} = identity;
  const reading = decodeSegmentHeader(bytes, {sequence: 2, incarnation});
  assert.ok(reading.kind === 'valid');
  assert.deepEqual(reading.header.previous, {index: 10, term: 1});
  assert.deepEqual(reading.header.membership, {index: 10, membership: make('a')});
  // The one behind it follows the replaced ones.
  await appended(store, someEntries(15, 10, {term: 2, sizeBytes: 2500}), someHardState(2));
  const next = Buffer.from(disk.content(`/wal/${segmentFileName(3)}`));
  const second = decodeSegmentHeader(next, {sequence: 3, incarnation});
  assert.ok(second.kind === 'valid');
  assert.deepEqual(second.header.membership, {index: 10, membership: make('b')});
  await closed(store);
});

test('a log of another member is refused', async () => {
  const disk = new FakeDisk();
  const {store} = open(disk, '/wal');
  await appended(store, someEntries(1, 3));
  await closed(store);
  for (const other of [
    {...identity, incarnation: 'fedcba9876543210'},
    {...identity, nodeId: 'node2'},
  ]) {
    const input = {disk, directory: '/wal', clock: realClock, checkpoint: null, options: small};
    assert.throws(() => openLog({...input, identity: other}), /another member's log/);
  }
  const again = open(disk, '/wal');
  assert.equal(again.store.lastIndex(), 3);
  await closed(again.store);
});
