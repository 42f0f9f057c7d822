/**
 * Lets what watchers were told leave, each one's in one piece, in the order in which they were
 * told first. For what has to wait for a later turn, more may be told meanwhile: the further the
 * node is behind, the more of it goes together.
 */
import type {Clock} from '../base/clock.ts';
import type {Watcher} from './watcher.ts';

/** The clock is looked at every so many watchers; so many have their turn however slow it is. */
const watchersPerLook = 16;

export class WatchSender {
  readonly #clock: Clock;
  readonly #onFull: (watcher: Watcher) => void;
  /** Those of isUnflushed, and ended ones. */
  readonly #waiting: Watcher[] = [];

  /** `onFull`: there is no room for more. */
  constructor(clock: Clock, onFull: (watcher: Watcher) => void) {
    this.#clock = clock;
    this.#onFull = onFull;
  }

  /** In front of what it is told. */
  add(watcher: Watcher): void {
    if (watcher.isUnflushed) return;
    watcher.isUnflushed = true;
    this.#waiting.push(watcher);
  }

  /** Goes on for `lengthMs` at most; false: some wait still. */
  sendSome(lengthMs: number): boolean {
    const waiting = this.#waiting;
    if (waiting.length === 0) return true;
    const startedAtMs = this.#clock.monotonicMs();
    let count = 0;
    for (const watcher of waiting) {
      const isLook = count > 0 && count % watchersPerLook === 0;
      if (isLook && this.#clock.monotonicMs() - startedAtMs > lengthMs) break;
      count++;
      if (watcher.stage !== 'ended' && !watcher.flush()) this.#onFull(watcher);
    }
    waiting.splice(0, count);
    return waiting.length === 0;
  }
}
