/**
 * Finds the state of a key at an older revision, starting from its latest row: O(log updates) by
 * the jumps of the events. A jump is followed only to events newer than the wanted revision, which
 * is at least compactedRevision, so those rows exist. The last step follows `previous`; an absent
 * row there is a tombstone that was scrubbed.
 */
import {assert, must} from '../base/assert.ts';
import {decodeEventRow} from './event-row.ts';
import type {Anchor} from './record-row.ts';
import {toKeyRecord} from './record-row.ts';
import type {KeyRecord} from './result.ts';
import type {RowReader} from './rows.ts';
import {historyKeyView} from './tables.ts';

/** The part of a latest row or an event from which a search goes on. */
export interface EventLinks {
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
}

/** `links`: of the key's newest event, which is newer than `revision`. */
export function recordAt(
  rows: Pick<RowReader, 'get'>,
  key: Uint8Array,
  links: EventLinks,
  at: {
    readonly revision: number;
    readonly compactedRevision: number;
    readonly keysOnly: boolean;
  },
): KeyRecord | null {
  assert(at.revision >= at.compactedRevision, 'revision % is compacted', at.revision);
  let current = links;
  let stepCount = 0;
  for (;;) {
    // Twice the logarithm of 2^53 and some; a loop of pointers would be a bug.
    assert(stepCount++ < 256, 'a search in the history of a key takes few steps');
    const {jump, previousRevision, previousSub} = current;
    if (jump.revision > at.revision) {
      current = event(rows, jump.revision, jump.sub);
    } else if (previousRevision > at.revision) {
      current = event(rows, previousRevision, previousSub);
    } else if (previousRevision === 0) {
      return null;
    } else {
      const bytes = rows.get(historyKeyView(previousRevision, previousSub));
      if (bytes === undefined) {
        assert(previousRevision <= at.compactedRevision, 'event % is missing', previousRevision);
        return null;
      }
      const found = decodeEventRow(bytes);
      if (found.isTombstone) return null;
      return toKeyRecord(key, {...found, modRevision: previousRevision}, at);
    }
  }
}

function event(rows: Pick<RowReader, 'get'>, revision: number, sub: number): EventLinks {
  const bytes = rows.get(historyKeyView(revision, sub));
  return decodeEventRow(must(bytes, 'event % is missing', revision));
}
