/**
 * If-Match and If-None-Match. An entity tag is the quoted modRevision of a key, `"7"`, or
 * `"7-raw"` for its raw representation; either is understood wherever a tag is. On a write they
 * become comparisons of the transaction, so that every replica decides alike.
 */
import {RosettaError} from '../../base/errors.ts';
import type {Compare} from '../../kv/command.ts';
import type {Parameter} from './parameter.ts';
import type {RequestHeaders} from './request-headers.ts';

/** Of a PUT or DELETE of one key. */
export const writeConditionHeaders: readonly Parameter[] = [
  {
    name: 'If-Match',
    description: '"7": only while the modRevision of the key is 7; *: only while it exists',
    schema: {type: 'string'},
  },
  {
    name: 'If-None-Match',
    description: '*: only while the key does not exist',
    schema: {type: 'string', enum: ['*']},
  },
];

/** Of a GET of one key. */
export const readConditionHeaders: readonly Parameter[] = [
  {
    name: 'If-Match',
    description: '"7": 412 unless the modRevision of the key is 7',
    schema: {type: 'string'},
  },
  {
    name: 'If-None-Match',
    description: '"7", or a list: 304 when it has the modRevision of the key',
    schema: {type: 'string'},
  },
];

export function entityTag(modRevision: number): string {
  return `"${modRevision}"`;
}

export function rawEntityTag(modRevision: number): string {
  return `"${modRevision}-raw"`;
}

const noCompare: readonly Compare[] = [];

/** The conditions of a PUT or DELETE of `key`. Throws INVALID_PARAMETER. */
export function writeConditions(headers: RequestHeaders, key: Uint8Array): readonly Compare[] {
  const {ifMatch, ifNoneMatch} = headers;
  if (ifMatch === undefined && ifNoneMatch === undefined) return noCompare;
  const compare: Compare[] = [];
  if (ifMatch === '*') {
    compare.push({keys: {key}, operator: '>', target: {type: 'version', value: 0}});
  } else if (ifMatch !== undefined) {
    const value = matchRevision(ifMatch);
    compare.push({keys: {key}, operator: '=', target: {type: 'modRevision', value}});
  }
  if (ifNoneMatch === '*') {
    compare.push({keys: {key}, operator: '=', target: {type: 'version', value: 0}});
  } else if (ifNoneMatch !== undefined) {
    throw new RosettaError('INVALID_PARAMETER', 'If-None-Match on a write can only be *');
  }
  return compare;
}

/** A write of many keys, or of none, has no conditions; ignoring one would be dangerous. */
export function refuseConditions(headers: RequestHeaders): void {
  const name =
    headers.ifMatch !== undefined
      ? 'If-Match'
      : headers.ifNoneMatch !== undefined
        ? 'If-None-Match'
        : null;
  if (name === null) return;
  throw new RosettaError('INVALID_PARAMETER', `${name} applies to writes of one key only`);
}

/** Whether the If-None-Match of a read names this version: then the answer is 304. */
export function isNotModified(ifNoneMatch: string | undefined, modRevision: number): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  for (const item of ifNoneMatch.split(',')) {
    const tag = item.trim().replace(/^W\//, '');
    if (!isTag(tag)) {
      throw new RosettaError('INVALID_PARAMETER', 'If-None-Match must hold quoted entity tags');
    }
    if (tag === entityTag(modRevision) || tag === rawEntityTag(modRevision)) return true;
  }
  return false;
}

/** Whether the If-Match of a read holds for this version. */
export function isMatch(ifMatch: string | undefined, modRevision: number): boolean {
  return ifMatch === undefined || ifMatch === '*' || matchRevision(ifMatch) === modRevision;
}

/**
 * A tag that is none of ours belongs to no version. It becomes a revision that no key can have;
 * zero would not do: it is the modRevision of an absent key.
 */
function matchRevision(ifMatch: string): number {
  if (!isTag(ifMatch)) {
    throw new RosettaError('INVALID_PARAMETER', 'If-Match must be * or one quoted entity tag');
  }
  const digits = /^"([1-9][0-9]{0,15})(?:-raw)?"$/.exec(ifMatch)?.[1];
  const revision = digits === undefined ? NaN : Number(digits);
  return Number.isSafeInteger(revision) ? revision : Number.MAX_SAFE_INTEGER;
}

function isTag(text: string): boolean {
  return /^"[\x21\x23-\x7e]*"$/.test(text);
}
