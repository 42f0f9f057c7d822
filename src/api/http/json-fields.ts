/** Reading the fields of a JSON request: every refusal names the field. */
import {Buffer} from 'node:buffer';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {JsonObject, JsonValue} from './json-parser.ts';

/** Throws INVALID_REQUEST unless `value` is an object with no other fields than these. */
export function requestObject(value: JsonValue, known: ReadonlySet<string>): JsonObject {
  if (!isObject(value)) throw new RosettaError('INVALID_REQUEST', 'the body must be an object');
  for (const name of value.keys()) {
    if (!known.has(name)) throw invalidField(name, 'is not known to this route');
  }
  return value;
}

export function textField(object: JsonObject, name: string): string {
  const value = object.get(name);
  if (value === undefined) throw invalidField(name, 'is missing');
  if (typeof value !== 'string') throw invalidField(name, 'must be a string');
  return value;
}

export function integerField(object: JsonObject, name: string, min: number): number {
  const value = object.get(name);
  if (value === undefined) throw invalidField(name, 'is missing');
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw invalidField(name, `must be a whole number of at least ${min}`);
  }
  return value;
}

/** The bytes of a text field, which the field `encodingName` may declare to be base64. */
export function bytesField(object: JsonObject, name: string, encodingName: string): Buffer {
  const text = textField(object, name);
  const encoding = object.get(encodingName);
  if (encoding === undefined || encoding === 'utf8') return Buffer.from(text, 'utf8');
  if (encoding !== 'base64') throw invalidField(encodingName, 'must be "base64" or "utf8"');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw invalidField(name, 'is not canonical base64');
  return bytes;
}

/** Throws KEY_EMPTY or KEY_TOO_LONG. */
export function checkKey(key: Uint8Array): void {
  if (key.length === 0) throw new RosettaError('KEY_EMPTY', 'the key is empty');
  if (key.length > limits.keySizeBytesMax) {
    throw new RosettaError(
      'KEY_TOO_LONG',
      `the key has ${key.length} bytes, at most ${limits.keySizeBytesMax} are allowed`,
    );
  }
}

/** Throws VALUE_TOO_LARGE. */
export function checkValue(value: Uint8Array): void {
  if (value.length > limits.valueSizeBytesMax) {
    throw new RosettaError(
      'VALUE_TOO_LARGE',
      `the value has ${value.length} bytes, at most ${limits.valueSizeBytesMax} are allowed`,
    );
  }
}

export function invalidField(name: string, sentence: string): RosettaError {
  return new RosettaError(
    'INVALID_REQUEST',
    `the field ${JSON.stringify(name.slice(0, 64))} ${sentence}`,
  );
}

function isObject(value: JsonValue): value is JsonObject {
  return value instanceof Map;
}
