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
    let sizeBytes = 0;
    for (const event of events) sizeBytes += event.sizeBytes;
    if (sizeBytes <= recentSizeBytesMax)
      this.#places[revision % revisionCount] = {revision, events};
  }

  /** Nobody watches any more. */
  clear(): void {
    this.#places.length = 0;
  }
}
