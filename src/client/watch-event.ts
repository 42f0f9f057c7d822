/** One change as a watch tells it. */
import {fromBase64, lossyText, utf8} from './bytes-text.ts';
import {asObject, integerField, KvRecord, textField, type JsonObject} from './record.ts';

interface EventFields {
  /** Of the change. All changes of one transaction have the same. */
  readonly revision: number;
  /** As text; what is no UTF-8 is U+FFFD, see `keyBytes`. */
  readonly key: string;
  readonly keyBytes: Uint8Array;
  /** The last one of its revision, of those that the watch is about. */
  readonly isLast: boolean;
  /** The record before the change; null when there was none, or it was not asked for. */
  readonly previous: KvRecord | null;
}

export interface PutEvent extends EventFields {
  readonly type: 'put';
  readonly record: KvRecord;
}

export interface DeleteEvent extends EventFields {
  readonly type: 'delete';
  readonly record: null;
}

export type WatchEvent = PutEvent | DeleteEvent;

/** Null: of a type that this client does not know. Throws UNEXPECTED_ANSWER. */
export function readEvent(fields: JsonObject): WatchEvent | null {
  const {type, prev} = fields;
  const revision = integerField(fields, 'revision');
  const isLast = fields['more'] !== true;
  const previous =
    prev === undefined || prev === null ? null : new KvRecord(asObject(prev, 'a previous record'));
  if (type === 'put') {
    const record = new KvRecord(fields);
    const {key, keyBytes} = record;
    return {type, revision, key, keyBytes, isLast, previous, record};
  }
  if (type !== 'delete') return null;
  const text = textField(fields, 'key');
  const keyBytes = fields['keyEncoding'] === 'base64' ? fromBase64(text) : utf8(text);
  const key = lossyText(keyBytes);
  return {type, revision, key, keyBytes, isLast, previous, record: null};
}
