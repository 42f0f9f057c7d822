/** Reads the events of revisions for watchers, from the history or from what was read last. */
import {assert} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import type {EventSource} from '../kv/event-reader.ts';
import {recentSizeBytesMax, RecentRevisions} from './recent-revisions.ts';
import {keyTextOf, WatchEvent} from './watch-event.ts';

/** Revision 1 is the empty store. */
const firstWithEvents = 2;

export class RevisionReader {
  /** Read, and by the hub told, since the clock was looked at last. */
  sizeBytes = 0;
  readonly recent = new RecentRevisions();
  readonly #source: EventSource;

  constructor(source: EventSource) {
    this.#source = source;
  }

  /** Where a watch that asks for `from` begins; 0: behind what there is. */
  beginning(from: number): number {
    const first = from === 0 ? this.#source.revision() + 1 : Math.max(from, firstWithEvents);
    const compacted = this.#source.compactedRevision();
    if (first > compacted) return first;
    const detail = `revision ${first} is compacted; the oldest to watch from is ${compacted + 1}`;
    throw new RosettaError('REVISION_COMPACTED', detail);
  }

  /** Some of its events were removed, or all; or it never had any, behind a restored backup. */
  isGone(revision: number): boolean {
    return this.#source.eventFloor() > revision || this.#isSkipped(revision);
  }

  /** Of one that is gone: the next that may not be. */
  firstBehind(revision: number): number {
    const floor = this.#source.eventFloor();
    return floor > revision ? floor : this.#source.compactedRevision() + 1;
  }

  /** A new cluster goes on from a backup at a later revision, to which it is compacted. */
  #isSkipped(revision: number): boolean {
    if (revision > this.#source.compactedRevision()) return false;
    return this.#source.event(revision, 0) === null;
  }

  /**
   * Those from `from` on, one by one, with any time in between. When it ends and the revision is
   * gone, some may be missing.
   */
  *events(revision: number, from: number): Generator<WatchEvent, void, undefined> {
    const recent = this.recent.get(revision);
    if (recent !== null) {
      yield* recent.slice(from);
      return;
    }
    let all: WatchEvent[] | null = from === 0 ? [] : null;
    let sizeBytes = 0;
    for (let sub = from; ; sub++) {
      const stored = this.#source.event(revision, sub);
      if (stored === null) {
        if (this.isGone(revision)) return;
        assert(sub > 0, 'revision % has no events', revision);
        if (all !== null) this.recent.keep(revision, all);
        return;
      }
      const event = new WatchEvent({revision, sub}, keyTextOf(stored.key), stored);
      this.sizeBytes += event.sizeBytes;
      sizeBytes += event.sizeBytes;
      if (sizeBytes > recentSizeBytesMax) all = null;
      all?.push(event);
      yield event;
    }
  }

  /** False: what was before may be gone. */
  loadPrevious(event: WatchEvent): boolean {
    if (this.isGone(event.revision)) return false;
    event.loadPrevious(this.#source);
    const sizeBytes = event.previous?.value.length ?? 0;
    this.sizeBytes += sizeBytes;
    if (sizeBytes > 0) this.recent.checkAgain(event.revision);
    return true;
  }
}
