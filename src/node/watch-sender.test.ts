import assert from 'node:assert/strict';
import {test} from 'node:test';
import {everything} from '../../test/node/watched-store.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import type {Clock} from '../base/clock.ts';
import {textRange} from './watch-index.ts';
import {WatchSender} from './watch-sender.ts';
import type {WatchSink} from './watch-service.ts';
import {Watcher} from './watcher.ts';

const sink: WatchSink = {
  onRun: () => undefined,
  flush: () => undefined,
  onProgress: () => undefined,
  onEnd: () => undefined,
  isFull: () => false,
};

function watcherOf(methods: Partial<WatchSink>): Watcher {
  return new Watcher({
    range: textRange(everything),
    wantsPrevious: false,
    next: 2,
    sink: {...sink, ...methods},
    nowMs: 0,
  });
}

test('some leave in each turn, in order, and what is told meanwhile leaves with them', () => {
  let nowMs = 0;
  const lifeClock = new LifeClock(new VirtualTime());
  const clock: Clock = {
    wallMs: () => lifeClock.wallMs(),
    monotonicMs: () => nowMs,
    setTimer: (delayMs, callback) => lifeClock.setTimer(delayMs, callback),
    afterPoll: callback => lifeClock.afterPoll(callback),
  };
  const flushed: number[] = [];
  const watchers = Array.from({length: 50}, (_, i) =>
    watcherOf({
      flush: () => {
        nowMs += 0.1;
        flushed.push(i);
      },
      isFull: () => i === 3,
    }),
  );
  const full: Watcher[] = [];
  const sender = new WatchSender(clock, watcher => full.push(watcher));
  assert.equal(sender.sendSome(1), true);
  for (const watcher of watchers) sender.add(watcher);
  assert.equal(sender.sendSome(1), false);
  assert.deepEqual(flushed, [...Array(16).keys()]);
  assert.deepEqual(full, [watchers[3]]);
  // Those that wait keep their place, the others come behind them.
  for (const watcher of watchers) sender.add(watcher);
  assert.equal(sender.sendSome(0), false);
  assert.equal(flushed.length, 32);
  assert.equal(sender.sendSome(100), true);
  assert.deepEqual(flushed, [...Array(50).keys(), ...Array(16).keys()]);
});

test('nothing is sent to a watcher that has ended', () => {
  const watcher = watcherOf({flush: () => assert.fail('it was told of its end')});
  const sender = new WatchSender(new LifeClock(new VirtualTime()), () => undefined);
  sender.add(watcher);
  watcher.stage = 'ended';
  assert.equal(sender.sendSome(1), true);
});
