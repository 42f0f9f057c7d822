/**
 * The last revisions that were read for watchers, with their events. After a failover thousands of
 * watchers resume from about the same revision: all but the first find the events, and what doors
 * made of them, here. Bounded: so many revisions, and only small ones.
 */
import type {WatchEvent} from './watch-event.ts';

const revisionCount = 1024;
/** Of all events of a revision. */
export const recentSizeBytesMax = 4 * 1024;

interface Kept {
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

export class RecentRevisions {
  readonly #places: (Kept | undefined)[] = [];

  get(revision: number): readonly WatchEvent[] | null {
    const kept = this.#places[revision % revisionCount];
    return kept?.revision === revision ? kept.events : null;
  }

  /** `events`: all of the revision. */
  keep(revision: number, events: readonly WatchEvent[]): void {
    const place = revision % revisionCount;
    if (heldSizeBytes(events) <= recentSizeBytesMax) this.#places[place] = {revision, events};
  }

  /** One of its events has learnt what was before: it may be too large now. */
  checkAgain(revision: number): void {
    const events = this.get(revision);
    if (events === null || heldSizeBytes(events) <= recentSizeBytesMax) return;
    this.#places[revision % revisionCount] = undefined;
  }

  /** Nobody watches any more. */
  clear(): void {
    this.#places.length = 0;
  }
}

/** What was before is held, too, once somebody was told of it. */
function heldSizeBytes(events: readonly WatchEvent[]): number {
  let sizeBytes = 0;
  for (const {sizeBytes: own, previous} of events) sizeBytes += own + (previous?.value.length ?? 0);
  return sizeBytes;
}
