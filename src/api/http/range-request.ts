/** Which keys a range request means, and how: the parameters of GET and DELETE /kv. */
import {prefixEnd, emptyBytes} from '../../base/bytes.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {KeyRange} from '../../kv/command.ts';
import {decodeCursor, hashRange, isRangeOf, type Cursor} from './cursor.ts';
import {bytesParameter, flagParameter, integerParameter} from './parameter.ts';
import {invalidParameter, revisionParameter, type QueryParameters} from './query-parameters.ts';

export interface RangeRequest {
  /** What is still to be read: for a first page, all of it. */
  readonly range: KeyRange;
  readonly rangeHash: Uint8Array;
  /** 0: the current revision. */
  readonly revision: number;
  readonly limit: number;
  readonly isReverse: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
}

/** Which keys: these for reads, deletes and watches. */
export const keyRangeParameters = [
  bytesParameter('prefix', 'The keys that begin with it; not together with start or end'),
  bytesParameter('start', 'The first key, inclusive'),
  bytesParameter('end', 'The end of the keys, exclusive; not empty'),
] as const;

export const rangeLimit = {
  minimum: 1,
  maximum: limits.rangeLimitMax,
  default: limits.rangeLimitDefault,
} as const;

const limitParameter = integerParameter('limit', 'Records in one answer, at most', rangeLimit);

/** How they are read. */
export const rangeParameters = [
  limitParameter,
  flagParameter('reverse', 'From the last key to the first'),
  flagParameter('keysOnly', 'Records without values'),
  flagParameter('countOnly', 'The number of all keys of the range, and no records'),
  bytesParameter('cursor', 'Of the page before; other range parameters must agree, or be absent'),
  revisionParameter,
] as const;

const everything: KeyRange = {start: emptyBytes, end: null};

export function rangeRequest(parameters: QueryParameters): RangeRequest {
  const limit = parameters.integer(limitParameter);
  const revision = parameters.integer(revisionParameter);
  const isReverse = parameters.flag('reverse');
  const keysOnly = parameters.flag('keysOnly');
  const countOnly = parameters.flag('countOnly') ?? false;
  const range = keyRange(parameters);
  const cursorText = parameters.text('cursor');
  if (cursorText === undefined) {
    return {
      range: range ?? everything,
      rangeHash: hashRange(range ?? everything),
      revision: revision ?? 0,
      limit: limit ?? limits.rangeLimitDefault,
      isReverse: isReverse ?? false,
      keysOnly: keysOnly ?? false,
      countOnly,
    };
  }
  const cursor = decodeCursor(cursorText);
  const isSame =
    (range === null || isRangeOf(cursor, range)) &&
    agrees(limit, cursor.limit) &&
    agrees(revision, cursor.revision) &&
    agrees(isReverse, cursor.isReverse) &&
    agrees(keysOnly, cursor.keysOnly) &&
    !countOnly;
  if (!isSame) {
    throw new RosettaError(
      'INVALID_CURSOR',
      'the parameters beside the cursor differ from its own',
    );
  }
  return continuation(cursor);
}

/** Null when the parameters name no range. Throws INVALID_PARAMETER or KEY_TOO_LONG. */
export function keyRange(parameters: QueryParameters): KeyRange | null {
  const prefix = bound(parameters, 'prefix');
  const start = bound(parameters, 'start');
  const end = bound(parameters, 'end');
  if (prefix !== undefined) {
    if (start !== undefined || end !== undefined) {
      throw invalidParameter('prefix', 'cannot be combined with start or end');
    }
    return {start: prefix, end: prefixEnd(prefix)};
  }
  if (start === undefined && end === undefined) return null;
  if (end?.length === 0) {
    throw invalidParameter('end', 'must not be empty; leave it out to read to the last key');
  }
  return {start: start ?? emptyBytes, end: end ?? null};
}

function continuation(cursor: Cursor): RangeRequest {
  const {rest, rangeHash, revision, limit, isReverse, keysOnly} = cursor;
  return {range: rest, rangeHash, revision, limit, isReverse, keysOnly, countOnly: false};
}

function agrees<T>(given: T | undefined, cursors: T): boolean {
  return given === undefined || given === cursors;
}

function bound(parameters: QueryParameters, name: string): Buffer | undefined {
  const bytes = parameters.bytes(name);
  if (bytes !== undefined && bytes.length > limits.keySizeBytesMax) {
    throw new RosettaError(
      'KEY_TOO_LONG',
      `the parameter "${name}" has ${bytes.length} bytes, at most ${limits.keySizeBytesMax}`,
    );
  }
  return bytes;
}
