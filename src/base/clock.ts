/**
 * Time and turns as the shell sees them. The server passes the system's, the simulator its own.
 * The core and the state machine never see a clock at all.
 */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump. Used for proposedAtMs only. */
  wallMs(): number;
  /** Monotonic milliseconds with a fraction; the zero point means nothing. */
  monotonicMs(): number;
  /** Runs `callback` once, not before `delayMs` from now. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Runs `callback` after the I/O of this event-loop turn has been read (setImmediate). */
  afterPoll(callback: () => void): void;
}
