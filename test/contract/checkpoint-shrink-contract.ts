/** What every checkpoint store promises about giving free space back. */
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import type {CheckpointStore} from '../../src/storage/checkpoint-store.ts';
import type {Change, CheckpointStoreHome} from './checkpoint-store-contract.ts';
import {
  allBlocks,
  close,
  exported,
  importAll,
  metaAt,
  read,
  rowsIn,
  settled,
  write,
} from './checkpoint-store-contract.ts';

const rowCount = 3_000;
const keptCount = 200;

/** A store at index 6 of which only the first `keptCount` rows are left. */
export async function fillAndEmpty(store: CheckpointStore): Promise<void> {
  const value = 'v'.repeat(1_000);
  const rows = Array.from({length: rowCount}, (_, i): Change => [rowName(i), `${i} ${value}`]);
  await write(store, 5, rows);
  const isKept = (_row: Change, i: number): boolean => i < keptCount;
  const gone = rows.filter((row, i) => !isKept(row, i)).map(([key]): Change => [key, null]);
  await write(store, 6, gone);
}

/** All rows of such a store are there, and no others. */
export function assertKept(store: CheckpointStore): void {
  const rows = rowsIn(store, '\x01', '\xff');
  assert.equal(rows.length, keptCount);
  for (const [i, row] of rows.entries()) {
    assert.ok(row.startsWith(`${rowName(i)}=${i} vvv`), row.slice(0, 40));
  }
}

/** Whether the space was given back. */
export function shrink(store: CheckpointStore): Promise<boolean> {
  return new Promise((resolve, reject) => {
    store.shrink((error, hasShrunk) => {
      if (error === null) resolve(hasShrunk);
      else reject(error);
    });
  });
}

function rowName(i: number): string {
  return `row${String(i).padStart(5, '0')}`;
}

export function checkpointShrinkContract(name: string, makeHome: () => CheckpointStoreHome): void {
  const inHome =
    (body: (store: CheckpointStore, home: CheckpointStoreHome) => Promise<void>) =>
    async (): Promise<void> => {
      const home = makeHome();
      try {
        await body(home.open(), home);
      } finally {
        home.remove();
      }
    };

  describe(`${name} gives free space back`, () => {
    test(
      'a shrink makes the file small and changes neither rows nor meta',
      inHome(async (store, home) => {
        await fillAndEmpty(store);
        const before = store.space();
        assert.ok(before.usedSizeBytes * 2 < before.sizeBytes, 'most of it is free');
        assert.equal(await shrink(store), true);
        const after = store.space();
        assert.ok(after.sizeBytes < before.sizeBytes / 2, `${after.sizeBytes} bytes are left`);
        assert.ok(after.usedSizeBytes * 2 >= after.sizeBytes, 'nothing is left to give back');
        assert.deepEqual(store.meta(), metaAt(6));
        assertKept(store);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(6));
        assertKept(again);
        await close(again);
      }),
    );

    test(
      'a store that has shrunk takes writes and shrinks again',
      inHome(async (store, home) => {
        for (let round = 0; round < 3; round++) {
          await fillAndEmpty(store);
          assert.equal(await shrink(store), true);
          await write(store, 7, [['later', String(round)]]);
          assert.equal(read(store, 'later'), String(round));
          await write(store, 8, [['later', null]]);
          assertKept(store);
        }
        await write(store, 9, [['last', 'row']]);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(9));
        assert.equal(read(again, 'last'), 'row');
        await close(again);
      }),
    );

    test(
      'a write during the copy is kept, and the copy is not',
      inHome(async (store, home) => {
        await fillAndEmpty(store);
        const shrinking = shrink(store);
        await write(store, 7, [['meanwhile', 'written']]);
        assert.equal(await shrinking, false);
        assert.deepEqual(store.meta(), metaAt(7));
        assert.equal(read(store, 'meanwhile'), 'written');
        assert.equal(await shrink(store), true);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(7));
        assert.equal(read(again, 'meanwhile'), 'written');
        await close(again);
      }),
    );

    test(
      'a write that is still under way when the copy ends is kept too',
      inHome(async (store, home) => {
        await fillAndEmpty(store);
        // Asked for before the copy has ended, answered after it.
        const large: Change[] = Array.from({length: 5_000}, (_, i) => [
          `late${i}`,
          'x'.repeat(900),
        ]);
        const shrinking = shrink(store);
        const written = write(store, 7, large);
        assert.equal(await shrinking, false);
        await written;
        assert.equal(read(store, 'late4999')?.length, 900);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(7));
        assert.equal(read(again, 'late4999')?.length, 900);
        await close(again);
      }),
    );

    test(
      'a snapshot installed during the copy stays in force',
      inHome(async store => {
        await fillAndEmpty(store);
        await write(store, 20, [['from', 'snapshot']]);
        const snapshot = await exported(store);
        const blocks = await allBlocks(snapshot);
        snapshot.close();
        await close(store);
        const otherHome = makeHome();
        try {
          const other = otherHome.open();
          await fillAndEmpty(other);
          const incoming = other.beginImport(snapshot.meta);
          await importAll(incoming, blocks);
          const shrinking = shrink(other);
          const installed = settled(done => incoming.install(done));
          assert.equal(await shrinking, false);
          await installed;
          assert.deepEqual(other.meta(), metaAt(20));
          await close(other);
          const again = otherHome.open();
          assert.deepEqual(again.meta(), metaAt(20));
          assert.equal(read(again, 'from'), 'snapshot');
          await close(again);
        } finally {
          otherHome.remove();
        }
      }),
    );

    test(
      'a snapshot exported during a shrink is whole',
      inHome(async store => {
        await fillAndEmpty(store);
        const exporting = exported(store);
        const shrinking = shrink(store);
        const snapshot = await exporting;
        assert.equal(await shrinking, true);
        assert.deepEqual(snapshot.meta, metaAt(6));
        const blocks = await allBlocks(snapshot);
        assert.ok(blocks.some(block => Buffer.from(block).includes(rowName(keptCount - 1))));
        snapshot.close();
        await close(store);
      }),
    );

    test(
      'a store that is closed during the copy is the same afterwards',
      inHome(async (store, home) => {
        await fillAndEmpty(store);
        store.shrink(() => undefined);
        await close(store);
        const again = home.open();
        assert.deepEqual(again.meta(), metaAt(6));
        assertKept(again);
        await close(again);
      }),
    );
  });
}
