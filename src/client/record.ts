/** Records as the client gives them out, and the reading of them from the server's JSON. */
import {ClientError} from './client-error.ts';
import {fromBase64, lossyText, utf8, type Bytes} from './bytes-text.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json | undefined;
}

/** One key at one revision. The bytes are there whatever they are; the text when it is UTF-8. */
export class KvRecord {
  /** As text; what is no UTF-8 is U+FFFD, see `keyBytes`. */
  readonly key: string;
  /** As text; what is no UTF-8 is U+FFFD, see `valueBytes`. Empty with `keysOnly`. */
  readonly value: string;
  /** Revision that created the key, since it was last absent. Grows with each creation. */
  readonly createRevision: number;
  /** Revision of the last change: what `ifModRevision` asks for. */
  readonly modRevision: number;
  /** Number of changes since the creation, at least 1. */
  readonly version: number;
  /** Id of the lease with which the key goes; null: it stays. */
  readonly lease: string | null;
  readonly #key: Uint8Array | null;
  readonly #value: Uint8Array | null;

  constructor(fields: JsonObject) {
    this.#key = base64Of(fields, 'key', 'keyEncoding');
    this.#value = base64Of(fields, 'value', 'encoding');
    this.key = this.#key === null ? textField(fields, 'key') : lossyText(this.#key);
    this.value =
      this.#value !== null
        ? lossyText(this.#value)
        : fields['value'] === undefined
          ? ''
          : textField(fields, 'value');
    this.createRevision = integerField(fields, 'createRevision');
    this.modRevision = integerField(fields, 'modRevision');
    this.version = integerField(fields, 'version');
    this.lease = fields['lease'] === undefined ? null : textField(fields, 'lease');
  }

  get keyBytes(): Uint8Array {
    return this.#key ?? utf8(this.key);
  }

  get valueBytes(): Uint8Array {
    return this.#value ?? utf8(this.value);
  }
}

export function parseObject(text: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    throw unexpected('is not JSON', error);
  }
  return asObject(value, 'the answer');
}

export function asObject(value: Json | undefined, name: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected(`has no object as ${name}`);
  }
  return value as JsonObject;
}

export function listField(fields: JsonObject, name: string): readonly Json[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw unexpected(`has no list "${name}"`);
  return value as readonly Json[];
}

export function textField(fields: JsonObject, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw unexpected(`has no text "${name}"`);
  return value;
}

export function integerField(fields: JsonObject, name: string): number {
  const value = fields[name];
  if (!Number.isSafeInteger(value)) throw unexpected(`has no whole number "${name}"`);
  return value as number;
}

export function numberField(fields: JsonObject, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number') throw unexpected(`has no number "${name}"`);
  return value;
}

export function booleanField(fields: JsonObject, name: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') throw unexpected(`has no boolean "${name}"`);
  return value;
}

/** A key as lists of keys have it. */
export function keyOf(row: Json): Bytes {
  if (typeof row === 'string') return row;
  const fields = asObject(row, 'a key');
  return base64Of(fields, 'key', 'keyEncoding') ?? textField(fields, 'key');
}

function base64Of(fields: JsonObject, name: string, encoding: string): Uint8Array | null {
  if (fields[encoding] !== 'base64') return null;
  try {
    return fromBase64(textField(fields, name));
  } catch (error) {
    throw unexpected(`has no base64 in "${name}"`, error);
  }
}

function unexpected(what: string, cause?: unknown): ClientError<'UNEXPECTED_ANSWER'> {
  return new ClientError('UNEXPECTED_ANSWER', `an answer ${what}`, {
    outcome: 'unknown',
    ...(cause === undefined ? {} : {cause}),
  });
}
