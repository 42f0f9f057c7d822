import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {describe, test} from 'node:test';
import {
  allBlocks,
  bytes,
  close,
  exported,
  importAll,
  metaAt,
  read,
  settled,
  write,
} from '../../test/contract/checkpoint-store-contract.ts';
import {moveDamagedCheckpointAside} from './checkpoint-directory.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import type {LmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {PackedRecords} from './packed-records.ts';
import {StorageError} from './storage-error.ts';

/** Runs `body` with a data directory that goes away afterwards. */
function inDirectory(body: (directory: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lmdb-checkpoint-'));
    try {
      await body(directory);
    } finally {
      fs.rmSync(directory, {recursive: true, force: true});
    }
  };
}

/** This process's open descriptors of the file; null where the system does not list them. */
function descriptorsOf(file: string): number[] | null {
  const list = '/proc/self/fd';
  if (!fs.existsSync(list)) return null;
  return fs
    .readdirSync(list)
    .map(Number)
    .filter(descriptor => {
      try {
        return fs.readlinkSync(`${list}/${descriptor}`) === file;
      } catch {
        return false;
      }
    });
}

/** From now on it stands for a device that takes all writes and knows no fdatasync. */
function replaceDescriptor(descriptor: number): void {
  fs.closeSync(descriptor);
  // The system gives out the lowest number that is free.
  const lower: number[] = [];
  for (let opened = -1; opened !== descriptor;) {
    assert.ok(opened < descriptor, `descriptor ${descriptor} was taken by another`);
    if (opened >= 0) lower.push(opened);
    opened = fs.openSync('/dev/null', 'r+');
  }
  for (const other of lower) fs.closeSync(other);
}

async function fill(directory: string): Promise<string> {
  const store = openLmdbCheckpointStore({directory});
  const value = 'damage me '.repeat(20);
  const changes = Array.from({length: 500}, (_, i) => [`row${i}`, `${i} ${value}`] as const);
  await write(store, 5, changes);
  await close(store);
  return path.join(directory, 'checkpoint', '000001', 'data.mdb');
}

function assertDamaged(open: () => unknown, message: RegExp): void {
  assert.throws(open, (error: unknown) => {
    assert.ok(error instanceof CheckpointDamagedError, String(error));
    assert.match(error.message, message);
    assert.match(error.message, /restore/);
    return true;
  });
}

describe('LMDB checkpoint store', () => {
  test(
    'the thread starts with the first request, and a store that needed none ends without one',
    inDirectory(async directory => {
      let threadCount = 0;
      const count = (): void => {
        threadCount++;
      };
      process.on('worker', count);
      try {
        const unused = openLmdbCheckpointStore({directory});
        await close(unused);
        assert.equal(threadCount, 0);
        const store = openLmdbCheckpointStore({directory});
        await write(store, 1, [['a', '1']]);
        await write(store, 2, [['b', '2']]);
        assert.equal(threadCount, 1);
        assert.equal(read(store, 'a'), '1');
        await close(store);
      } finally {
        process.off('worker', count);
      }
    }),
  );

  test(
    'a flipped bit in a value is noticed by the read that meets it',
    inDirectory(async directory => {
      const file = await fill(directory);
      const content = fs.readFileSync(file);
      for (
        let at = content.indexOf('77 damage');
        at >= 0;
        at = content.indexOf('77 damage', at + 1)
      ) {
        content[at + 30] = (content[at + 30] ?? 0) ^ 4;
      }
      fs.writeFileSync(file, content);
      const store = openLmdbCheckpointStore({directory});
      assert.equal(read(store, 'row76')?.startsWith('76 damage'), true);
      assertDamaged(() => store.get(bytes('row77')), /data\.mdb is damaged \(checksum of row/);
      const scan = (): void => {
        store.scan({start: bytes('row76'), end: bytes('row79'), isReverse: false}, () => true);
      };
      assertDamaged(scan, /checksum of row/);
      await close(store);
      assertDamaged(() => openLmdbCheckpointStore({directory}), /the last run found/);
      moveDamagedCheckpointAside(directory);
      await close(openLmdbCheckpointStore({directory}));
    }),
  );

  test(
    'a file cut short, emptied or missing is refused before LMDB maps it',
    inDirectory(async directory => {
      const file = await fill(directory);
      const content = fs.readFileSync(file);
      const large = Buffer.concat([content, Buffer.alloc(2000 * 4096)]);
      // The newest meta page claims a file as long as `large`.
      const lastPage = BigInt(large.length / 4096 - 1);
      for (const page of [0, 4096]) large.writeBigUInt64LE(lastPage, page + 144);
      fs.writeFileSync(file, large.subarray(0, content.length));
      assertDamaged(() => openLmdbCheckpointStore({directory}), /bytes of/);
      fs.writeFileSync(file, Buffer.alloc(content.length));
      assertDamaged(() => openLmdbCheckpointStore({directory}), /meta page/);
      fs.rmSync(file);
      assertDamaged(() => openLmdbCheckpointStore({directory}), /missing/);
    }),
  );

  test(
    'a checkpoint that the system does not let us open is not called damaged, ever',
    inDirectory(async directory => {
      const file = await fill(directory);
      const lockFile = `${file}-lock`;
      fs.rmSync(lockFile);
      // What a file of another user does, and root does not notice.
      fs.mkdirSync(lockFile);
      for (let start = 0; start < 5; start++) {
        assert.throws(
          () => openLmdbCheckpointStore({directory}),
          (error: unknown) =>
            error instanceof StorageError &&
            !(error instanceof CheckpointDamagedError) &&
            /cannot be opened \(.*directory/.test(error.message),
        );
      }
      fs.rmdirSync(lockFile);
      const store = openLmdbCheckpointStore({directory});
      assert.equal(read(store, 'row76')?.startsWith('76 damage'), true);
      await close(store);
      assert.throws(() => store.get(bytes('row77')), /after it was closed/);
      await close(openLmdbCheckpointStore({directory}));
    }),
  );

  test(
    'a read for which there is no memory does not mark the checkpoint as damaged',
    inDirectory(async directory => {
      await fill(directory);
      const store = openLmdbCheckpointStore({directory});
      // Thrown where LMDB's binding reads it.
      const key = Object.defineProperty(bytes('row7'), 'length', {
        get: () => {
          throw new RangeError('Array buffer allocation failed');
        },
      });
      assert.throws(() => store.get(key), RangeError);
      assert.equal(read(store, 'row7')?.startsWith('7 damage'), true);
      await close(store);
      await close(openLmdbCheckpointStore({directory}));
    }),
  );

  test(
    'a failed fdatasync of a commit is final, and the reason names the file and says what to do',
    {skip: descriptorsOf('/') === null},
    inDirectory(async directory => {
      const file = await fill(directory);
      const store = openLmdbCheckpointStore({directory});
      await write(store, 6, [['row1', 'before']]);
      for (const descriptor of descriptorsOf(file) ?? []) replaceDescriptor(descriptor);
      for (let attempt = 0; attempt < 2; attempt++) {
        await assert.rejects(write(store, 7, [['row2', 'after']]), (error: unknown) => {
          assert.ok(error instanceof StorageError, String(error));
          assert.ok(!(error instanceof CheckpointDamagedError));
          assert.equal(error.path, file);
          assert.match(error.message, /^\/.*data\.mdb cannot be written \(.*\): check its disk.*$/);
          return true;
        });
      }
      assert.equal(store.meta().index, 6);
      await close(store);
      await close(openLmdbCheckpointStore({directory}));
    }),
  );

  test(
    'a damaged CURRENT is refused, a lost one too',
    inDirectory(async directory => {
      await fill(directory);
      const current = path.join(directory, 'checkpoint', 'CURRENT');
      assert.match(fs.readFileSync(current, 'latin1'), /^000001\n[0-9a-f]{8}\n$/);
      fs.writeFileSync(current, '000001\n00000000\n');
      assertDamaged(() => openLmdbCheckpointStore({directory}), /CURRENT is damaged/);
      fs.rmSync(current);
      assertDamaged(() => openLmdbCheckpointStore({directory}), /CURRENT is missing/);
    }),
  );

  test(
    'a first start that was interrupted is simply repeated',
    inDirectory(async directory => {
      const unborn = path.join(directory, 'checkpoint', '000001');
      fs.mkdirSync(unborn, {recursive: true});
      await close(openLmdbCheckpointStore({directory}));
      fs.rmSync(path.join(directory, 'checkpoint', 'CURRENT'));
      await close(openLmdbCheckpointStore({directory}));
      fs.rmSync(path.join(directory, 'checkpoint', 'CURRENT'));
      fs.writeFileSync(path.join(unborn, 'data.mdb'), Buffer.alloc(0));
      const store = openLmdbCheckpointStore({directory});
      assert.equal(store.meta().index, 0);
      await close(store);
    }),
  );

  test(
    'starts that keep dying while opening count as damage, one or two do not',
    inDirectory(async directory => {
      await fill(directory);
      const marker = path.join(directory, 'checkpoint', 'OPENING');
      fs.writeFileSync(marker, '2');
      await close(openLmdbCheckpointStore({directory}));
      assert.equal(fs.existsSync(marker), false);
      fs.writeFileSync(marker, '3');
      assertDamaged(() => openLmdbCheckpointStore({directory}), /3 starts died/);
    }),
  );

  test(
    'a damaged checkpoint moved aside makes room for an empty one',
    inDirectory(async directory => {
      const file = await fill(directory);
      fs.writeFileSync(file, 'garbage');
      assertDamaged(() => openLmdbCheckpointStore({directory}), /meta page/);
      const aside = moveDamagedCheckpointAside(directory);
      assert.equal(fs.readFileSync(path.join(aside, '000001', 'data.mdb'), 'latin1'), 'garbage');
      const store = openLmdbCheckpointStore({directory});
      assert.equal(store.meta().index, 0);
      await close(store);
      assert.equal(moveDamagedCheckpointAside(directory), aside);
    }),
  );

  test(
    'leftovers of interrupted imports and exports are removed at start',
    inDirectory(async directory => {
      await fill(directory);
      const leftovers = [
        path.join(directory, 'checkpoint', '000007'),
        path.join(directory, 'tmp', 'snapshot-1-1'),
      ];
      for (const leftover of leftovers) {
        fs.mkdirSync(leftover, {recursive: true});
        fs.writeFileSync(path.join(leftover, 'data.mdb'), 'x');
      }
      const other = path.join(directory, 'tmp', 'not-mine');
      fs.writeFileSync(other, 'x');
      const store = openLmdbCheckpointStore({directory});
      for (const leftover of leftovers) assert.equal(fs.existsSync(leftover), false);
      assert.equal(fs.existsSync(other), true);
      assert.equal(read(store, 'row3')?.startsWith('3 '), true);
      await close(store);
    }),
  );

  test(
    'a copy of a closed export leaves no file behind',
    inDirectory(async directory => {
      await fill(directory);
      const store = openLmdbCheckpointStore({directory});
      const snapshot = await exported(store);
      assert.deepEqual(snapshot.meta, metaAt(5));
      assert.equal(fs.readdirSync(path.join(directory, 'tmp')).length, 1);
      snapshot.close();
      await write(store, 6, []);
      assert.deepEqual(fs.readdirSync(path.join(directory, 'tmp')), []);
      await close(store);
    }),
  );

  test(
    'a snapshot installed while a write is under way wins',
    inDirectory(async directory => {
      await inDirectory(async sourceDirectory => {
        const source = openLmdbCheckpointStore({directory: sourceDirectory});
        await write(source, 90, [['from', 'snapshot']]);
        const snapshot = await exported(source);
        const blocks = await allBlocks(snapshot);
        const store = openLmdbCheckpointStore({directory});
        const incoming = store.beginImport(snapshot.meta);
        await importAll(incoming, blocks);
        const written = write(store, 6, [['stale', 'row']]);
        const installed = settled(done => incoming.install(done));
        await Promise.all([written, installed]);
        assert.equal(store.meta().index, 90);
        assert.equal(read(store, 'stale'), undefined);
        await write(store, 91, [['next', 'row']]);
        assert.equal(read(store, 'from'), 'snapshot');
        await close(store);
        assert.deepEqual(fs.readdirSync(path.join(directory, 'checkpoint')).sort(), [
          '000002',
          'CURRENT',
        ]);
        await close(source);
      })();
    }),
  );

  test(
    'files and directories belong to their owner alone',
    inDirectory(async directory => {
      const file = await fill(directory);
      assert.equal(fs.statSync(file).mode & 0o777, 0o600);
      assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
    }),
  );

  test(
    'an error that is not lack of space is the last one',
    inDirectory(async directory => {
      await fill(directory);
      const store = openLmdbCheckpointStore({directory});
      // Keys this long pass no overlay; LMDB refuses them in the middle of the transaction.
      const refused = PackedRecords.empty();
      refused.append(bytes('fine'), bytes('1'), 0);
      refused.append(new Uint8Array(3000).fill(0x7a), bytes('2'), 0);
      const frozen = {recordCount: 2, share: () => refused.share(), visit: () => undefined};
      await assert.rejects(
        settled(done => store.write(frozen, metaAt(6), done)),
        /[Kk]ey/,
      );
      assert.equal(read(store, 'fine'), undefined);
      assert.equal(store.meta().index, 5);
      await assert.rejects(write(store, 7, [['a', '1']]), /[Kk]ey/);
      await close(store);
    }),
  );

  test(
    'closing waits for the write and the copy that are under way',
    inDirectory(async directory => {
      await fill(directory);
      const store: LmdbCheckpointStore = openLmdbCheckpointStore({directory});
      const written = write(store, 6, [['late', 'row']]);
      const copied = exported(store);
      const closed = close(store);
      await Promise.all([written, copied, closed]);
      const again = openLmdbCheckpointStore({directory});
      assert.equal(read(again, 'late'), 'row');
      assert.deepEqual(fs.readdirSync(path.join(directory, 'tmp')), []);
      await close(again);
    }),
  );
});
