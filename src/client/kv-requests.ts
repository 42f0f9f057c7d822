/** The requests for single keys and ranges, and what their answers say. */
import type {Bytes} from './bytes-text.ts';
import {checkObject, checkRange, rangeNames} from './argument-check.ts';
import {checkBytes, percentEncode} from './bytes-text.ts';
import type {Call, Caller} from './call.ts';
import {invalidArgument} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import {integerField, KvRecord, parseObject} from './record.ts';

/** `linearizable`: sees every write acknowledged before. `local`: the node's state, maybe stale. */
export type Consistency = 'linearizable' | 'local';

export interface GetOptions extends CallOptions {
  /** The state then, instead of the present one. */
  readonly revision?: number | undefined;
  /** Default: linearizable. */
  readonly consistency?: Consistency | undefined;
}

/** At most one of the three. A condition that does not hold rejects with PRECONDITION_FAILED. */
export interface WriteConditions {
  /** The key's last change was this revision. */
  readonly ifModRevision?: number | undefined;
  readonly ifExists?: boolean | undefined;
  readonly ifAbsent?: boolean | undefined;
}

export interface PutOptions extends CallOptions, WriteConditions {
  /** Id of the lease with which the key goes. A put with neither `lease` nor `ttl` detaches it. */
  readonly lease?: string | undefined;
  /** Seconds until the key goes by itself, unless it is put again: 0.1 to 10^9. */
  readonly ttl?: number | undefined;
}

export type DeleteOptions = CallOptions & Pick<WriteConditions, 'ifModRevision' | 'ifExists'>;

export interface PutResult {
  readonly revision: number;
  /** 1: the key was created. */
  readonly version: number;
}

export interface DeleteResult {
  /** Number of keys that were there. */
  readonly deleted: number;
  /** Of the state after it; unchanged when nothing was there. */
  readonly revision: number;
}

/** Keys that begin with `prefix`, or from `start` (inclusive) to `end` (exclusive); `{}`: all. */
export type KeyRange =
  | {readonly prefix: Bytes; readonly start?: never; readonly end?: never}
  | {
      readonly prefix?: never;
      readonly start?: Bytes | undefined;
      readonly end?: Bytes | undefined;
    };

export async function getRecord(
  caller: Caller,
  key: Bytes,
  options: GetOptions,
): Promise<KvRecord | null> {
  const query = queryOf([
    ['revision', options.revision],
    ['consistency', options.consistency],
  ]);
  const target = keyTarget(key) + query;
  const call: Call = {method: 'GET', target, repeat: 'freely', accepts: 'KEY_NOT_FOUND'};
  const answer = await caller.call(call, options);
  return answer.status === 200 ? new KvRecord(parseObject(answer.body)) : null;
}

export async function putValue(
  caller: Caller,
  key: Bytes,
  value: Bytes,
  options: PutOptions,
): Promise<PutResult> {
  checkBytes(value, 'the value');
  checkObject(options, 'the options of a put', putOptionNames);
  if (options.lease !== undefined && options.ttl !== undefined) {
    throw invalidArgument('a put takes a lease or a ttl, not both');
  }
  const query = queryOf([
    ['lease', options.lease],
    ['ttl', options.ttl === undefined ? undefined : decimal(options.ttl)],
  ]);
  const answer = await caller.call(
    {
      method: 'PUT',
      target: keyTarget(key) + query,
      headers: conditionHeaders(options),
      body: value,
      repeat: 'with-key',
    },
    options,
  );
  const fields = parseObject(answer.body);
  return {revision: integerField(fields, 'revision'), version: integerField(fields, 'version')};
}

export async function deleteKey(
  caller: Caller,
  key: Bytes,
  options: DeleteOptions,
): Promise<DeleteResult> {
  checkObject(options, 'the options of a delete', deleteOptionNames);
  const target = keyTarget(key);
  const headers = conditionHeaders(options);
  const call: Call = {method: 'DELETE', target, headers, repeat: 'with-key'};
  return deleteResult((await caller.call(call, options)).body);
}

export async function deleteRange(
  caller: Caller,
  range: KeyRange,
  options: CallOptions,
): Promise<DeleteResult> {
  const named = rangeQuery(range, true);
  // The server wants it said when all keys are meant.
  const target = `/kv${queryOf(named.length === 0 ? [['prefix', '']] : named)}`;
  const call: Call = {method: 'DELETE', target, repeat: 'with-key'};
  return deleteResult((await caller.call(call, options)).body);
}

export async function countKeys(
  caller: Caller,
  range: KeyRange,
  options: GetOptions,
): Promise<{readonly count: number; readonly revision: number}> {
  const query = queryOf([
    ...rangeQuery(range),
    ['countOnly', 'true'],
    ['revision', options.revision],
    ['consistency', options.consistency],
  ]);
  const call: Call = {method: 'GET', target: `/kv${query}`, repeat: 'freely'};
  const fields = parseObject((await caller.call(call, options)).body);
  return {count: integerField(fields, 'count'), revision: integerField(fields, 'revision')};
}

export async function compactTo(
  caller: Caller,
  revision: number,
  options: CallOptions,
): Promise<{readonly compactedRevision: number}> {
  const call: Call = {
    method: 'POST',
    target: '/compact',
    body: JSON.stringify({revision}),
    repeat: 'with-key',
  };
  const fields = parseObject((await caller.call(call, options)).body);
  return {compactedRevision: integerField(fields, 'compactedRevision')};
}

export function keyTarget(key: Bytes): string {
  return `/kv/${percentEncode(key, 'the key')}`;
}

type QueryEntry = readonly [name: string, value: string | number | undefined];

/** What an encoded text or a number consists of. */
const isQueryValue = /^[\w.~!*'()%+-]*$/;

/**
 * Values are encoded already, or have nothing to encode. Whatever the types say: anything else
 * would reach beyond its parameter, or beyond the request. Throws INVALID_ARGUMENT.
 */
export function queryOf(entries: readonly QueryEntry[]): string {
  let query = '';
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    if (!isQueryValue.test(String(value))) {
      throw invalidArgument(`${name} cannot be ${JSON.stringify(value)}`);
    }
    query += `${query === '' ? '?' : '&'}${name}=${value}`;
  }
  return query;
}

/** `isStrict`: see `checkRange`. Throws INVALID_ARGUMENT. */
export function rangeQuery(range: KeyRange, isStrict = false): QueryEntry[] {
  checkRange(range, rangeNames, isStrict);
  const {prefix, start, end} = range;
  const entries: [string, string][] = [];
  if (prefix !== undefined) entries.push(['prefix', percentEncode(prefix, 'the prefix')]);
  if (start !== undefined) entries.push(['start', percentEncode(start, 'start')]);
  if (end !== undefined) entries.push(['end', percentEncode(end, 'end')]);
  if (prefix !== undefined && entries.length > 1) {
    throw invalidArgument('a range is a prefix, or start and end');
  }
  return entries;
}

/** A condition that is misspelt would be none. */
const deleteOptionNames: readonly string[] = ['signal', 'timeoutMs', 'ifModRevision', 'ifExists'];
const putOptionNames: readonly string[] = [...deleteOptionNames, 'ifAbsent', 'lease', 'ttl'];

function checkFlag(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw invalidArgument(`${name} is true or false`);
}

function conditionHeaders(conditions: WriteConditions): Readonly<Record<string, string>> {
  const {ifModRevision, ifExists = false, ifAbsent = false} = conditions;
  checkFlag(ifExists, 'ifExists');
  checkFlag(ifAbsent, 'ifAbsent');
  const count = Number(ifModRevision !== undefined) + Number(ifExists) + Number(ifAbsent);
  if (count > 1) throw invalidArgument('a write has at most one condition; use a transaction');
  if (ifModRevision !== undefined) {
    if (!Number.isSafeInteger(ifModRevision)) throw invalidArgument('ifModRevision is no revision');
    return {'If-Match': `"${ifModRevision}"`};
  }
  if (ifExists) return {'If-Match': '*'};
  return ifAbsent ? {'If-None-Match': '*'} : {};
}

function deleteResult(body: string): DeleteResult {
  const fields = parseObject(body);
  return {deleted: integerField(fields, 'deleted'), revision: integerField(fields, 'revision')};
}

/** Without an exponent, which the server does not take. */
function decimal(seconds: number): string {
  const text = String(seconds);
  return text.includes('e') ? seconds.toFixed(3) : text;
}
