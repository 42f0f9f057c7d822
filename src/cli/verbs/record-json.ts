/** Records, events and results for programs: the same fields as in the HTTP API. */
import {Buffer} from 'node:buffer';
import {bytesFields} from '../../client/bytes-text.ts';
import type {KvRecord} from '../../client/record.ts';
import type {OperationResult, TransactionResult} from '../../client/transaction.ts';
import type {WatchEvent} from '../../client/watch-event.ts';

type Fields = Readonly<Record<string, unknown>>;

export function keyFields(key: Uint8Array): Fields {
  return bytesFields('key', textOrBytes(key), 'keyEncoding');
}

export function recordFields(
  record: KvRecord,
  {hasValue = true}: {readonly hasValue?: boolean} = {},
): Fields {
  const {keyBytes, valueBytes, createRevision, modRevision, version, lease} = record;
  return {
    ...keyFields(keyBytes),
    ...(hasValue ? bytesFields('value', textOrBytes(valueBytes), 'encoding') : {}),
    createRevision,
    modRevision,
    version,
    ...(lease === null ? {} : {lease}),
  };
}

/** `previous`: the record before the change was asked for. */
export function eventFields(
  event: WatchEvent,
  {hasPrevious}: {readonly hasPrevious: boolean},
): Fields {
  const {type, revision, record, previous, isLast} = event;
  return {
    type,
    revision,
    ...(record === null
      ? {...keyFields(event.keyBytes), modRevision: revision}
      : recordFields(record)),
    ...(hasPrevious ? {prev: previous === null ? null : recordFields(previous)} : {}),
    ...(isLast ? {} : {more: true}),
  };
}

export function transactionFields({succeeded, revision, results}: TransactionResult): Fields {
  return {succeeded, revision, results: results.map(resultFields)};
}

function resultFields(result: OperationResult): Fields | null {
  if (result.type === 'get') return result.record === null ? null : recordFields(result.record);
  const {revision} = result;
  return result.type === 'put'
    ? {revision, version: result.version}
    : {deleted: result.deleted, revision};
}

/** Text stays text; what is no UTF-8 travels in base64. */
function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = view.toString('utf8');
  return Buffer.from(text, 'utf8').equals(view) ? text : bytes;
}
