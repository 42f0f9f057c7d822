/**
 * The history as a sequence of events. Each revision has one or more, numbered from 0 without a
 * gap, so whoever knows a revision finds them one by one, without a scan.
 */
import {assert} from '../base/assert.ts';
import {decodeEventRow, isNear} from './event-row.ts';
import type {EventRow} from './event-row.ts';
import {toKeyRecord} from './record-row.ts';
import type {KeyRecord} from './result.ts';
import type {RowReader} from './rows.ts';
import {historyKeyView} from './tables.ts';
import type {EventPointer} from './tables.ts';

/** One change of one key. Its bytes are views, valid until the next call of the rows. */
export interface StoredEvent {
  readonly isTombstone: boolean;
  readonly createRevision: number;
  readonly version: number;
  readonly leaseId: number;
  /** The change of this key before this one; revision 0: none. */
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface EventSource {
  /** The newest revision whose events can be read. */
  revision(): number;
  /** Events up to and including this revision are not promised any more. */
  compactedRevision(): number;
  /**
   * From this revision on no event has been removed on this node. Anything between
   * compactedRevision + 1 and far less; rises at other moments on other nodes.
   */
  eventFloor(): number;
  /** Null: there is none, or it has been removed. */
  event(revision: number, sub: number): StoredEvent | null;
  /**
   * A copy of what `key` was before its event, which `event` returned and which has not been
   * removed since; null: it did not exist.
   */
  recordBefore(key: Uint8Array, event: EventLink): KeyRecord | null;
}

/** An event and the one of the same key before it; previousRevision 0: none. */
export interface EventLink extends EventPointer {
  readonly previousRevision: number;
  readonly previousSub: number;
}

export function readEvent(
  rows: Pick<RowReader, 'get'>,
  revision: number,
  sub: number,
): EventRow | null {
  const bytes = rows.get(historyKeyView(revision, sub));
  return bytes === undefined ? null : decodeEventRow(bytes);
}

/**
 * What `key` was before `event`, which is newer than `compactedRevision` or not scrubbed yet; null:
 * it did not exist. A copy.
 */
export function readRecordBefore(
  rows: Pick<RowReader, 'get'>,
  key: Uint8Array,
  event: EventLink,
  at: {readonly compactedRevision: number; readonly keysOnly: boolean},
): KeyRecord | null {
  const {revision, previousRevision, previousSub} = event;
  if (previousRevision === 0) return null;
  if (!isNear(revision, previousRevision)) {
    const beforeImage = readEvent(rows, revision, event.sub)?.beforeImage ?? null;
    if (beforeImage !== null) {
      return toKeyRecord(key, {...beforeImage, modRevision: previousRevision}, at);
    }
  }
  const previous = readEvent(rows, previousRevision, previousSub);
  if (previous === null) {
    // A tombstone, then.
    assert(previousRevision <= at.compactedRevision, 'event % is missing', previousRevision);
    return null;
  }
  if (previous.isTombstone) return null;
  return toKeyRecord(key, {...previous, modRevision: previousRevision}, at);
}
