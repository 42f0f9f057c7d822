/**
 * How much of the log stays on the disk behind the checkpoint, for members that are behind. By
 * bytes and by time, never by a count of entries, which says nothing about either:
 *
 * - more than `retentionSizeBytesMax` in closed segments: the oldest go;
 * - unless a member that is being helped up needs them: then at `heldSizeBytesMax`;
 * - a closed segment that was not written to for `retentionAgeMs` goes, unless such a member needs
 *   it.
 *
 * What the checkpoint does not cover stays in any case.
 */
import {assert} from '../base/assert.ts';
import type {LogIndex} from '../raft/ids.ts';

export interface LogRelease {
  /** Entries up to here are in a durable checkpoint, inclusive. */
  readonly upTo: LogIndex;
  /** A member needs the entries above it soon; null: none does. */
  readonly neededAfter: LogIndex | null;
}

export interface RetentionBounds {
  readonly retentionSizeBytesMax: number;
  readonly heldSizeBytesMax: number;
  readonly retentionAgeMs: number;
}

/** A segment of the log, as far as retention is concerned. */
export interface RetainedSegment {
  /** The entry before its first. */
  readonly previousIndex: LogIndex;
  readonly sizeBytes: number;
  /** Since the last entry was written to it; of no account for the newest. */
  readonly ageMs: number;
  /** The log can be made to start here. */
  readonly isCleanStart: boolean;
}

/** How many of the oldest segments go. The newest, the last of them, always stays. */
export function releasedCount(
  segments: readonly RetainedSegment[],
  release: LogRelease,
  bounds: RetentionBounds,
): number {
  let closedSizeBytes = 0;
  for (const {sizeBytes} of segments.slice(0, -1)) closedSizeBytes += sizeBytes;
  let count = 0;
  for (const [i, segment] of segments.entries()) {
    const before = segments[i - 1];
    if (before === undefined) continue;
    if (segment.previousIndex > release.upTo) break;
    const isNeeded = release.neededAfter !== null && segment.previousIndex > release.neededAfter;
    const sizeBytesMax = isNeeded ? bounds.heldSizeBytesMax : bounds.retentionSizeBytesMax;
    const isOld = !isNeeded && before.ageMs > bounds.retentionAgeMs;
    if (closedSizeBytes <= sizeBytesMax && !isOld) break;
    closedSizeBytes -= before.sizeBytes;
    // Only where nothing supersedes across the border does the log have a clean start.
    if (segment.isCleanStart) count = i;
  }
  assert(count === 0 || count < segments.length, 'the newest segment stays');
  return count;
}
