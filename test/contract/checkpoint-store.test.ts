import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {openLmdbCheckpointStore} from '../../src/storage/lmdb-checkpoint-store.ts';
import {checkpointPruneContract} from './checkpoint-prune-contract.ts';
import {checkpointShrinkContract} from './checkpoint-shrink-contract.ts';
import {checkpointSnapshotContract} from './checkpoint-snapshot-contract.ts';
import type {CheckpointStoreHome} from './checkpoint-store-contract.ts';
import {checkpointStoreContract} from './checkpoint-store-contract.ts';
import {FakeCheckpointDisk, FakeCheckpointStore} from './fake-checkpoint-store.ts';

const lmdbHome = (): CheckpointStoreHome => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-'));
  return {
    open: () => openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: 0}),
    remove: () => fs.rmSync(directory, {recursive: true, force: true}),
  };
};

const fakeHome = (): CheckpointStoreHome => {
  const disk = new FakeCheckpointDisk();
  return {
    open: () => new FakeCheckpointStore(disk, callback => process.nextTick(callback)),
    remove: () => undefined,
  };
};

checkpointStoreContract('LMDB', lmdbHome);
checkpointStoreContract('the fake', fakeHome);
checkpointSnapshotContract('LMDB', lmdbHome);
checkpointSnapshotContract('the fake', fakeHome);
checkpointPruneContract('LMDB', lmdbHome);
checkpointPruneContract('the fake', fakeHome);
checkpointShrinkContract('LMDB', lmdbHome);
checkpointShrinkContract('the fake', fakeHome);
