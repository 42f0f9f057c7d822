/**
 * Keys and values as JSON text, made by hand: these few shapes are nearly all that the server
 * sends. Bytes that are not UTF-8 become base64 and say so in a field beside them.
 */
import {isUtf8} from 'node:buffer';
import {asBuffer} from '../../base/bytes.ts';
import type {KeyRecord} from '../../kv/result.ts';

/** `"key":"…"`, followed by `,"keyEncoding":"base64"` where needed. */
export function keyFields(key: Uint8Array): string {
  const buffer = asBuffer(key);
  return isUtf8(buffer)
    ? `"key":${quoted(buffer.toString('utf8'))}`
    : `"key":"${buffer.toString('base64')}","keyEncoding":"base64"`;
}

/** A key in a list: text, or `{"key":"…","keyEncoding":"base64"}`. */
export function keyText(key: Uint8Array): string {
  const buffer = asBuffer(key);
  return isUtf8(buffer) ? quoted(buffer.toString('utf8')) : `{${keyFields(key)}}`;
}

function valueFields(value: Uint8Array): string {
  const buffer = asBuffer(value);
  return isUtf8(buffer)
    ? `"value":${quoted(buffer.toString('utf8'))}`
    : `"value":"${buffer.toString('base64')}","encoding":"base64"`;
}

export function recordJson(record: KeyRecord, form: {readonly keysOnly: boolean}): string {
  const value = form.keysOnly ? '' : `${valueFields(record.value)},`;
  const lease = record.leaseId === 0 ? '' : `,"lease":"${record.leaseId}"`;
  return (
    `{${keyFields(record.key)},${value}"createRevision":${record.createRevision},` +
    `"modRevision":${record.modRevision},"version":${record.version}${lease}}`
  );
}

/** `named`: the keyFields of the key. */
export function putJson(named: string, revision: number, version: number): string {
  return `{${named},"revision":${revision},"version":${version}}`;
}

/** JSON.stringify is only needed where a character must be escaped. */
function quoted(text: string): string {
  return isPlain(text) ? `"${text}"` : JSON.stringify(text);
}

const plainLengthMax = 64;

function isPlain(text: string): boolean {
  if (text.length > plainLengthMax) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c) return false;
  }
  return true;
}
