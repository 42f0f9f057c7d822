/**
 * What every checkpoint store promises; run on LMDB and on the fake, so that tests and the
 * simulator do not believe in a store that does not exist.
 */
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {must} from '../../src/base/assert.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import type {
  CheckpointMeta,
  CheckpointStore,
  SnapshotExport,
  SnapshotImport,
} from '../../src/storage/checkpoint-store.ts';
import {Overlay} from '../../src/storage/overlay.ts';
import type {SnapshotPosition} from '../../src/storage/snapshot-position.ts';

/** One place where a store lives; it may be opened again after a close. */
export interface CheckpointStoreHome {
  open(): CheckpointStore;
  remove(): void;
}

export function metaAt(index: number): CheckpointMeta {
  const id = nodeId('n1');
  return {
    index: logIndex(index),
    term: term(3),
    membership: {
      voters: [id],
      votersOutgoing: [],
      learners: [],
      members: [{id, incarnation: '00112233aabbccdd', listen: 'h:1', http: 'h:2'}],
    },
  };
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** Entries of `[key, value]`, value null: delete. */
export type Change = readonly [string, string | null];

export function overlayOf(changes: readonly Change[]): Overlay {
  const overlay = new Overlay();
  for (const [key, value] of changes) {
    if (value === null) overlay.delete(bytes(key));
    else overlay.put(bytes(key), bytes(value));
  }
  overlay.freeze();
  return overlay;
}

export function write(
  store: CheckpointStore,
  index: number,
  changes: readonly Change[],
): Promise<void> {
  return settled(done => store.write(overlayOf(changes), metaAt(index), done));
}

export function close(store: CheckpointStore): Promise<void> {
  return new Promise(resolve => {
    store.close(resolve);
  });
}

export function read(store: CheckpointStore, key: string): string | undefined {
  const value = store.get(bytes(key));
  return value === undefined ? undefined : Buffer.from(value).toString('latin1');
}

export function rowsIn(
  store: Pick<CheckpointStore, 'scan'>,
  start: string,
  end: string,
  isReverse = false,
): string[] {
  const rows: string[] = [];
  store.scan({start: bytes(start), end: bytes(end), isReverse}, (key, value) => {
    rows.push(`${Buffer.from(key).toString('latin1')}=${Buffer.from(value).toString('latin1')}`);
    return true;
  });
  return rows;
}

export function exported(store: CheckpointStore): Promise<SnapshotExport> {
  return new Promise((resolve, reject) => {
    store.exportSnapshot((error, snapshot) => {
      if (snapshot === null) reject(error ?? new Error('neither error nor snapshot'));
      else resolve(snapshot);
    });
  });
}

export async function allBlocks(
  snapshot: SnapshotExport,
  after: SnapshotPosition | null = null,
): Promise<Uint8Array[]> {
  const reader = snapshot.open(after);
  const blocks: Uint8Array[] = [];
  for (;;) {
    const block = await new Promise<Uint8Array | null>((resolve, reject) => {
      reader.next((error, next) => {
        if (error === null) resolve(next);
        else reject(error);
      });
    });
    if (block === null) break;
    blocks.push(new Uint8Array(block));
  }
  reader.close();
  reader.close();
  return blocks;
}

function begin(snapshot: SnapshotImport): Promise<SnapshotPosition | null> {
  return new Promise((resolve, reject) => {
    snapshot.begin((error, after) => {
      if (error === null) resolve(after);
      else reject(error);
    });
  });
}

/** A copy of the block: what is written belongs to the import. */
export function writeBlock(snapshot: SnapshotImport, block: Uint8Array): Promise<void> {
  return settled(done => snapshot.write(new Uint8Array(block), done));
}

export async function importAll(
  snapshot: SnapshotImport,
  blocks: readonly Uint8Array[],
): Promise<void> {
  assert.equal(await begin(snapshot), null);
  for (const block of blocks) await writeBlock(snapshot, block);
  await settled(done => snapshot.finish(done));
}

export function settled(start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start(error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

export function checkpointStoreContract(name: string, makeHome: () => CheckpointStoreHome): void {
  const withHome =
    (body: (home: CheckpointStoreHome) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const home = makeHome();
      try {
        await body(home);
      } finally {
        home.remove();
      }
    };
  const withStore = (body: (store: CheckpointStore) => Promise<void>): (() => Promise<void>) =>
    withHome(async home => {
      const store = home.open();
      try {
        await body(store);
      } finally {
        await close(store);
      }
    });

  describe(`${name} keeps the contract of a checkpoint store`, () => {
    test(
      'a new store is empty and stands at index 0',
      withStore(store => {
        assert.equal(store.meta().index, 0);
        assert.deepEqual(store.meta().membership.voters, []);
        assert.equal(read(store, 'a'), undefined);
        assert.deepEqual(rowsIn(store, '\x01', '\xff'), []);
        return Promise.resolve();
      }),
    );

    test(
      'reads see rows and meta once a write is called back',
      withStore(async store => {
        await write(store, 5, [
          ['b', '2'],
          ['a', '1'],
        ]);
        assert.deepEqual(store.meta(), metaAt(5));
        assert.equal(read(store, 'a'), '1');
        await write(store, 6, [
          ['a', null],
          ['c', ''],
          ['never-there', null],
        ]);
        assert.equal(read(store, 'a'), undefined);
        assert.equal(read(store, 'c'), '');
        assert.equal(store.meta().index, 6);
      }),
    );

    test(
      'a write without rows moves the index',
      withStore(async store => {
        await write(store, 7, []);
        assert.equal(store.meta().index, 7);
      }),
    );

    test(
      'scans include the start, exclude the end, in both directions',
      withStore(async store => {
        await write(store, 1, [
          ['a', '1'],
          ['b', '2'],
          ['b\0', '3'],
          ['c', '4'],
        ]);
        assert.deepEqual(rowsIn(store, 'a', 'c'), ['a=1', 'b=2', 'b\0=3']);
        assert.deepEqual(rowsIn(store, 'a', 'c', true), ['b\0=3', 'b=2', 'a=1']);
        assert.deepEqual(rowsIn(store, 'b', 'b\0', true), ['b=2']);
        assert.deepEqual(rowsIn(store, 'bb', 'zz', true), ['c=4']);
        assert.deepEqual(rowsIn(store, 'A', 'a'), []);
        const seen: string[] = [];
        store.scan({start: bytes('a'), end: bytes('z'), isReverse: false}, key => {
          seen.push(Buffer.from(key).toString('latin1'));
          return seen.length < 2;
        });
        assert.deepEqual(seen, ['a', 'b']);
      }),
    );

    test(
      'rows of every size come back',
      withStore(async store => {
        const large = 'x'.repeat(1_600_000);
        const longKey = 'k'.repeat(1100);
        await write(store, 1, [
          ['large', large],
          [longKey, 'long'],
          ['empty', ''],
        ]);
        assert.equal(read(store, 'large'), large);
        assert.equal(read(store, 'empty'), '');
        assert.equal(read(store, longKey), 'long');
        assert.equal(rowsIn(store, 'l', 'm')[0]?.length, large.length + 'large='.length);
      }),
    );

    test(
      'a write of very many rows is there as a whole',
      withStore(async store => {
        // More than one transaction of LMDB's writes in parts.
        const rowCount = 40_000;
        const key = (i: number): string => `row${String(i).padStart(6, '0')}`;
        const all = Array.from({length: rowCount}, (_, i) => i);
        await write(
          store,
          1,
          all.map(i => [key(i), `first ${i}`]),
        );
        const later = all.map((i): Change => [key(i), i % 3 === 0 ? null : `second ${i}`]);
        await write(store, 2, later);
        const expected = later.flatMap(([name, value]) =>
          value === null ? [] : `${name}=${value}`,
        );
        assert.deepEqual(rowsIn(store, '\x01', '\xff'), expected);
      }),
    );

    test(
      'what was written is there after the store is opened again',
      withHome(async home => {
        const store = home.open();
        await write(store, 9, [['a', '1']]);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(9));
        assert.equal(read(again, 'a'), '1');
        await close(again);
      }),
    );

    test(
      'an exported snapshot holds the moment it was taken',
      withStore(async store => {
        await write(store, 4, [['a', 'old']]);
        const snapshot = await exported(store);
        await write(store, 5, [['a', 'new']]);
        assert.deepEqual(snapshot.meta, metaAt(4));
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        snapshot.close();
        assert.ok(blocks.length >= 3);
        for (const block of blocks) assert.ok(block.length <= 256 * 1024);
        assert.ok(blocks.some(block => Buffer.from(block).includes('old')));
        assert.ok(!blocks.some(block => Buffer.from(block).includes('new')));
      }),
    );

    test(
      'a snapshot of one store becomes the state of another',
      withStore(async store => {
        const changes: Change[] = [['huge', 'h'.repeat(1_500_000)]];
        for (let i = 0; i < 3000; i++)
          changes.push([`row${i}`, `value ${i} ${'.'.repeat(i % 300)}`]);
        await write(store, 20, changes);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        await withHome(async home => {
          const other = home.open();
          await write(other, 3, [['stale', 'row']]);
          const incoming = other.beginImport(snapshot.meta);
          await importAll(incoming, blocks);
          assert.equal(read(other, 'stale'), 'row');
          const installed = settled(done => incoming.install(done));
          assert.equal(read(other, 'stale'), 'row', 'it is not durable yet');
          await installed;
          assert.deepEqual(other.meta(), metaAt(20));
          assert.equal(read(other, 'stale'), undefined);
          assert.deepEqual(rowsIn(other, '\x01', '\xff'), rowsIn(store, '\x01', '\xff'));
          await write(other, 21, [['after', 'install']]);
          await close(other);
          const again = home.open();
          assert.deepEqual(again.meta(), metaAt(21));
          assert.equal(read(again, 'after'), 'install');
          assert.equal(read(again, 'row2999')?.startsWith('value 2999'), true);
          await close(again);
        })();
      }),
    );

    test(
      'blocks may be written before the ones before them are answered for',
      withStore(async store => {
        const changes = Array.from({length: 3_000}, (_, i): Change => {
          return [`row${i}`, `value ${i} ${'.'.repeat(i % 600)}`];
        });
        await write(store, 20, changes);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        assert.ok(blocks.length >= 5);
        await withHome(async home => {
          const other = home.open();
          const refused = other.beginImport(snapshot.meta);
          assert.equal(await begin(refused), null);
          // The second block of rows is missing: nothing behind it is taken, though each is whole.
          const writes = blocks.toSpliced(2, 1).map(block => writeBlock(refused, block));
          const results = await Promise.allSettled(writes);
          const isTaken = results.map(({status}) => status === 'fulfilled');
          assert.ok(isTaken.slice(0, 2).every(Boolean), 'those before it are');
          assert.equal(isTaken.at(-1), false);
          const firstRefused = isTaken.indexOf(false);
          assert.ok(!isTaken.includes(true, firstRefused), 'an error is the end');
          await assert.rejects(settled(done => refused.finish(done)));

          const incoming = other.beginImport(snapshot.meta);
          assert.equal(await begin(incoming), null);
          const answered: number[] = [];
          const all = blocks.map(async (block, i) => {
            await writeBlock(incoming, block);
            answered.push(i);
          });
          await Promise.all(all);
          assert.deepEqual(answered, [...blocks.keys()]);
          await settled(done => incoming.finish(done));
          await settled(done => incoming.install(done));
          assert.deepEqual(rowsIn(other, '\x01', '\xff'), rowsIn(store, '\x01', '\xff'));
          await close(other);
        })();
      }),
    );

    test(
      'a stream goes on where the last one broke off, whatever it had sent',
      withStore(async store => {
        const changes: Change[] = [['huge', 'h'.repeat(900_000)]];
        for (let i = 0; i < 3000; i++) {
          changes.push([`row${i}`, `value ${i} ${'.'.repeat(i % 300)}`]);
        }
        await write(store, 20, changes);
        const snapshot = await exported(store);
        await withHome(async home => {
          const other = home.open();
          const incoming = other.beginImport(snapshot.meta);
          let blockCount = 0;
          // Each stream brings a block or two more than the one before; some only part of a row.
          for (let taken = 0; ; taken++) {
            const after = await begin(incoming);
            const blocks = await allBlocks(snapshot, after);
            const count = Math.min(blocks.length, 1 + taken);
            for (const block of blocks.slice(0, count)) {
              await writeBlock(incoming, block);
            }
            blockCount += count;
            if (count === blocks.length) break;
          }
          assert.ok(blockCount > (await allBlocks(snapshot)).length, 'nothing broke off');
          await settled(done => incoming.finish(done));
          await settled(done => incoming.install(done));
          assert.deepEqual(rowsIn(other, '\x01', '\xff'), rowsIn(store, '\x01', '\xff'));
          await close(other);
        })();
        snapshot.close();
      }),
    );

    test(
      'a stream that begins elsewhere than it was asked to is refused',
      withStore(async store => {
        await write(store, 2, [
          ['a', '1'],
          ['huge', 'h'.repeat(600_000)],
          ['z', '2'],
        ]);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        const incoming = store.beginImport(metaAt(2));
        assert.equal(await begin(incoming), null);
        for (const block of blocks.slice(0, -1)) await writeBlock(incoming, block);
        const after = await begin(incoming);
        assert.equal(after?.rowCount, 3);
        await assert.rejects(writeBlock(incoming, must(blocks[0], 'a header')));
        incoming.abort();
        snapshot.close();
      }),
    );

    test(
      'several streams are read from one copy at once, and it is closed with them',
      withStore(async store => {
        await write(store, 2, [
          ['a', '1'],
          ['huge', 'h'.repeat(600_000)],
        ]);
        const snapshot = await exported(store);
        const both = await Promise.all([allBlocks(snapshot), allBlocks(snapshot)]);
        assert.deepEqual(both[0], both[1]);
        const reader = snapshot.open(null);
        snapshot.close();
        snapshot.close();
        reader.next(() => assert.fail('the copy is closed'));
        reader.close();
        snapshot.open(null).next(() => assert.fail('the copy is closed'));
        await write(store, 3, [['b', '2']]);
      }),
    );

    test(
      'an import that was not installed changes nothing',
      withHome(async home => {
        const store = home.open();
        await write(store, 2, [['a', '1']]);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        const aborted = store.beginImport(metaAt(2));
        assert.equal(await begin(aborted), null);
        await writeBlock(aborted, must(blocks[0], 'a header'));
        aborted.abort();
        const finished = store.beginImport(metaAt(2));
        await importAll(finished, blocks);
        await write(store, 3, [['a', '2']]);
        await close(store);
        const again = home.open();
        assert.equal(again.meta().index, 3);
        assert.equal(read(again, 'a'), '2');
        await close(again);
      }),
    );

    test(
      'a damaged, missing or repeated block ends the import',
      withStore(async store => {
        await write(store, 2, [
          ['a', '1'],
          ['huge', 'h'.repeat(600_000)],
        ]);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        const flipped = blocks.map(block => Uint8Array.from(block));
        const victim = flipped[1];
        assert.ok(victim !== undefined);
        victim[100] = (victim[100] ?? 0) ^ 1;
        const [header, first, ...rest] = blocks;
        assert.ok(header !== undefined && first !== undefined);
        const wrong = [
          flipped,
          [header, ...rest],
          [header, first, first, ...rest],
          [header, first],
        ];
        for (const bad of wrong) {
          const incoming = store.beginImport(metaAt(2));
          await assert.rejects(importAll(incoming, bad));
          incoming.abort();
        }
        const misnamed = store.beginImport(metaAt(8));
        await assert.rejects(importAll(misnamed, blocks));
        misnamed.abort();
        assert.equal(read(store, 'a'), '1');
      }),
    );
  });
}
