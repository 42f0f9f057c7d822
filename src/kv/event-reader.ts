/**
 * The history as a sequence of events. Each revision has one or more, numbered from 0 without a
 * gap, so whoever knows a revision finds them one by one, without a scan.
 */
import {decodeEventRow} from './event-row.ts';
import {toKeyRecord} from './record-row.ts';
import type {KeyRecord} from './result.ts';
import type {RowReader} from './rows.ts';
import {historyKeyView} from './tables.ts';
import type {EventPointer} from './tables.ts';

/** One change of one key. Key and value are views, valid until the next call of the rows. */
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
  /** A copy of what the key was; null: it did not exist, or the row has been removed. */
  recordOf(key: Uint8Array, pointer: EventPointer): KeyRecord | null;
}

export function readEvent(rows: RowReader, revision: number, sub: number): StoredEvent | null {
  const bytes = rows.get(historyKeyView(revision, sub));
  return bytes === undefined ? null : decodeEventRow(bytes);
}

export function readRecordOf(
  rows: RowReader,
  key: Uint8Array,
  pointer: EventPointer,
): KeyRecord | null {
  if (pointer.revision === 0) return null;
  const event = readEvent(rows, pointer.revision, pointer.sub);
  if (event === null || event.isTombstone) return null;
  return toKeyRecord(key, {...event, modRevision: pointer.revision}, {keysOnly: false});
}
