/** A clock that stands still, with turns of the event loop that a test takes itself. */
import type {Clock} from '../../src/base/clock.ts';

export class TurnClock implements Clock {
  #afterPoll: (() => void)[] = [];

  wallMs(): number {
    return 0;
  }

  monotonicMs(): number {
    return 0;
  }

  setTimer(): {cancel: () => void} {
    return {cancel: () => undefined};
  }

  afterPoll(callback: () => void): void {
    this.#afterPoll.push(callback);
  }

  /** What it asks for anew waits for the next turn. */
  turn(): void {
    const due = this.#afterPoll;
    this.#afterPoll = [];
    for (const callback of due) callback();
  }
}
