/**
 * Finds the state of a key at an older revision, starting from its latest row: O(log updates) by
 * the jumps of the events. A jump is followed only to events newer than the wanted revision, which
 * is at least compactedRevision, so those rows exist. The last step asks the oldest of them what it
 * replaced.
 */
import {assert, must} from '../base/assert.ts';
import {readEvent, readRecordBefore} from './event-reader.ts';
import type {EventLink} from './event-reader.ts';
import type {Anchor} from './record-row.ts';
import type {KeyRecord} from './result.ts';
import type {RowReader} from './rows.ts';
import type {EventPointer} from './tables.ts';

/** The part of a latest row or an event from which a search goes on. */
interface SearchedEvent extends EventLink {
  readonly jump: Anchor;
}

/** `newest`: the key's newest event, which is newer than `at.revision`. */
export function recordAt(
  rows: Pick<RowReader, 'get'>,
  key: Uint8Array,
  newest: SearchedEvent,
  at: {
    readonly revision: number;
    readonly compactedRevision: number;
    readonly keysOnly: boolean;
  },
): KeyRecord | null {
  assert(at.revision >= at.compactedRevision, 'revision % is compacted', at.revision);
  let current = newest;
  let stepCount = 0;
  for (;;) {
    // Twice the logarithm of 2^53 and some; a loop of pointers would be a bug.
    assert(stepCount++ < 256, 'a search in the history of a key takes few steps');
    const {jump, previousRevision, previousSub} = current;
    if (jump.revision > at.revision) {
      current = eventAt(rows, jump);
    } else if (previousRevision > at.revision) {
      current = eventAt(rows, {revision: previousRevision, sub: previousSub});
    } else {
      return readRecordBefore(rows, key, current, at);
    }
  }
}

function eventAt(rows: Pick<RowReader, 'get'>, pointer: EventPointer): SearchedEvent {
  const {revision, sub} = pointer;
  const event = must(readEvent(rows, revision, sub), 'event % is missing', revision);
  const {previousRevision, previousSub, jump} = event;
  return {revision, sub, previousRevision, previousSub, jump};
}

/** The newest event of a key, of its latest row. */
export function newestEvent(row: {
  readonly modRevision: number;
  readonly sub: number;
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
}): SearchedEvent {
  const {modRevision: revision, sub, previousRevision, previousSub, jump} = row;
  return {revision, sub, previousRevision, previousSub, jump};
}
