/** One open watch: what it asks for, and how far it has been told. */
import {assert, must} from '../base/assert.ts';
import type {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {TextRange} from './watch-index.ts';
import type {WatchRun} from './watch-run.ts';
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
  /** The first revision not told as a whole; of a live one a lower bound. */
  next: number;
  /** Of that revision, events in front of this one were told. Above 0: in the middle of it. */
  nextSub = 0;
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
  /** It was told something that may not have left yet. */
  isUnflushed = false;
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

  get isBetweenRevisions(): boolean {
    return this.stage !== 'full' && this.nextSub === 0;
  }

  isTooSlow(nowMs: number): boolean {
    if (this.stage === 'full' && nowMs - this.fullSinceMs >= limits.watchStallMs) return true;
    return this.behindSinceMs !== null && nowMs - this.behindSinceMs >= limits.watchLagMs;
  }

  /** It is told this revision with all others, and has not been by itself already. */
  awaits(revision: number): boolean {
    return this.stage === 'live' && this.next <= revision;
  }

  /** Returns whether there is room for more. */
  tell(run: WatchRun, nowMs: number): boolean {
    assert(run.revision >= this.next, 'revision % is told again', run.revision);
    this.next = run.isLast ? run.revision + 1 : run.revision;
    this.nextSub = run.isLast ? 0 : run.endSub;
    this.toldAtMs = nowMs;
    this.#sink.onRun(run);
    return this.#hasRoom();
  }

  /** Returns whether there is room for more. */
  flush(): boolean {
    this.isUnflushed = false;
    this.#sink.flush();
    return this.#hasRoom();
  }

  /** No event of its next revision is asked for. */
  skip(): void {
    assert(this.nextSub === 0, 'more of revision % was promised', this.next);
    this.next++;
  }

  progress(revision: number, nowMs: number): void {
    this.toldAtMs = nowMs;
    this.#sink.onProgress(revision);
  }

  end(error: RosettaError, resumeFrom: number): void {
    this.#sink.onEnd(error, resumeFrom);
  }

  #hasRoom(): boolean {
    return !this.#sink.isFull();
  }
}

/** Takes one out of one of the hub's lists; the last one takes its place. */
export function removeAt(
  list: Watcher[],
  place: number,
  onMoved: (moved: Watcher, place: number) => void,
): void {
  const last = must(list.pop(), 'a list with this place');
  if (place === list.length) return;
  list[place] = last;
  onMoved(last, place);
}
