/** Files of the log that no crash leaves behind: cut, or written wrong with right checksums. */
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
import {must} from '../base/assert.ts';
import {checksum} from '../base/checksum.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import {WalCorruptionError} from './storage-error.ts';
import type {OpenedLog} from './wal-log-store.ts';
import {openLog} from './wal-log-store.ts';
import {segmentFileName, segmentId} from './wal-segment.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const options = {
  segmentSizeBytes: 32 * 1024,
  fillStepSizeBytes: 8 * 1024,
  tailSizeBytesMax: 2 * 1024,
  syncMarkDelayMs: 60_000,
};
const firstFile = `/wal/${segmentFileName(1)}`;
const firstId = segmentId(1, identity.incarnation);
const batchesAt = 4096;
/** The largest integer that a log may hold is one less. */
const tooLarge = 2n ** 53n;

function open(disk: FakeDisk): OpenedLog {
  const place = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null};
  return openLog({...place, options});
}

/** A log of some segments, or of one. */
async function writtenLog(entryCount: number): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const {store} = open(disk);
  for (let i = 1; i < entryCount; i += 4) {
    await appended(store, someEntries(i, 4, {sizeBytes: 2000}), someHardState(1));
  }
  await closed(store);
  return disk;
}

function changeBatch(disk: FakeDisk, change: (batch: Buffer) => void): void {
  const bytes = Buffer.from(disk.content(firstFile));
  const batch = bytes.subarray(batchesAt);
  change(batch);
  const dataAt = 64 + 8 + batch.readUInt32LE(16) * 28;
  batch.writeUInt32LE(checksum(batch.subarray(12, dataAt), firstId), 8);
  disk.replace(firstFile, bytes);
}

function changeHeader(disk: FakeDisk, change: (header: Buffer) => void): void {
  const bytes = Buffer.from(disk.content(firstFile));
  const header = bytes.subarray(0, bytes.readUInt32LE(12));
  change(header);
  header.writeUInt32LE(checksum(header.subarray(20), firstId), 16);
  disk.replace(firstFile, bytes);
}

test('a closed segment that was cut anywhere is corruption, and says where', async () => {
  const disk = await writtenLog(60);
  const content = disk.content(firstFile);
  const next = Buffer.from(disk.content(`/wal/${segmentFileName(2)}`));
  // Behind its batches there are zeros, which carry nothing.
  const end = Number(next.readBigUInt64LE(49));
  for (let size = batchesAt + 8; size < end; size += 1000) {
    disk.replace(firstFile, content.slice(0, size));
    assert.throws(
      () => open(disk),
      (error: unknown) => {
        assert.ok(error instanceof WalCorruptionError, `cut at ${size}: ${String(error)}`);
        assert.equal(error.path, firstFile);
        assert.ok(must(error.offset, 'an offset') <= size);
        return true;
      },
    );
  }
});

test('a number that no log reaches makes a batch invalid, whatever its checksum says', async () => {
  // Term, commit index, synced sequence and first index; term and time of an entry.
  for (const at of [24, 32, 40, 56, 72, 80]) {
    const disk = await writtenLog(4);
    changeBatch(disk, batch => batch.writeBigUInt64LE(tooLarge, at));
    assert.throws(() => open(disk), WalCorruptionError, `at ${at}`);
  }
  const disk = await writtenLog(4);
  const last = logIndex(Number.MAX_SAFE_INTEGER);
  const [{data, proposedAtMs} = assert.fail('no entry')] = someEntries(1, 1, {sizeBytes: 2000});
  const entry = makeEntry({term: term(1), index: last, type: 'command', proposedAtMs, data});
  changeBatch(disk, batch => {
    batch.writeBigUInt64LE(tooLarge - 1n, 56);
    batch.writeUInt32LE(entry.checksum, 72 + 20);
  });
  assert.throws(() => open(disk), WalCorruptionError, 'an index beyond the last one');
});

test('a segment header that contradicts itself is none, whatever its checksum says', async () => {
  // A term of the entry before the first one; a membership of an entry that is not there.
  for (const at of [41, 74]) {
    const disk = await writtenLog(4);
    changeHeader(disk, header => header.writeBigUInt64LE(1n, at));
    assert.throws(() => open(disk), WalCorruptionError, `at ${at}`);
  }
});

test('a bit flipped in a segment header is corruption', async () => {
  const disk = await writtenLog(4);
  const content = disk.content(firstFile);
  for (let bit = 0; bit < 8 * 80; bit++) {
    const bytes = Buffer.from(content);
    const at = bit >> 3;
    bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (bit & 7)), at);
    disk.replace(firstFile, bytes);
    assert.throws(() => open(disk), WalCorruptionError, `bit ${bit}`);
  }
});

test('a segment of another version, whose checksum is not ours, is refused and says so', async () => {
  const disk = await writtenLog(4);
  const bytes = Buffer.from(disk.content(firstFile));
  bytes.writeUInt32LE(2, 8);
  bytes.writeUInt32LE(bytes.readUInt32LE(16) ^ 1, 16);
  disk.replace(firstFile, bytes);
  assert.throws(() => open(disk), /has log format version 2/);
});

test('an entry that its checksum does not fit makes the batch invalid, in a run or not', async () => {
  // Of the first entry: time, checksum, type; of the second one its term; a byte of the data.
  for (const at of [72 + 8, 72 + 20, 72 + 24, 100, 64 + 8 + 4 * 28 + 2000]) {
    const disk = await writtenLog(4);
    changeBatch(disk, batch => batch.writeUInt8(batch.readUInt8(at) ^ 1, at));
    assert.throws(() => open(disk), WalCorruptionError, `at ${at}`);
  }
});
