/** The Clock of a real process. */
import type {Clock, Timer} from '../base/clock.ts';

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (delayMs, callback): Timer => {
    const timeout = setTimeout(callback, delayMs);
    return {cancel: () => clearTimeout(timeout)};
  },
  afterPoll: callback => {
    setImmediate(callback);
  },
};
