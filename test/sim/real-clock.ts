/** The system's clock, for tests in real time. */
import type {Clock, Timer} from '../../src/base/clock.ts';

export const realClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = setTimeout(callback, delayMs);
    return {cancel: () => clearTimeout(timer)};
  },
  afterPoll: callback => void setImmediate(callback),
};
