import assert from 'node:assert/strict';
import {readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {openLmdbCheckpointStore} from '../../src/storage/lmdb-checkpoint-store.ts';
import {fillAndEmpty, shrink} from '../contract/checkpoint-shrink-contract.ts';
import {close, metaAt, read, write} from '../contract/checkpoint-store-contract.ts';
import {temporaryDirectory} from './cluster.ts';
import {smallDisk} from './small-disk.ts';

test(
  'a shrink that meets a full disk leaves the checkpoint as it was, and works when there is space',
  {timeout: 120_000},
  async t => {
    const root = temporaryDirectory(t);
    const disk = await smallDisk(t, join(root, 'disk'), 24);
    if (disk === null) {
      t.skip('this user may not mount a tmpfs, not even in a namespace (unshare --mount)');
      return;
    }
    const directory = join(disk.outside, 'data');
    const filler = join(disk.outside, 'filler');
    // The reserve would refuse before LMDB meets the end of the disk.
    const store = openLmdbCheckpointStore({directory, shrinkReserveSizeBytes: -(2 ** 40)});
    await fillAndEmpty(store);
    const {sizeBytes} = store.space();
    for (let size = 24 * 1024 * 1024; size > 64 * 1024; size /= 2) {
      try {
        writeFileSync(filler, Buffer.alloc(size), {flag: 'a'});
      } catch (error) {
        assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOSPC');
      }
    }
    await assert.rejects(shrink(store), /[Nn]o space|ENOSPC/);
    const left = readdirSync(join(directory, 'checkpoint'));
    assert.deepEqual(left.sort(), ['000001', 'CURRENT']);
    assert.deepEqual(store.meta(), metaAt(6));
    assert.ok(read(store, 'row00007')?.startsWith('7 vvv'));
    rmSync(filler);
    await write(store, 7, [['still', 'written']]);
    assert.equal(await shrink(store), true);
    assert.ok(store.space().sizeBytes < sizeBytes / 2);
    assert.equal(read(store, 'still'), 'written');
    await close(store);
  },
);
