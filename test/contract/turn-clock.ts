/** A clock that the test moves, with turns of the event loop that it takes itself. */
import type {Clock} from '../../src/base/clock.ts';

export class TurnClock implements Clock {
  nowMs = 0;
  #afterPoll: (() => void)[] = [];

  wallMs(): number {
    return 0;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  setTimer(): {cancel: () => void} {
    return {cancel: () => undefined};
  }

  afterPoll(callback: () => void): void {
    this.#afterPoll.push(callback);
  }

  /** Nothing waits for the end of the turn. */
  get isIdle(): boolean {
    return this.#afterPoll.length === 0;
  }

  /** What it asks for anew waits for the next turn. */
  turn(): void {
    const due = this.#afterPoll;
    this.#afterPoll = [];
    for (const callback of due) callback();
  }
}
