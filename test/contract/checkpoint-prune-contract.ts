/** What a checkpoint removes of the history behind a write. Which rows: kv/history-pruner.ts. */
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {encodeEventRowView} from '../../src/kv/event-row.ts';
import {encodeRecordRowView, noAnchor} from '../../src/kv/record-row.ts';
import type {RecordRow} from '../../src/kv/record-row.ts';
import type {PruneRange, RowReader} from '../../src/kv/rows.ts';
import {historyKeyView, historyPointer, historyRow, latestKeyView} from '../../src/kv/tables.ts';
import type {CheckpointStore} from '../../src/storage/checkpoint-store.ts';
import {Overlay} from '../../src/storage/overlay.ts';
import {setLimits} from '../sim/small-limits.ts';
import type {CheckpointStoreHome} from './checkpoint-store-contract.ts';
import {bytes, close, inHomes, metaAt} from './checkpoint-store-contract.ts';

/** The rows of a key of its own, put or deleted at `revision`. */
export function putEvent(
  rows: Pick<Overlay, 'put'>,
  revision: number,
  options: {readonly isTombstone: boolean} = {isTombstone: false},
): void {
  const key = bytes(`key${revision}`);
  const row: RecordRow = {
    isTombstone: options.isTombstone,
    isLarge: false,
    createRevision: revision,
    modRevision: revision,
    sub: 0,
    version: 1,
    leaseId: 0,
    depth: 0,
    hashLow: 0,
    hashHigh: 0,
    previousRevision: 0,
    previousSub: 0,
    jump: noAnchor,
    secondJump: noAnchor,
    value: bytes('value'),
  };
  const event = encodeEventRowView(key, row, {beforeImage: null, replacesOlder: false});
  rows.put(historyKeyView(revision, 0), event);
  rows.put(latestKeyView(key), encodeRecordRowView(row));
}

export function historyKey(revision: number, sub = 0): Uint8Array {
  return historyRow(revision, sub);
}

/** Everything before `end` goes as a whole. */
export function wholeRange(end: number): PruneRange {
  const [start, wholeEnd] = [historyKey(0), historyKey(end)];
  return {start, wholeEnd, tailStart: wholeEnd, end: wholeEnd, imagesFromRevision: 0};
}

export function historyIn(rows: RowReader): readonly number[] {
  const revisions: number[] = [];
  rows.scan({start: historyKey(0), end: historyKey(1_000_000), isReverse: false}, rowKeyView => {
    revisions.push(historyPointer(rowKeyView).revision);
    return true;
  });
  return revisions;
}

function overlayOf(...revisions: readonly number[]): Overlay {
  const overlay = new Overlay();
  for (const revision of revisions) putEvent(overlay, revision);
  overlay.freeze();
  return overlay;
}

function written(
  store: CheckpointStore,
  index: number,
  frozen: Overlay,
  prune: PruneRange | null,
): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    store.write(
      frozen,
      metaAt(index),
      (error, prunedTo) => {
        if (error === null) resolve(prunedTo === null ? null : new Uint8Array(prunedTo));
        else reject(error);
      },
      prune,
    );
  });
}

export function checkpointPruneContract(name: string, makeHome: () => CheckpointStoreHome): void {
  const {withHome, withStore} = inHomes(makeHome);

  describe(`${name} keeps the contract of pruning`, () => {
    test(
      'a write without a range removes nothing and tells nothing',
      withStore(async store => {
        assert.equal(await written(store, 1, overlayOf(2, 3), null), null);
        assert.deepEqual(historyIn(store), [2, 3]);
      }),
    );

    test(
      'the rows of the range go, those that come with the same write too',
      withStore(async store => {
        await written(store, 1, overlayOf(2, 3, 4), null);
        const range = wholeRange(6);
        assert.deepEqual(await written(store, 2, overlayOf(5, 6), range), range.end);
        assert.deepEqual(historyIn(store), [6]);
        assert.ok(store.get(latestKeyView(bytes('key2'))), 'other rows stay');
        assert.equal(store.meta().index, 2);
      }),
    );

    test(
      'a tombstone takes its latest row with it',
      withStore(async store => {
        const overlay = new Overlay();
        putEvent(overlay, 2, {isTombstone: true});
        putEvent(overlay, 3);
        overlay.freeze();
        await written(store, 1, overlay, wholeRange(4));
        assert.deepEqual(historyIn(store), []);
        assert.equal(store.get(latestKeyView(bytes('key2'))), undefined);
        assert.ok(store.get(latestKeyView(bytes('key3'))));
      }),
    );

    test('so many rows go with one write, the rest with later ones', t => {
      t.after(setLimits({pruneRowCountMax: 3}));
      return withStore(async store => {
        await written(store, 1, overlayOf(2, 3, 4, 5, 6, 7, 8, 9, 10), null);
        const range = wholeRange(9);
        const first = await written(store, 2, overlayOf(), range);
        assert.deepEqual(first, historyKey(4, 1));
        assert.deepEqual(historyIn(store), [5, 6, 7, 8, 9, 10]);
        const second = await written(store, 3, overlayOf(), {...range, start: historyKey(4, 1)});
        assert.deepEqual(historyIn(store), [8, 9, 10]);
        assert.deepEqual(second, historyKey(7, 1));
        const last = await written(store, 4, overlayOf(), {...range, start: historyKey(7, 1)});
        assert.deepEqual(last, range.end);
        assert.deepEqual(historyIn(store), [9, 10]);
      })();
    });

    test('a large checkpoint removes as much as it adds, whatever that counts for', t => {
      t.after(setLimits({pruneRowCountMax: 3}));
      return withStore(async store => {
        const overlay = new Overlay();
        for (let i = 2; i < 12; i++) putEvent(overlay, i, {isTombstone: true});
        overlay.freeze();
        await written(store, 1, overlay, null);
        const range = wholeRange(12);
        const next = overlayOf(12, 13, 14, 15, 16, 17, 18, 19, 20, 21);
        assert.deepEqual(await written(store, 2, next, range), range.end);
        assert.equal(historyIn(store).length, 10);
      })();
    });

    test(
      'what was removed stays removed when the store is opened again',
      withHome(async home => {
        const store = home.open();
        const many = Array.from({length: 3_000}, (_, i) => i + 2);
        await written(store, 1, overlayOf(...many), null);
        await written(store, 2, overlayOf(), wholeRange(2_500));
        await close(store);
        const again = home.open();
        assert.deepEqual(
          historyIn(again),
          many.filter(revision => revision >= 2_500),
        );
        assert.equal(again.meta().index, 2);
        await close(again);
      }),
    );
  });
}
