/**
 * Keys and values are bytes; programs mostly have text. Text goes out as UTF-8; bytes that are no
 * UTF-8 travel as base64 in JSON and as %XX in targets. Works without Buffer, for browsers.
 */
import {kindOf} from './argument-check.ts';
import {invalidArgument} from './client-error.ts';

/** A key or a value: text, which means its UTF-8 bytes, or bytes. */
export type Bytes = string | Uint8Array;

const encoder = new TextEncoder();
const lossyDecoder = new TextDecoder('utf-8', {ignoreBOM: true});
/** Half of a pair, which has no UTF-8. */
const loneSurrogate = /\p{Surrogate}/u;

/** Whatever the types say: a program without types may pass anything. Throws INVALID_ARGUMENT. */
export function checkBytes(bytes: unknown, name: string): asserts bytes is Bytes {
  if (typeof bytes === 'string') checkText(bytes, name);
  // Not instanceof: the bytes may come from another window or context.
  else if (Object.prototype.toString.call(bytes) !== '[object Uint8Array]') {
    throw invalidArgument(`${name} must be text or bytes (a Uint8Array), not ${kindOf(bytes)}`);
  }
}

/** Throws INVALID_ARGUMENT for what is no text, and for text that has no UTF-8. */
export function checkText(text: unknown, name: string): asserts text is string {
  if (typeof text !== 'string') throw invalidArgument(`${name} must be text, not ${kindOf(text)}`);
  if (loneSurrogate.test(text)) {
    throw invalidArgument(`${name} has half of a surrogate pair; send bytes instead`);
  }
}

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** What is no UTF-8 becomes U+FFFD. */
export function lossyText(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

/** A key in a path, or a bound in a query. Throws INVALID_ARGUMENT. */
export function percentEncode(key: Bytes, name: string): string {
  checkBytes(key, name);
  if (typeof key === 'string') return encodeURIComponent(key);
  let text = '';
  for (const byte of key) text += percentTable[byte] ?? '';
  return text;
}

const percentTable: readonly string[] = Array.from({length: 256}, (_, byte) => {
  const isPlain = /[A-Za-z0-9\-_.~]/.test(String.fromCharCode(byte));
  return isPlain
    ? String.fromCharCode(byte)
    : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

/** The fields `name` and, for bytes, `encoding` of a JSON request. Throws INVALID_ARGUMENT. */
export function bytesFields(
  name: string,
  bytes: Bytes,
  encoding: string,
): Readonly<Record<string, string>> {
  checkBytes(bytes, `"${name}"`);
  if (typeof bytes !== 'string') return {[name]: toBase64(bytes), [encoding]: 'base64'};
  return {[name]: bytes};
}

/** So many at a time as arguments of one call. */
const sliceSizeBytes = 8192;

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += sliceSizeBytes) {
    binary += String.fromCharCode(...bytes.subarray(at, at + sliceSizeBytes));
  }
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
