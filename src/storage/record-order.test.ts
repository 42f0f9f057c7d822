import {deepEqual, equal, ok, throws} from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import {Overlay} from './overlay.ts';
import {PackedRecords} from './packed-records.ts';
import {RecordOrder} from './record-order.ts';

const kinds: Readonly<Record<string, (prng: Prng, i: number) => string>> = {
  random: prng => `k${prng.uint32()}`,
  rising: (_prng, i) => `k${String(i).padStart(9, '0')}`,
  falling: (_prng, i) => `k${String(999_999_999 - i)}`,
  'of two rising series': (_prng, i) => `${'ab'[i % 2] ?? ''}${String(i).padStart(9, '0')}`,
  'long and much alike': prng => `k${'x'.repeat(32 + (prng.uint32() % 5))}${prng.uint32()}`,
  'each the beginning of another': prng => 'k'.repeat(1 + (prng.uint32() % 1000)),
};

class Scene {
  readonly records = PackedRecords.empty();
  readonly order = new RecordOrder(this.records);
  readonly keys = new Set<string>();

  add(key: string): boolean {
    if (this.keys.has(key)) return false;
    this.keys.add(key);
    return this.order.add(this.records.append(Buffer.from(key, 'latin1'), null, 0));
  }

  check(): void {
    const found = [...this.order.sortedView()].map(id =>
      Buffer.from(this.records.keyView(id)).toString('latin1'),
    );
    deepEqual(found, [...this.keys].sort());
  }
}

for (const [kind, makeKey] of Object.entries(kinds)) {
  test(`keys that are ${kind} are put in order, at one stretch or in pieces`, () => {
    const prng = new Prng(7);
    const atOnce = new Scene();
    const inPieces = new Scene();
    let pieceCount = 0;
    for (let i = 0; i < 9_000; i++) {
      const key = makeKey(prng, i);
      atOnce.add(key);
      inPieces.add(key);
      // Additions go on while a sort is under way.
      if (i >= 6_000 && i % 40 === 0 && !inPieces.order.isNearlySorted()) {
        inPieces.order.tend();
        pieceCount++;
      }
    }
    atOnce.order.update();
    atOnce.check();
    inPieces.order.update();
    inPieces.check();
    ok(pieceCount > 0 || inPieces.keys.size < 1_000, 'some of it was done in pieces');
  });
}

test('an order that is tended to from time to time stays nearly sorted', () => {
  const prng = new Prng(3);
  const scene = new Scene();
  for (let i = 0; i < 20_000; i++) scene.add(`k${prng.uint32()}`);
  equal(scene.order.isNearlySorted(), false);
  throws(() => scene.order.sortedView(), /not up to date/);
  let nearlyCount = 0;
  let momentCount = 0;
  for (let i = 0; i < 40_000; i++) {
    if (!scene.add(`k${prng.uint32()}`)) continue;
    momentCount++;
    scene.order.tend();
    if (scene.order.isNearlySorted()) nearlyCount++;
  }
  // It takes a while until what was there at the beginning is sorted.
  ok(nearlyCount > momentCount / 2, `${nearlyCount} of ${momentCount}`);
  equal(scene.order.isNearlySorted(), true);
  scene.order.update();
  scene.check();
});

test('no piece of sorting makes many comparisons', () => {
  for (const tail of ['', 'x'.repeat(1_000)]) {
    const prng = new Prng(11);
    const scene = new Scene();
    for (let i = 0; i < 20_000; i++) scene.add(`k${tail}${prng.uint32()}`);
    let comparisonCount = 0;
    const compare = scene.records.compare.bind(scene.records);
    scene.records.compare = (a, b) => {
      comparisonCount++;
      return compare(a, b);
    };
    let pieceCount = 0;
    while (!scene.order.isNearlySorted()) {
      comparisonCount = 0;
      scene.order.tend();
      pieceCount++;
      // Of long keys, which take four times as long to compare, fewer.
      ok(comparisonCount < (tail === '' ? 12_000 : 4_000), `${comparisonCount} comparisons`);
    }
    ok(pieceCount > 10, `${pieceCount} pieces`);
    scene.order.update();
    scene.check();
  }
});

test('an overlay tells when a scan would be long, and prepares it piece by piece', () => {
  const table = 2;
  const rowKey = (i: number): Uint8Array =>
    Buffer.concat([Buffer.of(table), Buffer.from(`${Math.imul(i, 0x9e37_79b1) >>> 0}`)]);
  const overlay = new Overlay();
  equal(overlay.isReadyToScan(table), true);
  const value = new Uint8Array(1);
  const first = new Overlay();
  for (let i = 0; i < 10_000; i++) first.put(rowKey(i), value);
  // Nobody asked for an order yet.
  equal(first.prepareScans(), false);
  equal(first.isReadyToScan(table), false);
  equal(first.isReadyToScan(table + 1), true);
  let pieceCount = 0;
  while (first.prepareScans()) pieceCount++;
  ok(pieceCount > 3, `${pieceCount} pieces`);
  equal(first.isReadyToScan(table), true);
  // From now on it stays ready, in the overlays that follow too.
  const second = new Overlay(first);
  for (let i = 0; i < 20_000; i++) {
    first.put(rowKey(10_000 + i), value);
    second.put(rowKey(i), value);
    if (i % 500 !== 0) continue;
    equal(first.isReadyToScan(table), true);
    equal(second.isReadyToScan(table), true);
  }
  const keys: Buffer[] = [];
  const range = {start: Uint8Array.of(table), end: Uint8Array.of(table + 1), isReverse: false};
  const cursor = first.cursor(range);
  while (cursor.next()) keys.push(Buffer.from(cursor.keyView()));
  equal(keys.length, 30_000);
  ok(keys.every((key, i) => i === 0 || Buffer.compare(keys[i - 1] ?? key, key) < 0));
});
