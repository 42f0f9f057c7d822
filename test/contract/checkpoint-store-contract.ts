/**
 * What every checkpoint store promises; run on LMDB and on the fake, so that tests and the
 * simulator do not believe in a store that does not exist.
 */
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
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

export function begin(snapshot: SnapshotImport): Promise<SnapshotPosition | null> {
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

/** Bodies of tests that have a home, or a store in one, and leave nothing behind. */
export function inHomes(makeHome: () => CheckpointStoreHome): {
  readonly withHome: (body: (home: CheckpointStoreHome) => Promise<void>) => () => Promise<void>;
  readonly withStore: (body: (store: CheckpointStore) => Promise<void>) => () => Promise<void>;
} {
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
  return {withHome, withStore};
}

export function checkpointStoreContract(name: string, makeHome: () => CheckpointStoreHome): void {
  const {withHome, withStore} = inHomes(makeHome);

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
  });
}
