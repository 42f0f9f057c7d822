/**
 * Events of one revision that are told at once. A large revision is told in several runs, so that
 * telling it takes no long stretch of time, and whoever reads slowly makes no more than one wait.
 * What a door makes of a run is made once and shared by all watchers that are told it.
 */
import {must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import type {WatchEvent} from './watch-event.ts';

/** What an event counts beyond its bytes, told or held. */
const eventSizeBytes = 128;

export class WatchRun {
  /** At least one, of one revision, in order. */
  readonly events: readonly WatchEvent[];
  /** Nothing follows of this revision. */
  readonly isLast: boolean;
  readonly sizeBytes: number;
  readonly #encodings: (Uint8Array | undefined)[] = [];

  constructor(events: readonly WatchEvent[], isLast: boolean, sizeBytes: number) {
    this.events = events;
    this.isLast = isLast;
    this.sizeBytes = sizeBytes;
  }

  get revision(): number {
    return must(this.events[0], 'a run has events').revision;
  }

  /** Where in the revision the next run begins at the earliest. */
  get endSub(): number {
    return must(this.events.at(-1), 'a run has events').sub + 1;
  }

  /**
   * What `encode` makes of it, made once for each form; of one event alone, also for watchers of
   * other keys. Forms are small numbers of the door's.
   */
  encoded(form: number, encode: (run: WatchRun) => Uint8Array): Uint8Array {
    const [first] = this.events;
    if (first !== undefined && this.events.length === 1) {
      return first.encoded(form, () => encode(this));
    }
    return (this.#encodings[form] ??= encode(this));
  }
}

/** Makes runs of the events of a revision, each of limits.watchRunSizeBytesMax or of one event. */
export class RunBuilder {
  #events: WatchEvent[] = [];
  #sizeBytes = 0;

  /** With what it was before, when that is told too. Returns the run that ends in front of it. */
  add(event: WatchEvent, isPreviousTold: boolean): WatchRun | null {
    const previousSizeBytes = isPreviousTold ? (event.previous?.value.length ?? 0) : 0;
    const sizeBytes = eventSizeBytes + event.sizeBytes + previousSizeBytes;
    const isFull = this.#sizeBytes + sizeBytes > limits.watchRunSizeBytesMax;
    const run = isFull && this.#events.length > 0 ? this.#take(false) : null;
    this.#events.push(event);
    this.#sizeBytes += sizeBytes;
    return run;
  }

  /** The last run; null: there were no events. */
  finish(): WatchRun | null {
    return this.#events.length === 0 ? null : this.#take(true);
  }

  #take(isLast: boolean): WatchRun {
    const run = new WatchRun(this.#events, isLast, this.#sizeBytes);
    this.#events = [];
    this.#sizeBytes = 0;
    return run;
  }
}
