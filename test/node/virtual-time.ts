/**
 * Time that passes only when a test says so, in turns of one millisecond. A turn has the order of
 * an event loop: timers, then input and output, then what was put after it.
 */
import {must} from '../../src/base/assert.ts';
import type {Clock, Timer} from '../../src/base/clock.ts';

/** Virtual time, of a whole cluster or of one machine. */
export interface Scheduler {
  readonly nowMs: number;
  /** Of the wall clock against `nowMs`, beside the fixed start of the epoch. */
  readonly wallSkewMs: number;
  setTimer(delayMs: number, callback: () => void): Timer;
  afterPoll(callback: () => void): void;
}

interface Alarm {
  readonly atMs: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

export class VirtualTime implements Scheduler {
  wallSkewMs = 0;
  #nowMs = 0;
  /** By time, and by age within the same time. */
  readonly #alarms: Alarm[] = [];
  #afterPoll: (() => void)[] = [];
  #afterPollCount = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Calls of `afterPoll` so far: the work that was asked for. */
  get afterPollCount(): number {
    return this.#afterPollCount;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const alarm = {atMs: this.#nowMs + Math.max(1, delayMs), callback, isCancelled: false};
    const position = this.#alarms.findLastIndex(other => other.atMs <= alarm.atMs) + 1;
    this.#alarms.splice(position, 0, alarm);
    return {
      cancel: () => {
        alarm.isCancelled = true;
      },
    };
  }

  afterPoll(callback: () => void): void {
    this.#afterPollCount++;
    this.#afterPoll.push(callback);
  }

  /** One millisecond: `poll` is the input and output of the turn. */
  turn(poll: () => void): void {
    this.#nowMs += 1;
    while ((this.#alarms[0]?.atMs ?? Infinity) <= this.#nowMs) {
      const alarm = must(this.#alarms.shift(), 'an alarm is due');
      if (!alarm.isCancelled) alarm.callback();
    }
    poll();
    const queued = this.#afterPoll;
    this.#afterPoll = [];
    for (const callback of queued) callback();
  }
}

/** The clock of one life of a member: after a crash nothing it was asked for happens any more. */
export class LifeClock implements Clock {
  readonly #time: Scheduler;
  readonly #wallSkewMs: number;
  #isDead = false;

  constructor(time: Scheduler, wallSkewMs = 0) {
    this.#time = time;
    this.#wallSkewMs = wallSkewMs;
  }

  end(): void {
    this.#isDead = true;
  }

  wallMs(): number {
    const skewMs = this.#wallSkewMs + this.#time.wallSkewMs;
    return Math.floor(1_700_000_000_000 + skewMs + this.#time.nowMs);
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#time.setTimer(delayMs, () => this.#run(callback));
  }

  afterPoll(callback: () => void): void {
    this.#time.afterPoll(() => this.#run(callback));
  }

  #run(callback: () => void): void {
    if (!this.#isDead) callback();
  }
}
