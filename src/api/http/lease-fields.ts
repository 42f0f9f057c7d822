/** `ttl` and `lease` of a put, in JSON and in the query, and the ids of leases as text. */
import {limits} from '../../base/limits.ts';
import type {PutOperation} from '../../kv/command.ts';
import {invalidField} from './json-fields.ts';
import type {JsonObject} from './json-parser.ts';
import type {JsonSchema} from './json-schema.ts';
import type {Parameter} from './parameter.ts';
import {invalidParameter, type QueryParameters} from './query-parameters.ts';

/** Both 0: the key lives until it is deleted. */
export type Lifetime = Pick<PutOperation, 'leaseId' | 'ttlMs'>;

const ttlSeconds = {
  minimum: limits.leaseTtlMsMin / 1000,
  maximum: limits.leaseTtlMsMax / 1000,
} as const;

export const ttlSchema: JsonSchema = {
  type: 'number',
  ...ttlSeconds,
  description: 'Seconds, fractions allowed',
};
export const leaseIdSchema: JsonSchema = {
  type: 'string',
  pattern: '^[1-9][0-9]{0,18}$',
  description: 'The id of a lease: a positive 64-bit integer in decimal',
};
export const ttlParameter: Parameter = {
  name: 'ttl',
  description: 'Gives the key a lease of its own, of so many seconds; not together with lease',
  schema: ttlSchema,
};
export const leaseParameter: Parameter = {
  name: 'lease',
  description: 'Attaches the key to this lease',
  schema: leaseIdSchema,
};

const ttlSentence = `must be ${ttlSeconds.minimum} to ${ttlSeconds.maximum} seconds` as const;
const leaseSentence = 'must be a decimal string of a positive 64-bit integer';
const bothSentence = 'cannot be combined with lease';

export function lifetimeFields(fields: JsonObject, path: string): Lifetime {
  const lease = fields.get('lease');
  if (fields.has('ttl') && lease !== undefined) throw invalidField(`${path}ttl`, bothSentence);
  if (lease !== undefined && !(typeof lease === 'string' && isLeaseId(lease))) {
    throw invalidField(`${path}lease`, leaseSentence);
  }
  return {
    leaseId: lease === undefined ? 0 : leaseIdOf(lease),
    ttlMs: fields.has('ttl') ? ttlField(fields, path) : 0,
  };
}

export function lifetimeParameters(parameters: QueryParameters): Lifetime {
  const ttl = parameters.text('ttl');
  const lease = parameters.text('lease');
  if (ttl !== undefined && lease !== undefined) throw invalidParameter('ttl', bothSentence);
  if (lease !== undefined && !isLeaseId(lease)) throw invalidParameter('lease', leaseSentence);
  const ttlMs = ttl === undefined ? 0 : /^[0-9]+(\.[0-9]+)?$/.test(ttl) ? toMs(Number(ttl)) : NaN;
  if (!isTtl(ttlMs) && ttl !== undefined) throw invalidParameter('ttl', ttlSentence);
  return {leaseId: lease === undefined ? 0 : leaseIdOf(lease), ttlMs};
}

/** Milliseconds. */
export function ttlField(fields: JsonObject, path: string): number {
  const ttl = fields.get('ttl');
  if (ttl === undefined) throw invalidField(`${path}ttl`, 'is missing');
  const ttlMs = typeof ttl === 'number' ? toMs(ttl) : NaN;
  if (!isTtl(ttlMs)) throw invalidField(`${path}ttl`, ttlSentence);
  return ttlMs;
}

const leaseIdMax = '9223372036854775807';

/** A decimal positive 64-bit integer. Same length compares like the numbers do. */
export function isLeaseId(text: string): boolean {
  if (!/^[1-9][0-9]{0,18}$/.test(text)) return false;
  return text.length < leaseIdMax.length || text <= leaseIdMax;
}

/** Of an id that no lease can have, because it is beyond 2^53 - 1, one that none has. */
export function leaseIdOf(text: string): number {
  return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}

function isTtl(ttlMs: number): boolean {
  return ttlMs >= limits.leaseTtlMsMin && ttlMs <= limits.leaseTtlMsMax;
}

function toMs(seconds: number): number {
  return Math.round(seconds * 1000);
}
