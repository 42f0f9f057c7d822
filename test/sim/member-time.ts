/**
 * Time as one simulated machine sees it: its clock runs faster or slower than the others', its wall
 * clock jumps, and while its process is paused nothing reaches it. What would have happened in the
 * pause happens at its end: timers first, then what waits in the sockets, as an event loop does it.
 */
import type {Timer} from '../../src/base/clock.ts';
import type {EventKind, EventQueue} from './event-queue.ts';
import type {Scheduler} from '../node/virtual-time.ts';

interface Held {
  readonly kind: EventKind;
  readonly run: () => void;
}

export class MemberTime implements Scheduler {
  readonly owner: number;
  readonly #queue: EventQueue;
  /** From the end of an event to what was put after its turn. */
  readonly #turnMs: number;
  /** What each look at the clock takes, so that slices of work end. */
  readonly #lookMs: number;
  wallSkewMs = 0;
  #rate = 1;
  #baseLocalMs = 0;
  #baseMs = 0;
  #lookedMs = 0;
  #isPaused = false;
  #held: Held[] = [];

  constructor(
    queue: EventQueue,
    owner: number,
    pace: {readonly turnMs: number; readonly lookMs: number} = {turnMs: 0, lookMs: 0},
  ) {
    this.#queue = queue;
    this.owner = owner;
    this.#turnMs = pace.turnMs;
    this.#lookMs = pace.lookMs;
  }

  get nowMs(): number {
    this.#lookedMs += this.#lookMs;
    return this.shownMs;
  }

  /** What the clock shows to who only watches: the look takes nothing. */
  get shownMs(): number {
    return this.#baseLocalMs + (this.#queue.nowMs - this.#baseMs) * this.#rate + this.#lookedMs;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Local milliseconds per millisecond from now on. */
  setRate(rate: number): void {
    this.#baseLocalMs += (this.#queue.nowMs - this.#baseMs) * this.#rate;
    this.#baseMs = this.#queue.nowMs;
    this.#rate = rate;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const run = (): void => {
      // It may have been held by a pause and cancelled after that.
      if (!event.isCancelled) callback();
    };
    const event = this.#queue.add(Math.max(1, delayMs) / this.#rate, this.owner, 'timer', () =>
      this.wake('timer', run),
    );
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  afterPoll(callback: () => void): void {
    this.#queue.add(this.#turnMs, this.owner, 'poll', () => this.wake('poll', callback));
  }

  /** Something that the process notices `delayMs` from now, or when it wakes up. */
  notice(delayMs: number, kind: EventKind, callback: () => void): void {
    this.#queue.add(delayMs, this.owner, kind, () => this.wake(kind, callback));
  }

  /** Something that the machine does whether or not the process is paused. */
  machine(delayMs: number, callback: () => void): void {
    this.#queue.add(delayMs, this.owner, 'disk', callback);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    const timers = held.filter(({kind}) => kind === 'timer');
    const others = held.filter(({kind}) => kind !== 'timer');
    for (const {kind, run} of [...timers, ...others]) this.notice(0, kind, run);
  }

  /** The process is gone and with it what waited for it. */
  forget(): void {
    this.#isPaused = false;
    this.#held = [];
  }

  /** Now, or when the pause ends. */
  wake(kind: EventKind, run: () => void): void {
    if (this.#isPaused) this.#held.push({kind, run});
    else run();
  }
}
