/**
 * Bounds how many bytes from outside one turn of the event loop works on. A socket hands over all
 * that has arrived, megabytes of it when its sender is quick, and every other socket and timer
 * waits meanwhile. Who asks in vain defers the rest of its work to a later turn; deferred work runs
 * in the order in which it was deferred.
 */
import {assert} from './assert.ts';
import type {Clock} from './clock.ts';

interface Deferred {
  readonly sizeBytes: number;
  readonly callback: () => void;
}

export class TurnBudget {
  readonly #clock: Clock;
  readonly #sizeBytesMax: number;
  #left: number;
  #isRenewalDue = false;
  #deferred: Deferred[] = [];

  constructor(clock: Clock, sizeBytesMax: number) {
    assert(sizeBytesMax > 0, 'a turn does something');
    this.#clock = clock;
    this.#sizeBytesMax = sizeBytesMax;
    this.#left = sizeBytesMax;
  }

  /** Counts work that is done in any case; true when more of it should wait for another turn. */
  spend(sizeBytes: number): boolean {
    this.#left -= sizeBytes;
    this.#renewLater();
    return this.isSpent;
  }

  get isSpent(): boolean {
    return this.#left <= 0 || this.#deferred.length > 0;
  }

  /** Runs `callback` in a later turn that has room for it, and counts `sizeBytes` for it. */
  defer(sizeBytes: number, callback: () => void): void {
    this.#deferred.push({sizeBytes, callback});
    this.#renewLater();
  }

  #renewLater(): void {
    if (this.#isRenewalDue) return;
    this.#isRenewalDue = true;
    this.#clock.afterPoll(() => this.#renew());
  }

  #renew(): void {
    this.#isRenewalDue = false;
    let left = this.#sizeBytesMax;
    let count = 0;
    for (const {sizeBytes} of this.#deferred) {
      if (left <= 0) break;
      left -= sizeBytes;
      count++;
    }
    const due = this.#deferred.splice(0, count);
    // What resumes reads in the next turn, so that turn has its whole budget.
    this.#left = this.#sizeBytesMax;
    if (this.#deferred.length > 0) this.#renewLater();
    for (const {callback} of due) callback();
  }
}
