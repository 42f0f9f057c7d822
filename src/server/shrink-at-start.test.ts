import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {SortedRows} from '../../test/contract/sorted-rows.ts';
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import {silentLogger} from '../base/logger.ts';
import {noIndex, noTerm} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {shrinkAtStart} from './shrink-at-start.ts';

async function start(disk: FakeCheckpointDisk): Promise<string[]> {
  const warnings: string[] = [];
  const logger: Logger = {...silentLogger, warn: (_fields, message) => warnings.push(message)};
  const store = new FakeCheckpointStore(disk, action => process.nextTick(action));
  await shrinkAtStart(store, logger);
  return warnings;
}

test('a start gives free space back, when most of a large file is free', async () => {
  const disk = new FakeCheckpointDisk();
  disk.sizeBytes = limits.shrinkSizeBytesMin - 1;
  await start(disk);
  assert.equal(disk.shrinkCount, 0);
  disk.sizeBytes = limits.shrinkSizeBytesMin;
  assert.deepEqual(await start(disk), []);
  assert.equal(disk.shrinkCount, 1);
});

test('a start does not wait for a large copy', async () => {
  const disk = new FakeCheckpointDisk();
  const value = Buffer.alloc(limits.shrinkAtStartSizeBytesMax / 4);
  const rows = SortedRows.none.with(['a', 'b', 'c', 'd'].map(key => [key, value]));
  const meta = {index: noIndex, term: noTerm, membership: emptyMembership};
  disk.durable = {meta, rows};
  disk.sizeBytes = 4 * limits.shrinkAtStartSizeBytesMax;
  await start(disk);
  assert.equal(disk.shrinkCount, 0);
});

test('a file that cannot be shrunk keeps no node from starting', async () => {
  const disk = new FakeCheckpointDisk();
  disk.sizeBytes = limits.shrinkSizeBytesMin;
  disk.nextFailure = 'ENOSPC';
  assert.equal((await start(disk)).length, 1);
  assert.equal(disk.shrinkCount, 0);
});
