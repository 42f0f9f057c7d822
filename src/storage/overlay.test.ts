import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {Overlay} from './overlay.ts';
import {PackedRecords} from './packed-records.ts';
import {RecordMemory} from './record-memory.ts';
import {RecordOrder} from './record-order.ts';

function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

function text(view: Uint8Array | null | undefined): string | null | undefined {
  return view instanceof Uint8Array ? Buffer.from(view).toString('latin1') : view;
}

function rowsOf(overlay: Overlay, start: string, end: string, isReverse = false): string[] {
  const rows: string[] = [];
  const cursor = overlay.cursor({start: bytes(start), end: bytes(end), isReverse});
  while (cursor.next()) {
    const value = cursor.isDeleted() ? 'deleted' : text(cursor.valueView());
    rows.push(`${text(cursor.keyView()) ?? ''}=${value ?? ''}`);
  }
  return rows;
}

describe('overlay', () => {
  test('tells an unknown row from a deleted one', () => {
    const overlay = new Overlay();
    overlay.put(bytes('a'), bytes('1'));
    overlay.delete(bytes('b'));
    assert.equal(text(overlay.get(bytes('a'))), '1');
    assert.equal(overlay.get(bytes('b')), null);
    assert.equal(overlay.get(bytes('c')), undefined);
    overlay.delete(bytes('a'));
    assert.equal(overlay.get(bytes('a')), null);
    overlay.put(bytes('a'), bytes(''));
    assert.equal(text(overlay.get(bytes('a'))), '');
    assert.equal(overlay.recordCount, 2);
  });

  test('copies what it is given', () => {
    const overlay = new Overlay();
    const key = bytes('key');
    const value = bytes('value');
    overlay.put(key, value);
    key.fill(1);
    value.fill(1);
    assert.equal(text(overlay.get(bytes('key'))), 'value');
  });

  test('one key written over and over takes bounded memory', () => {
    const overlay = new Overlay();
    const value = new Uint8Array(200);
    for (let i = 0; i < 50_000; i++) overlay.put(bytes('the key'), value.subarray(i % 100));
    assert.equal(overlay.recordCount, 1);
    assert.ok(overlay.sizeBytes() < 64 * 1024, `${overlay.sizeBytes()} bytes`);
  });

  test('the bytes of places given up count, so a growing value leads to a checkpoint', () => {
    const overlay = new Overlay();
    for (let size = 0; size < 20_000; size += 100) overlay.put(bytes('k'), new Uint8Array(size));
    assert.ok(overlay.sizeBytes() > 40_000, `${overlay.sizeBytes()} bytes`);
    assert.equal(overlay.get(bytes('k'))?.length, 19_900);
  });

  test('holds rows larger than a slab beside small ones', () => {
    const overlay = new Overlay();
    overlay.put(bytes('small'), bytes('s'));
    overlay.put(bytes('large'), new Uint8Array(3_000_000).fill(7));
    overlay.put(bytes('other'), bytes('o'));
    assert.equal(overlay.get(bytes('large'))?.length, 3_000_000);
    assert.equal(overlay.get(bytes('large'))?.[2_999_999], 7);
    assert.equal(text(overlay.get(bytes('small'))), 's');
    assert.equal(text(overlay.get(bytes('other'))), 'o');
  });

  test('cursors include the start, exclude the end and show deletions, in both directions', () => {
    const overlay = new Overlay();
    for (const key of ['d', 'b', 'a', 'c', 'bb']) overlay.put(bytes(key), bytes('1'));
    overlay.delete(bytes('c'));
    assert.deepEqual(rowsOf(overlay, 'b', 'd'), ['b=1', 'bb=1', 'c=deleted']);
    assert.deepEqual(rowsOf(overlay, 'b', 'd', true), ['c=deleted', 'bb=1', 'b=1']);
    assert.deepEqual(rowsOf(overlay, 'e', 'z'), []);
    assert.deepEqual(rowsOf(overlay, 'd', 'a'), []);
  });

  test('agrees with a sorted map on random writes, scans in between', () => {
    const prng = new Prng(20);
    let overlay = new Overlay();
    const model = new Map<string, string>();
    for (let step = 0; step < 6000; step++) {
      const key = `${'kxm'[prng.uint32() % 3] ?? ''}${prng.uint32() % 2000}`;
      if (prng.uint32() % 5 === 0) {
        overlay.delete(bytes(key));
        model.set(key, 'deleted');
      } else {
        const value = 'v'.repeat(prng.uint32() % 40);
        overlay.put(bytes(key), bytes(value));
        model.set(key, value);
      }
      if (prng.uint32() % 300 !== 0) continue;
      const isReverse = prng.uint32() % 2 === 0;
      const expected = [...model]
        .filter(([name]) => name >= 'k5' && name < 'x7')
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => `${name}=${value}`);
      if (isReverse) expected.reverse();
      assert.deepEqual(rowsOf(overlay, 'k5', 'x7', isReverse), expected);
      if (prng.uint32() % 6 === 0) {
        overlay = new Overlay(overlay);
        model.clear();
      }
    }
  });

  test('no single put moves a table, and nothing is lost on the way', t => {
    const looks = t.mock.method(PackedRecords.prototype, 'hash');
    const overlay = new Overlay();
    const key = (i: number): Uint8Array => bytes(`k${Math.imul(i, 2654435761) >>> 0}`);
    const others = new Prng(7);
    for (let i = 0; i < 20_000; i++) {
      looks.mock.resetCalls();
      overlay.put(key(i), bytes(`${i}`));
      const lookCount = looks.mock.callCount();
      assert.ok(lookCount <= 100, `${lookCount} records were looked at by put ${i}`);
      // Whether its slot has moved already or not; and twice the same key is one record.
      const other = others.integer({min: 0, max: i});
      assert.equal(text(overlay.get(key(other))), `${other}`);
      overlay.put(key(other), bytes(`${other}`));
      assert.equal(overlay.get(key(i + 1)), undefined);
    }
    assert.equal(overlay.recordCount, 20_000);
    for (let i = 0; i < 20_000; i++) assert.equal(text(overlay.get(key(i))), `${i}`);
  });

  test('records are not copied when there are more of them', () => {
    const records = PackedRecords.empty();
    const {fields} = records.share();
    for (let i = 0; i < 5_000; i++) records.append(bytes(`k${i}`), bytes(`${i}`), i);
    assert.equal(records.share().fields, fields);
    const seen = PackedRecords.fromShared(records.share());
    assert.equal(text(seen.keyView(4_999)), 'k4999');
    assert.equal(text(seen.valueView(0)), '0');
  });

  test('an overlay begins as large as the one before needed, within bounds', () => {
    const filled = (previous: Overlay | null, count: number): Overlay => {
      const overlay = new Overlay(previous);
      for (let i = 0; i < count; i++) overlay.put(bytes(`k${i}`), bytes('v'));
      return overlay;
    };
    const first = filled(null, 24_000);
    const second = new Overlay(first);
    const sizeBytes = second.sizeBytes();
    assert.ok(sizeBytes >= 2 * 24_000 * 4 && sizeBytes <= 256 * 1024, `${sizeBytes} bytes`);
    assert.equal(new Overlay(filled(null, 50_000)).sizeBytes(), 256 * 1024);
    assert.equal(new Overlay(filled(second, 3)).sizeBytes(), new Overlay().sizeBytes());
  });

  test('another thread reads the same records in the same order', () => {
    const overlay = new Overlay();
    for (let i = 0; i < 1000; i++) overlay.put(bytes(`k${(i * 37) % 1000}`), bytes(`${i}`));
    overlay.delete(bytes('k5'));
    overlay.freeze();
    const records = PackedRecords.fromShared(overlay.share());
    const order = new RecordOrder(records);
    for (let id = 0; id < records.recordCount; id++) order.add(id);
    order.update();
    const seen = [...order.sortedView()].map(
      id => `${text(records.keyView(id)) ?? ''}=${records.isDeleted(id) ? 'deleted' : ''}`,
    );
    const expected: string[] = [];
    overlay.visit((key, value) => {
      expected.push(`${text(key) ?? ''}=${value === null ? 'deleted' : ''}`);
    });
    assert.deepEqual(seen, expected);
    assert.equal(seen.length, 1000);
    assert.ok(seen.includes('k5=deleted'));
  });

  test('refuses writes once frozen, empty keys, long keys and the reserved table', () => {
    const overlay = new Overlay();
    assert.throws(() => overlay.put(new Uint8Array(0), bytes('v')), /key of 0/);
    assert.throws(() => overlay.put(new Uint8Array(1101).fill(1), bytes('v')), /1101/);
    assert.throws(() => overlay.put(bytes('\0x'), bytes('v')), /table 0/);
    assert.throws(() => overlay.share(), /in use/);
    overlay.freeze();
    assert.throws(() => overlay.put(bytes('a'), bytes('v')), /frozen/);
  });
});

for (const [what, rowCount, rowSizeBytes] of [
  ['a few rows', 3, 10],
  ['many rows', 40, 100_000],
  ['very many rows', 400, 200_000],
  ['the largest rows', 40, limits.valueSizeBytesMax],
] as const) {
  test(`the memory of an overlay that the checkpoint has is used by later ones: ${what}`, () =>
    fillTwice(rowCount, rowSizeBytes));
}

test('memory of another size makes room for that of the rows that come now', () => {
  const memory = new RecordMemory();
  const fill = (rowCount: number, rowSizeBytes: number): Overlay => {
    const overlay = new Overlay(null, memory);
    for (let i = 0; i < rowCount; i++) overlay.put(bytes(`\u0002${i}`), Buffer.alloc(rowSizeBytes));
    overlay.freeze();
    return overlay;
  };
  fill(130, 900_000).release();
  const large = fill(20, limits.valueSizeBytesMax);
  const slabs = new Set(large.share().slabs);
  large.release();
  const again = fill(20, limits.valueSizeBytesMax).share().slabs;
  assert.ok(again.every(slab => slabs.has(slab)));
});

test('memory that no overlay has needed for a while is given up', () => {
  const memory = new RecordMemory();
  const fill = (rowCount: number): readonly SharedArrayBuffer[] => {
    const overlay = new Overlay(null, memory);
    for (let i = 0; i < rowCount; i++) overlay.put(bytes(`\u0002${i}`), Buffer.alloc(900_000));
    const {slabs} = overlay.freeze().share();
    overlay.release();
    return slabs;
  };
  const many = new Set(fill(60));
  assert.ok(fill(60).every(slab => many.has(slab)));
  for (let i = 0; i < 20; i++) fill(2);
  const keptCount = fill(60).filter(slab => many.has(slab)).length;
  assert.ok(keptCount <= 3, `${keptCount} slabs of before`);
});

test('an overlay counts what its rows make unusable', () => {
  const overlay = new Overlay();
  // Two of them have no room in a slab.
  for (let i = 0; i < 20; i++) overlay.put(bytes(`\u0002${i}`), Buffer.alloc(600 * 1024));
  const slabsSizeBytes = overlay
    .freeze()
    .share()
    .slabs.reduce((sum, slab) => {
      return sum + slab.byteLength;
    }, 0);
  assert.ok(overlay.sizeBytes() > 0.95 * slabsSizeBytes, `${overlay.sizeBytes()} counted`);
});

function fillTwice(rowCount: number, rowSizeBytes: number): void {
  const memory = new RecordMemory();
  const filled = (fill: number): Overlay => {
    const overlay = new Overlay(null, memory);
    for (let i = 0; i < rowCount; i++) {
      overlay.put(bytes(`\u0002${i}`), Buffer.alloc(rowSizeBytes, fill));
    }
    overlay.freeze();
    return overlay;
  };
  const first = filled(1);
  const slabs = new Set(first.share().slabs);
  first.release();
  const second = filled(2);
  assert.ok(second.share().slabs.every(slab => slabs.has(slab)));
  for (let i = 0; i < rowCount; i++) {
    assert.ok(second.get(bytes(`\u0002${i}`))?.every(byte => byte === 2));
  }
  assert.equal(first.get(bytes('\u00021')), undefined);
  assert.equal(first.recordCount, 0);
}
