import assert from 'node:assert/strict';
import {test} from 'node:test';
import {EventQueue} from './event-queue.ts';
import {MemberTime} from './member-time.ts';

function runUntil(queue: EventQueue, endMs: number): void {
  const end = queue.add(endMs - queue.nowMs, -1, 'control', () => undefined);
  for (let event = queue.take(); event !== end; event = queue.take()) event?.run();
}

test('a slow clock reaches its timers late, and shows less time', () => {
  const queue = new EventQueue();
  const time = new MemberTime(queue, 0);
  time.setRate(0.5);
  let firedAtMs = 0;
  time.setTimer(100, () => {
    firedAtMs = queue.nowMs;
  });
  runUntil(queue, 300);
  assert.equal(firedAtMs, 200);
  assert.equal(time.nowMs, 150);
});

test('a pause holds everything; at its end timers come before what waits in sockets', () => {
  const queue = new EventQueue();
  const time = new MemberTime(queue, 0);
  const seen: string[] = [];
  time.notice(10, 'message', () => seen.push('message'));
  time.setTimer(20, () => {
    seen.push('timer');
    time.afterPoll(() => seen.push('after poll'));
  });
  const cancelled = time.setTimer(30, () => seen.push('cancelled'));
  time.pause();
  runUntil(queue, 50);
  assert.deepEqual(seen, []);
  cancelled.cancel();
  time.resume();
  runUntil(queue, 60);
  assert.deepEqual(seen, ['timer', 'message', 'after poll']);
});

test('what waited for a process that is gone never happens', () => {
  const queue = new EventQueue();
  const time = new MemberTime(queue, 0);
  time.pause();
  time.notice(1, 'message', () => assert.fail('the process is gone'));
  runUntil(queue, 5);
  time.forget();
  time.resume();
  runUntil(queue, 10);
  assert.equal(queue.waitingCount, 0);
});
