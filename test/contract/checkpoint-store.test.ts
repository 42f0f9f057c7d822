import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {openLmdbCheckpointStore} from '../../src/storage/lmdb-checkpoint-store.ts';
import {checkpointStoreContract} from './checkpoint-store-contract.ts';
import {FakeCheckpointDisk, FakeCheckpointStore} from './fake-checkpoint-store.ts';

checkpointStoreContract('LMDB', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-'));
  return {
    open: () => openLmdbCheckpointStore({directory}),
    remove: () => fs.rmSync(directory, {recursive: true, force: true}),
  };
});

checkpointStoreContract('the fake', () => {
  const disk = new FakeCheckpointDisk();
  return {
    open: () => new FakeCheckpointStore(disk, callback => process.nextTick(callback)),
    remove: () => undefined,
  };
});
