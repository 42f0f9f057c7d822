/** One open watch: what it asks for, and how far it has been told. */
import type {RosettaError} from '../base/errors.ts';
import type {WatchEvent} from './watch-event.ts';
import type {TextRange} from './watch-index.ts';
import type {WatchSink} from './watch-service.ts';

/**
 * catching-up: reads the history by itself, from `next` on. live: is told what the node applies,
 * together with all others. full: waits until its sink has room, then catches up. ended: is told
 * nothing any more.
 */
export type WatchStage = 'catching-up' | 'live' | 'full' | 'ended';

export class Watcher {
  readonly range: TextRange;
  readonly wantsPrevious: boolean;
  stage: WatchStage = 'catching-up';
  /** The first revision not told yet; of a live one a lower bound. */
  next: number;
  /** What is left of catching up. */
  steps: Iterator<undefined, void, undefined> | null = null;
  /** Of the hub's lists: where it stands in them. */
  place = -1;
  catchUpPlace = -1;
  /** Monotonic clock: when it was told something last. */
  toldAtMs: number;
  fullSinceMs = 0;
  /** When it fell behind the live ones; null: it has not, or never was one of them. */
  behindSinceMs: number | null = null;
  readonly #sink: WatchSink;

  constructor(parts: {
    readonly range: TextRange;
    readonly wantsPrevious: boolean;
    readonly next: number;
    readonly sink: WatchSink;
    readonly nowMs: number;
  }) {
    this.range = parts.range;
    this.wantsPrevious = parts.wantsPrevious;
    this.next = parts.next;
    this.#sink = parts.sink;
    this.toldAtMs = parts.nowMs;
  }

  /** All of a revision. Returns whether there is room for more. */
  tell(revision: number, events: readonly WatchEvent[], nowMs: number): boolean {
    this.next = revision + 1;
    if (events.length === 0) return true;
    const last = events.length - 1;
    for (const [i, event] of events.entries()) this.#sink.onEvent(event, i === last);
    this.toldAtMs = nowMs;
    return !this.#sink.isFull();
  }

  progress(revision: number, nowMs: number): void {
    this.toldAtMs = nowMs;
    this.#sink.onProgress(revision);
  }

  end(error: RosettaError, resumeFrom: number): void {
    this.#sink.onEnd(error, resumeFrom);
  }
}
