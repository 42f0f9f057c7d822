/**
 * The hub over the real state machine in virtual time, against a list of all changes that the test
 * keeps by itself.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {del, put, range, transaction} from '../../test/contract/commands.ts';
import {
  big,
  everything,
  one,
  RecordingSink,
  smallRuns,
  Store,
} from '../../test/node/watched-store.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {must} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {RevisionReader} from './revision-reader.ts';
import type {WatchEvent} from './watch-event.ts';
import {WatchHub} from './watch-hub.ts';
import type {WatchSink} from './watch-service.ts';

test('a thousand watchers share one event and what a door made of it', () => {
  const store = new Store();
  const events = new Set<WatchEvent>();
  const encodings = new Set<Uint8Array>();
  let encodedCount = 0;
  const sink: WatchSink = {
    onRun: run => {
      for (const event of run.events) events.add(event);
      encodings.add(
        run.encoded(0, () => {
          encodedCount++;
          return new Uint8Array(1);
        }),
      );
    },
    flush: () => undefined,
    onProgress: () => undefined,
    onEnd: () => undefined,
    isFull: () => false,
  };
  for (let i = 0; i < 500; i++) store.open(one('a'), 0, sink);
  for (let i = 0; i < 500; i++) store.open(range('a', 'b'), 0, sink);
  store.turns(3);
  store.put('a', '1');
  store.turns(3);
  assert.equal(events.size, 1);
  assert.equal(encodings.size, 1);
  assert.equal(encodedCount, 1);
  // Those that come later and resume from there, too.
  for (let i = 0; i < 500; i++) store.open(one('a'), 2, sink);
  store.turns(3);
  assert.equal(encodedCount, 1);
});

/** Runs of two small events each. */
function putMany(store: Store, count: number): void {
  const puts = Array.from({length: count}, (_, i) => put(`k${String(100 + i)}`, 'v'));
  store.apply(transaction({success: puts}));
}

test('a large revision is told in runs, each encoded once for all, in several turns', () => {
  const store = new Store();
  const sinks = Array.from({length: 64}, () => new RecordingSink());
  for (const sink of sinks) store.open(everything, 0, sink);
  store.turns(2);
  for (let i = 0; i < 20; i++) putMany(store, 100);
  store.apply(transaction({success: Array.from({length: 100}, (_, i) => put(`x${i}`, big))}));
  store.turns(1);
  // Behind each 64 KiB the clock is looked at; here it stands still, so the steps are bounded.
  store.turns(200);
  const [first] = sinks;
  assert.ok(first !== undefined);
  const runs = first.runs.filter(run => run.revision === 22);
  assert.ok(runs.length > 5, `${runs.length} runs`);
  assert.deepEqual(runs.map(({isLast}) => isLast).indexOf(true), runs.length - 1);
  for (const run of runs) assert.ok(run.sizeBytes <= limits.watchRunSizeBytesMax);
  // The same objects: what a door makes of them is made once.
  for (const sink of sinks) {
    assert.equal(sink.progress, 22);
    assert.ok(sink.runs.every((run, i) => run === first.runs[i]));
  }
});

test('one that is full in the middle of a revision goes on there, and holds up nobody', t => {
  t.after(setLimits(smallRuns));
  const store = new Store();
  const [quick, slow, reader] = [new RecordingSink(), new RecordingSink(), new RecordingSink()];
  store.open(everything, 0, quick);
  const watch = store.open(everything, 0, slow, true);
  store.turns(2);
  slow.fillsAfterRun = true;
  putMany(store, 10);
  putMany(store, 10);
  store.turns(5);
  assert.equal(quick.progress, 3);
  assert.equal(slow.told.length, 2);
  // One that reads the history stops in the middle of it, too.
  reader.fillsAfterRun = true;
  const reading = store.open(range('k103', null), 2, reader);
  store.turns(5);
  assert.equal(reader.told.length, 2);
  for (let i = 0; i < 20; i++) {
    for (const sink of [slow, reader]) sink.isFullNow = false;
    watch.resume();
    reading.resume();
    store.turns(3);
  }
  assert.deepEqual(
    slow.told.map(({revision, key}) => [revision, key]),
    quick.told.map(({revision, key}) => [revision, key]),
  );
  assert.deepEqual(
    reader.told.map(({revision, key}) => [revision, key]),
    quick.told.filter(({key}) => key >= 'k103').map(({revision, key}) => [revision, key]),
  );
  assert.equal(slow.told.filter(({previous}) => previous === 'v').length, 10);
});

test('a revision that goes away in the middle ends the watch in front of it', t => {
  t.after(setLimits(smallRuns));
  const store = new Store();
  const sink = new RecordingSink();
  const watch = store.open(everything, 0, sink);
  store.turns(2);
  store.put('a', '1');
  store.turns(2);
  sink.fillsAfterRun = true;
  putMany(store, 10);
  store.turns(2);
  assert.equal(sink.told.length, 3);
  putMany(store, 10);
  store.apply({type: 'compact', revision: 4});
  while (store.machine.scrub(64));
  sink.isFullNow = false;
  watch.resume();
  store.turns(2);
  assert.deepEqual(sink.ended, {code: 'REVISION_COMPACTED', resumeFrom: 3});
});

test('large values of before are not kept with the small revision that replaced them', () => {
  const store = new Store();
  store.put('a', big);
  store.put('a', 'small');
  const revision = store.machine.revision();
  const reader = new RevisionReader(store.machine);
  const [event] = [...reader.events(revision, 0)];
  assert.ok(event !== undefined && reader.recent.get(revision) !== null);
  reader.loadPrevious(event);
  assert.equal(event.previous?.value.length, big.length);
  assert.equal(reader.recent.get(revision), null);
  reader.recent.keep(revision, [event]);
  assert.equal(reader.recent.get(revision), null);
});

test('nobody watches: nothing is scheduled', () => {
  const store = new Store();
  const before = store.time.afterPollCount;
  for (let i = 0; i < 100; i++) store.put('a', `${i}`);
  assert.equal(store.time.afterPollCount, before);
  const sink = new RecordingSink();
  const watch = store.open(everything, 0, sink);
  store.turns(2);
  watch.close();
  watch.close();
  store.turns(200);
  const after = store.time.afterPollCount;
  store.put('a', 'x');
  store.turns(2);
  assert.equal(store.time.afterPollCount, after);
  assert.deepEqual(sink.told, []);
});

test('a quiet watch hears how far it is, within fifteen seconds', () => {
  const store = new Store();
  const sink = new RecordingSink();
  store.open(one('a'), 0, sink);
  store.turns(2);
  for (let i = 0; i < 5; i++) store.put('b', `${i}`);
  store.turns(15_000);
  assert.equal(sink.progress, 6);
  // Not further than what was told: a future one stays where it begins.
  const ahead = new RecordingSink();
  store.open(one('a'), 100, ahead);
  store.turns(15_000);
  assert.equal(ahead.progress, 99);
});

test('a watcher without room is told nothing, and goes on where it was', () => {
  const store = new Store();
  const sink = new RecordingSink();
  const watch = store.open(one('a'), 0, sink);
  store.turns(2);
  sink.isFullNow = true;
  for (let i = 0; i < 10; i++) store.put('a', `${i}`);
  store.turns(1_000);
  assert.deepEqual(
    sink.told.map(({value}) => value),
    ['0'],
  );
  sink.isFullNow = false;
  watch.resume();
  store.turns(2);
  assert.deepEqual(
    sink.told.map(({value}) => value),
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  );
});

test('what one turn tells a watcher leaves together', () => {
  const store = new Store();
  const [sink, other] = [new RecordingSink(), new RecordingSink()];
  store.open(one('a'), 0, sink);
  store.open(one('b'), 0, other);
  store.turns(2);
  for (let i = 0; i < 5; i++) store.put('a', `${i}`);
  store.put('b', '5');
  store.turns(1);
  assert.deepEqual(sink.flushes, [5]);
  assert.deepEqual(other.flushes, [1]);
  store.put('a', '6');
  store.turns(1);
  assert.deepEqual(sink.flushes, [5, 1]);
  // Whoever reads the history, too.
  const reader = new RecordingSink();
  store.open(one('a'), 2, reader);
  store.turns(2);
  assert.deepEqual(reader.flushes, [6]);
});

test('one that is full only when all has left goes on behind it', t => {
  t.after(setLimits(smallRuns));
  const store = new Store();
  const [sink, reader] = [new RecordingSink(), new RecordingSink()];
  const watch = store.open(everything, 0, sink);
  store.turns(2);
  sink.fillsAfterFlush = true;
  for (let i = 0; i < 3; i++) putMany(store, 10);
  store.turns(2);
  assert.equal(sink.told.length, 30);
  store.put('a', '1');
  store.turns(100);
  assert.equal(sink.told.length, 30);
  sink.isFullNow = false;
  watch.resume();
  store.turns(2);
  assert.equal(sink.told.length, 31);
  // Also one that reads the history, in whose steps the turn ends.
  reader.fillsAfterFlush = true;
  const reading = store.open(everything, 2, reader);
  for (let i = 0; i < 10; i++) {
    store.turns(2);
    reader.isFullNow = false;
    reading.resume();
  }
  assert.deepEqual(reader.told, sink.told);
});

test('one that takes nothing for too long is ended; so is one that stays behind', () => {
  const store = new Store();
  for (let i = 0; i < 100; i++) store.put('b', `${i}`);
  const stuck = new RecordingSink();
  store.open(one('a'), 0, stuck);
  const slow = new RecordingSink();
  const watch = store.open(one('a'), 0, slow);
  // Whoever reads the history from the beginning is not behind: it has not been there yet.
  const reader = new RecordingSink();
  reader.isFullNow = true;
  const reading = store.open(everything, 2, reader);
  store.turns(2);
  for (const sink of [stuck, slow]) sink.isFullNow = true;
  for (let i = 0; i < 1000; i++) store.put('a', `${i}`);
  reading.resume();
  for (let i = 0; i < 200; i++) {
    store.turns(100);
    watch.resume();
    reading.resume();
  }
  assert.deepEqual(stuck.ended, {code: 'WATCH_TOO_SLOW', resumeFrom: 103});
  assert.equal(slow.ended?.code, 'WATCH_TOO_SLOW');
  assert.equal(slow.ended.resumeFrom, must(slow.told.at(-1), 'something').revision + 1);
  assert.ok(slow.told.length > 50 && slow.told.length < 150, `${slow.told.length}`);
  assert.equal(store.hub.count, 1);
});

test('when what is wanted is removed before it is told, the watch ends and says so', () => {
  const store = new Store();
  const sink = new RecordingSink();
  const watch = store.open(one('a'), 0, sink);
  store.turns(2);
  sink.isFullNow = true;
  for (let i = 0; i < 5; i++) store.put('a', `${i}`);
  store.turns(2);
  store.apply({type: 'compact', revision: 5});
  while (store.machine.scrub(64));
  sink.isFullNow = false;
  watch.resume();
  store.turns(2);
  assert.deepEqual(sink.ended, {code: 'REVISION_COMPACTED', resumeFrom: 3});
  assert.throws(() => store.open(one('a'), 5, sink), {code: 'REVISION_COMPACTED'});
  store.open(one('a'), 6, new RecordingSink());
});

test('a revision that was gone before anybody read it is not taken for an empty one', () => {
  const store = new Store();
  const live = new RecordingSink();
  const slow = new RecordingSink();
  store.open(everything, 0, live);
  const watch = store.open(everything, 0, slow);
  store.turns(2);
  slow.isFullNow = true;
  store.put('a', '0');
  store.turns(2);
  for (const value of ['1', '2', '3']) store.put('a', value);
  store.apply({type: 'compact', revision: 4});
  while (store.machine.scrub(64));
  store.turns(2);
  assert.deepEqual(live.ended, {code: 'REVISION_COMPACTED', resumeFrom: 3});
  slow.isFullNow = false;
  watch.resume();
  store.turns(2);
  assert.deepEqual(slow.ended, {code: 'REVISION_COMPACTED', resumeFrom: 3});
  assert.equal(slow.told.length, 1);
});

test('a compacted revision that is still there is told to those that watched before', () => {
  const store = new Store();
  const sink = new RecordingSink();
  store.open(one('a'), 0, sink, true);
  store.turns(2);
  store.put('a', '1');
  store.apply(transaction({success: [del('a')]}));
  store.apply({type: 'compact', revision: 3});
  store.turns(2);
  assert.deepEqual(
    sink.told.map(({value, previous}) => [value, previous]),
    [
      ['1', null],
      [null, '1'],
    ],
  );
});

test('a node that no longer serves ends its watches', () => {
  const store = new Store();
  const sink = new RecordingSink();
  store.open(one('a'), 0, sink);
  store.turns(150);
  store.refusal = new RosettaError('DIVERGED', 'different');
  store.turns(150);
  assert.deepEqual(sink.ended, {code: 'DIVERGED', resumeFrom: 2});
  assert.equal(store.hub.count, 0);
});

test('a node that serves nobody takes no watch', () => {
  const store = new Store();
  store.put('a', '1');
  store.refusal = new RosettaError('DIVERGED', 'different');
  assert.throws(() => store.open(one('a'), 2, new RecordingSink()), {code: 'DIVERGED'});
  assert.equal(store.hub.count, 0);
});

/** A store of which this node gets a snapshot: rows at revisions that it has never told. */
class ReplacedStore {
  readonly time = new VirtualTime();
  /** Revisions that have an event, of one key each. */
  readonly events = new Set<number>();
  newest = 1;
  compacted = 0;
  floor = 0;
  lookCount = 0;
  readonly hub = new WatchHub({
    source: {
      revision: () => this.newest,
      compactedRevision: () => this.compacted,
      eventFloor: () => this.floor,
      event: (revision, sub) => {
        this.lookCount++;
        if (sub > 0 || !this.events.has(revision)) return null;
        const value = Buffer.from(String(revision));
        const fields = {isTombstone: false, createRevision: revision, version: 1, leaseId: 0};
        return {...fields, previousRevision: 0, previousSub: 0, key: Buffer.from('a'), value};
      },
      recordBefore: () => null,
    },
    clock: new LifeClock(this.time),
    refusal: () => null,
  });

  turns(count: number): void {
    for (let i = 0; i < count; i++) this.time.turn(() => undefined);
  }
}

test('a revision that is compacted away while it is told is told to its end, and ends nobody', () => {
  const store = new ReplacedStore();
  const sinks = Array.from({length: 5_000}, () => new RecordingSink());
  for (const sink of sinks) {
    store.hub.open({range: everything, from: 0, wantsPrevious: false}, sink);
  }
  const ofAnotherKey = new RecordingSink();
  store.hub.open({range: one('b'), from: 0, wantsPrevious: false}, ofAnotherKey);
  store.turns(10);
  store.events.add(2);
  store.newest = 2;
  store.hub.wake();
  store.turns(1);
  const toldCount = (): number => sinks.filter(({told}) => told.length === 1).length;
  assert.ok(toldCount() > 0 && toldCount() < sinks.length, `${toldCount()} were told`);
  store.compacted = 2;
  store.floor = 3;
  store.turns(10);
  assert.equal(toldCount(), sinks.length);
  assert.ok([...sinks, ofAnotherKey].every(({ended}) => ended === null));
});

test('a watch that waits for what a snapshot brings passes all that is gone at once', () => {
  const store = new ReplacedStore();
  const late = new RecordingSink();
  const early = new RecordingSink();
  store.hub.open({range: everything, from: 1_000_001, wantsPrevious: false}, late);
  store.hub.open({range: everything, from: 5, wantsPrevious: false}, early);
  store.turns(3);
  for (let revision = 999_990; revision <= 1_000_000; revision++) store.events.add(revision);
  store.newest = 1_000_000;
  store.floor = 999_990;
  store.hub.wake();
  store.turns(3);
  assert.ok(store.lookCount < 100, `${store.lookCount} looks`);
  assert.equal(early.ended?.code, 'REVISION_COMPACTED');
  store.events.add(1_000_001);
  store.newest = 1_000_001;
  store.hub.wake();
  store.turns(3);
  assert.deepEqual(
    late.told.map(({revision}) => revision),
    [1_000_001],
  );
});

test('a gap of revisions that never had events, behind a restored backup, ends whom it concerns', () => {
  const store = new ReplacedStore();
  const within = new RecordingSink();
  const behind = new RecordingSink();
  store.hub.open({range: everything, from: 3, wantsPrevious: false}, within);
  store.hub.open({range: everything, from: 2_000_001, wantsPrevious: false}, behind);
  store.turns(3);
  // The backup ended at 10 and goes on at 2,000,000; its history is not removed yet.
  for (let revision = 2; revision <= 10; revision++) store.events.add(revision);
  store.newest = 2_000_000;
  store.compacted = 2_000_000;
  store.hub.wake();
  store.turns(3);
  assert.equal(within.ended?.code, 'REVISION_COMPACTED');
  assert.equal(behind.ended, null);
  store.events.add(2_000_001);
  store.newest = 2_000_001;
  store.hub.wake();
  store.turns(3);
  assert.deepEqual(
    behind.told.map(({revision}) => revision),
    [2_000_001],
  );
  assert.ok(store.lookCount < 1_000, `${store.lookCount} looks`);
});

test('there is a limit to how many may watch', t => {
  t.after(setLimits({watchCountMax: 2}));
  const store = new Store();
  const watches = [1, 2].map(() => store.open(everything, 0, new RecordingSink()));
  assert.throws(() => store.open(everything, 0, new RecordingSink()), {code: 'OVERLOADED'});
  watches[0]?.close();
  store.open(everything, 0, new RecordingSink());
  assert.equal(limits.watchCountMax, 2);
});
