/**
 * The hub over the real state machine in virtual time, against a list of all changes that the test
 * keeps by itself.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  bytes,
  del,
  deleteRange,
  encode,
  put,
  range,
  transaction,
} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {must} from '../base/assert.ts';
import {keySuccessor, prefixEnd} from '../base/bytes.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import type {CommandBody, KeyRange} from '../kv/command.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {WatchEvent} from './watch-event.ts';
import type {WatchRun} from './watch-run.ts';
import {WatchHub} from './watch-hub.ts';
import {isWithin, textRange} from './watch-index.ts';
import type {Watch, WatchSink} from './watch-service.ts';

interface Told {
  readonly revision: number;
  readonly key: string;
  readonly value: string | null;
  readonly previous: string | null;
}

/** Remembers what it was told, and checks what can be checked at once. */
class RecordingSink implements WatchSink {
  readonly told: Told[] = [];
  readonly runs: WatchRun[] = [];
  fillsAfterRun = false;
  /** All up to here are known to have been told. */
  progress = 0;
  ended: {readonly code: string; readonly resumeFrom: number} | null = null;
  isFullNow = false;
  #partOf = 0;

  onRun(run: WatchRun): void {
    assert.equal(this.ended, null);
    this.runs.push(run);
    const last = run.events.length - 1;
    for (const [i, event] of run.events.entries()) this.#onEvent(event, run.isLast && i === last);
    if (this.fillsAfterRun) this.isFullNow = true;
  }

  #onEvent({revision, keyText, record, previous}: WatchEvent, isLast: boolean): void {
    assert.ok(this.#partOf === 0 || this.#partOf === revision, 'revisions are told as a whole');
    assert.ok(revision > this.progress, `${revision} after ${this.progress}`);
    const value = record === null ? null : text(record.value);
    this.told.push({revision, key: keyText, value, previous: previous && text(previous.value)});
    this.#partOf = isLast ? 0 : revision;
    if (isLast) this.progress = revision;
  }

  onProgress(revision: number): void {
    assert.equal(this.#partOf, 0);
    assert.ok(revision >= this.progress);
    this.progress = revision;
  }

  onEnd(error: RosettaError, resumeFrom: number): void {
    assert.equal(this.ended, null);
    assert.ok(resumeFrom > this.progress || this.progress === 0);
    this.ended = {code: error.code, resumeFrom};
  }

  isFull(): boolean {
    return this.isFullNow;
  }
}

class Store {
  readonly time = new VirtualTime();
  readonly clock = new LifeClock(this.time);
  readonly machine = new KvStateMachine(new FakeRows());
  refusal: RosettaError | null = null;
  readonly hub = new WatchHub({
    source: this.machine,
    clock: this.clock,
    refusal: () => this.refusal,
  });
  #index = 0;

  constructor() {
    this.machine.observe(() => this.hub.wake());
  }

  apply(body: CommandBody): void {
    const entry = {index: ++this.#index, proposedAtMs: this.time.nowMs, data: encode(body)};
    assert.notEqual(this.machine.apply(entry).type, 'refused');
  }

  put(key: string, value: string): void {
    this.apply(transaction({success: [put(key, value)]}));
  }

  open(keys: KeyRange, from: number, sink: WatchSink, wantsPrevious = false): Watch {
    return this.hub.open({range: keys, from, wantsPrevious}, sink);
  }

  turns(count: number): void {
    for (let i = 0; i < count; i++) this.time.turn(() => undefined);
  }
}

const everything = range('', null);
const big = 'v'.repeat(5_000);

function text(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}

function one(key: string): KeyRange {
  return {start: bytes(key), end: keySuccessor(bytes(key))};
}

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
const smallRuns = {watchRunSizeBytesMax: 300};

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

test('there is a limit to how many may watch', t => {
  t.after(setLimits({watchCountMax: 2}));
  const store = new Store();
  const watches = [1, 2].map(() => store.open(everything, 0, new RecordingSink()));
  assert.throws(() => store.open(everything, 0, new RecordingSink()), {code: 'OVERLOADED'});
  watches[0]?.close();
  store.open(everything, 0, new RecordingSink());
  assert.equal(limits.watchCountMax, 2);
});

interface Follower {
  sink: RecordingSink;
  watch: Watch;
  readonly keys: KeyRange;
  readonly wantsPrevious: boolean;
  /** What it must have been told, from the first sink on. */
  readonly from: number;
  readonly told: Told[];
}

test('random watchers are told everything once, in order, whatever happens in between', t => {
  for (let seed = 31; seed <= 60; seed++) {
    const putBack = setLimits(smallRuns);
    t.after(putBack);
    runRandom(seed);
    putBack();
  }
  for (let seed = 1; seed <= 30; seed++) runRandom(seed);
});

function runRandom(seed: number): void {
  const prng = new Prng(seed);
  const below = (max: number): number => prng.integer({min: 0, max: max - 1});
  const store = new Store();
  const state = new Map<string, string>();
  const all: Told[] = [];
  const followers: Follower[] = [];
  const key = (): string => `k${below(6).toString(3)}`;
  const drawRange = (): KeyRange => {
    const dice = below(4);
    if (dice === 0) return one(key());
    if (dice === 1) return {start: bytes('k1'), end: prefixEnd(bytes('k1'))};
    return dice === 2 ? everything : range(key(), below(2) === 0 ? null : key());
  };
  const change = (changed: string, value: string | null): void => {
    const revision = store.machine.revision() + 1;
    all.push({revision, key: changed, value, previous: state.get(changed) ?? null});
    if (value === null) state.delete(changed);
    else state.set(changed, value);
  };
  const write = (): void => {
    const dice = below(10);
    if (dice === 0) {
      for (const name of [...state.keys()].sort()) change(name, null);
      store.apply(transaction({success: [deleteRange(everything)]}));
    } else if (dice === 1) {
      const name = key();
      if (state.has(name)) change(name, null);
      store.apply(transaction({success: [del(name)]}));
    } else {
      const names = new Set(Array.from({length: dice < 4 ? 3 : 1}, key));
      const puts = [...names].map(name => put(name, `v${below(1000)}`));
      for (const {key: changed, value} of puts) change(text(changed), text(value));
      store.apply(transaction({success: puts}));
    }
  };
  const open = (follower: Follower, from: number): void => {
    follower.sink = new RecordingSink();
    follower.watch = store.open(follower.keys, from, follower.sink, follower.wantsPrevious);
  };
  const follow = (): void => {
    const newest = store.machine.revision();
    const from = newest + 1 + below(2) * (below(4) - Math.min(newest, below(30)));
    if (from <= store.machine.compactedRevision()) return;
    const follower = {keys: drawRange(), wantsPrevious: below(2) === 0, from, told: []};
    const sink = new RecordingSink();
    const watch = store.open(follower.keys, from, sink, follower.wantsPrevious);
    followers.push({...follower, sink, watch});
  };
  /** As a client does whose connection broke: it goes on behind the last whole revision. */
  const reopen = (follower: Follower): void => {
    const {sink, told, from} = follower;
    const whole = sink.told.filter(({revision}) => revision <= sink.progress);
    told.push(...whole);
    const resume = Math.max(from, sink.progress + 1, (told.at(-1)?.revision ?? 0) + 1);
    follower.watch.close();
    if (resume > store.machine.compactedRevision()) open(follower, resume);
    else followers.splice(followers.indexOf(follower), 1);
  };
  for (let i = 0; i < 300; i++) {
    for (let n = below(3); n > 0; n--) write();
    if (below(6) === 0) follow();
    const follower = followers[below(followers.length + 3)];
    if (follower !== undefined) {
      const dice = below(4);
      if (dice === 0) follower.sink.isFullNow = !follower.sink.isFullNow;
      else if (dice === 1) reopen(follower);
    }
    for (const {sink, watch} of followers) if (!sink.isFullNow) watch.resume();
    if (below(20) === 0) {
      const revision = Math.max(1, store.machine.revision() - below(20));
      store.apply({type: 'compact', revision});
    }
    if (below(3) === 0) store.machine.scrub(2 + below(10));
    store.machine.saveMeta();
    if (below(25) === 0) store.machine.reload();
    store.turns(below(3));
  }
  for (const follower of followers) follower.sink.isFullNow = false;
  for (const {watch} of followers) watch.resume();
  store.turns(20);
  for (const {keys, from, wantsPrevious, sink, told} of followers) {
    const whole = sink.told.filter(({revision}) => revision <= sink.progress);
    const seen = [...told, ...(sink.ended === null ? sink.told : whole)];
    const to = sink.ended === null ? Infinity : sink.ended.resumeFrom;
    assert.ok(sink.ended === null || sink.ended.code === 'REVISION_COMPACTED');
    const expected = all
      .filter(event => event.revision >= from && event.revision < to)
      .filter(event => isWithin(event.key, textRange(keys)))
      .map(event => (wantsPrevious ? event : {...event, previous: null}));
    // Without being asked for it, what was before may be known from another watcher.
    const shown = wantsPrevious ? seen : seen.map(event => ({...event, previous: null}));
    assert.deepEqual(shown, expected, `seed ${seed}`);
  }
}
