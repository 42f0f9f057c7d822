/** What every checkpoint store promises about snapshots: out of it, and into it. */
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {must} from '../../src/base/assert.ts';
import type {Change, CheckpointStoreHome} from './checkpoint-store-contract.ts';
import {
  allBlocks,
  begin,
  close,
  exported,
  importAll,
  inHomes,
  metaAt,
  read,
  rowsIn,
  settled,
  write,
  writeBlock,
} from './checkpoint-store-contract.ts';

export function checkpointSnapshotContract(
  name: string,
  makeHome: () => CheckpointStoreHome,
): void {
  const {withHome, withStore} = inHomes(makeHome);

  describe(`${name} keeps the contract of snapshots`, () => {
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
