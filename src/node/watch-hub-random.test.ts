/** Watchers come, go, stall and break off at random, against a list of all changes. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {bytes, del, deleteRange, put, range, transaction} from '../../test/contract/commands.ts';
import {
  everything,
  one,
  RecordingSink,
  smallRuns,
  Store,
  text,
  type Told,
} from '../../test/node/watched-store.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {prefixEnd} from '../base/bytes.ts';
import {Prng} from '../base/prng.ts';
import type {KeyRange} from '../kv/command.ts';
import {isWithin, textRange} from './watch-index.ts';
import type {Watch} from './watch-service.ts';

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
      else if (dice === 2) follower.sink.fillsAfterFlush = !follower.sink.fillsAfterFlush;
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
  for (const {sink} of followers) {
    sink.isFullNow = false;
    sink.fillsAfterFlush = false;
  }
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
