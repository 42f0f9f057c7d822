import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import {must} from '../../src/base/assert.ts';
import type {SimEvent} from './event-queue.ts';
import {EventQueue} from './event-queue.ts';

function drain(queue: EventQueue): void {
  for (let event = queue.take(); event !== null; event = queue.take()) event.run();
}

test('what an event makes for its own instant comes behind what was there', () => {
  const queue = new EventQueue();
  const seen: string[] = [];
  const make = (name: string): SimEvent => queue.add(0, -1, 'timer', () => seen.push(name));
  queue.add(5, -1, 'timer', () => {
    seen.push('first');
    make('made by the first');
    make('cancelled').isCancelled = true;
  });
  queue.add(5, -1, 'timer', () => {
    seen.push('second');
    make('made by the second');
  });
  queue.add(6, -1, 'timer', () => seen.push('later'));
  drain(queue);
  const made = ['made by the first', 'made by the second'];
  assert.deepEqual(seen, ['first', 'second', ...made, 'later']);
  assert.equal(queue.waitingCount, 0);
});

test('events come by time, and within an instant in the order of their making', () => {
  const prng = new Prng(7);
  const queue = new EventQueue();
  const made: {readonly atMs: number; readonly number: number}[] = [];
  const seen: number[] = [];
  for (let number = 0; number < 500; number++) {
    const atMs = prng.integer({min: 0, max: 40});
    made.push({atMs, number});
    queue.add(atMs, -1, 'timer', () => {
      assert.equal(queue.nowMs, atMs);
      seen.push(number);
    });
  }
  drain(queue);
  const expected = made.sort((a, b) => a.atMs - b.atMs || a.number - b.number);
  assert.deepEqual(
    seen,
    expected.map(({number}) => number),
  );
  assert.equal(queue.eventCount, 500);
});

test('a cancelled event leaves no trace', () => {
  const run = (isCancelled: boolean): string => {
    const queue = new EventQueue();
    const event = queue.add(1, 0, 'timer', () => assert.ok(!isCancelled));
    event.isCancelled = isCancelled;
    queue.add(2, 0, 'timer', () => undefined);
    drain(queue);
    return queue.traceHash;
  };
  assert.notEqual(run(true), run(false));
});

test('an event that makes another one at once is followed by it', () => {
  const queue = new EventQueue();
  const seen: string[] = [];
  queue.add(5, 0, 'timer', () => {
    seen.push('first');
    queue.add(0, 0, 'poll', () => seen.push('second'));
  });
  queue.add(6, 0, 'timer', () => seen.push('third'));
  must(queue.take(), 'the first').run();
  drain(queue);
  assert.deepEqual(seen, ['first', 'second', 'third']);
});
