/**
 * Reading the fields of a JSON request: every refusal names the field. `path`: where in the body
 * the object is, such as `success[0].put.`; empty for the body itself.
 */
import {Buffer} from 'node:buffer';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {JsonObject, JsonValue} from './json-parser.ts';

/** Throws INVALID_REQUEST unless `value` is an object with no other fields than these. */
export function requestObject(value: JsonValue, known: ReadonlySet<string>): JsonObject {
  if (!isObject(value)) throw new RosettaError('INVALID_REQUEST', 'the body must be an object');
  return knownOnly(value, known, '');
}

/** As `requestObject`, for an object inside of the body; `name` is all of its path. */
export function innerObject(
  value: JsonValue | undefined,
  known: ReadonlySet<string>,
  name: string,
): JsonObject {
  if (value === undefined || !isObject(value)) throw invalidField(name, 'must be an object');
  return knownOnly(value, known, `${name}.`);
}

/** Absent: an empty list. */
export function listField(
  object: JsonObject,
  name: string,
  lengthMax: number,
): readonly JsonValue[] {
  const value = object.get(name);
  if (value === undefined) return [];
  if (!isList(value)) throw invalidField(name, 'must be a list');
  if (value.length > lengthMax) {
    throw invalidField(name, `has ${value.length} items, at most ${lengthMax} are allowed`);
  }
  return value;
}

export function textField(object: JsonObject, name: string, path = ''): string {
  const value = object.get(name);
  if (value === undefined) throw invalidField(path + name, 'is missing');
  if (typeof value !== 'string') throw invalidField(path + name, 'must be a string');
  return value;
}

export function integerField(object: JsonObject, name: string, min: number, path = ''): number {
  const value = object.get(name);
  if (value === undefined) throw invalidField(path + name, 'is missing');
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw invalidField(path + name, `must be a whole number of at least ${min}`);
  }
  return value;
}

/** The bytes of a text field, which the field `encodingName` may declare to be base64. */
export function bytesField(
  object: JsonObject,
  name: string,
  encodingName: string,
  path = '',
): Buffer {
  const text = textField(object, name, path);
  const encoding = object.get(encodingName);
  if (encoding === undefined || encoding === 'utf8') return Buffer.from(text, 'utf8');
  if (encoding !== 'base64') {
    throw invalidField(path + encodingName, 'must be "base64" or "utf8"');
  }
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) {
    throw invalidField(path + name, 'is not canonical base64');
  }
  return bytes;
}

/** Throws KEY_EMPTY or KEY_TOO_LONG. `name`: what the key is called where there are several. */
export function checkKey(key: Uint8Array, name = 'the key'): void {
  if (key.length === 0) throw new RosettaError('KEY_EMPTY', `${name} is empty`);
  if (key.length > limits.keySizeBytesMax) {
    throw new RosettaError(
      'KEY_TOO_LONG',
      `${name} has ${key.length} bytes, at most ${limits.keySizeBytesMax} are allowed`,
    );
  }
}

/** Throws VALUE_TOO_LARGE. */
export function checkValue(value: Uint8Array, name = 'the value'): void {
  if (value.length > limits.valueSizeBytesMax) {
    throw new RosettaError(
      'VALUE_TOO_LARGE',
      `${name} has ${value.length} bytes, at most ${limits.valueSizeBytesMax} are allowed`,
    );
  }
}

export function invalidField(name: string, sentence: string): RosettaError {
  return new RosettaError(
    'INVALID_REQUEST',
    `the field ${JSON.stringify(name.slice(0, 64))} ${sentence}`,
  );
}

function knownOnly(object: JsonObject, known: ReadonlySet<string>, path: string): JsonObject {
  for (const name of object.keys()) {
    if (!known.has(name)) throw invalidField(path + name, 'is not known to this route');
  }
  return object;
}

function isObject(value: JsonValue): value is JsonObject {
  return value instanceof Map;
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
