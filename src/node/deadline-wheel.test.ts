/** The wheel of deadlines alone. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {DeadlineWheel} from './deadline-wheel.ts';

interface Item {
  readonly name: string;
  slot: number;
}

function item(name: string): Item {
  return {name, slot: -1};
}

test('everything comes out once, never early, at most a slot late', () => {
  const wheel = new DeadlineWheel<Item>(1_000);
  for (const ms of [900, 1_000, 1_001, 1_250, 2_000, 100_000]) wheel.add(item(`${ms}`), ms);
  const out = new Map<string, number>();
  for (let nowMs = 1_000; nowMs <= 110_000; nowMs += 10) {
    wheel.collect(nowMs, ({name}) => {
      assert.ok(!out.has(name));
      out.set(name, nowMs);
    });
  }
  assert.deepEqual(
    [...out],
    [
      ['900', 1_000],
      ['1000', 1_000],
      ['1001', 1_100],
      ['1250', 1_300],
      ['2000', 2_000],
      ['100000', 100_000],
    ],
  );
  assert.equal(wheel.slotCount, 0);
});

test('what is taken out leaves nothing behind', () => {
  const wheel = new DeadlineWheel<Item>(0);
  for (let i = 0; i < 1_000; i++) {
    const short = item(`${i}`);
    wheel.add(short, i * 1_000);
    wheel.remove(short);
    // It is in no slot any more.
    wheel.remove(short);
  }
  assert.equal(wheel.slotCount, 0);
  const [first, second] = [item('first'), item('second')];
  for (const each of [first, second]) wheel.add(each, 500);
  wheel.remove(first);
  const out: string[] = [];
  wheel.collect(500, ({name}) => out.push(name));
  assert.deepEqual(out, ['second']);
});
