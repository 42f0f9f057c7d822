import {deepEqual, equal, ok} from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import {test} from 'node:test';
import {CountedRows} from '../../test/contract/counted-rows.ts';
import {limits} from '../base/limits.ts';
import {StateMeta} from './state-meta.ts';
import {timeIndexKey} from './tables.ts';
import {TimeIndex} from './time-index.ts';

const sampleSizeBytes = limits.historySampleSizeBytes;
const ageMs = Infinity;
const nowMs = 1_000;

/** Remembers where each scan began, in hexadecimal. */
class WatchedRows extends CountedRows {
  readonly scannedFrom: string[] = [];

  override scan(...[range, visit]: Parameters<CountedRows['scan']>): void {
    this.scannedFrom.push(Buffer.from(range.start).toString('hex'));
    super.scan(range, visit);
  }
}

class Scene {
  readonly rows = new WatchedRows();
  readonly meta = new StateMeta();
  readonly index = new TimeIndex(this.rows, this.meta);

  /** A write of so many bytes of history each. */
  write(count: number, sizeBytes = sampleSizeBytes): void {
    for (let i = 0; i < count; i++) {
      this.meta.revision++;
      this.meta.historySizeBytes += sizeBytes;
      this.index.maybeSample(nowMs);
    }
  }

  /** Compacts as far as one look says; false: it says nothing. */
  compact(sizeBytesMax: number): boolean {
    const target = this.index.compactionTarget({nowMs, ageMs, sizeBytesMax});
    if (target === 0) return false;
    this.meta.compactedRevision = target;
    while (this.index.trim(128) === 128);
    return true;
  }
}

test('a look at very much history goes over a part of it, and the next one goes on', () => {
  const scene = new Scene();
  const {rows, meta, index} = scene;
  scene.write(1_000);
  const limit = {nowMs, ageMs, sizeBytesMax: 10 * sampleSizeBytes};
  let lookCount = 0;
  for (; scene.compact(limit.sizeBytesMax); lookCount++) {
    rows.reset();
    index.compactionTarget(limit);
    rows.check();
  }
  equal(lookCount, 4);
  equal(meta.revision - meta.compactedRevision, 10);
});

test('history is kept to a limit below the size of a sample as far as samples tell', () => {
  const scene = new Scene();
  scene.write(5, sampleSizeBytes / 2);
  ok(scene.compact(1_000));
  // The fifth write is behind the newest sample.
  equal(scene.meta.compactedRevision, scene.meta.revision - 1);
  equal(scene.compact(1_000), false);
});

test('no scan goes over samples that were removed', () => {
  const scene = new Scene();
  const {rows, meta, index} = scene;
  scene.write(50);
  ok(scene.compact(10 * sampleSizeBytes));
  const newestPassed = Buffer.from(timeIndexKey(nowMs, meta.compactedRevision)).toString('hex');
  rows.scannedFrom.length = 0;
  index.trim(128);
  index.compactionTarget({nowMs, ageMs, sizeBytesMax: 0});
  deepEqual(rows.scannedFrom, [newestPassed, newestPassed]);
  // Other rows, of which nothing was removed.
  index.reload();
  index.trim(128);
  deepEqual(rows.scannedFrom.slice(2), ['06']);
});
