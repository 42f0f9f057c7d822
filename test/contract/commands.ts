/** Short ways to write commands in tests. Keys and values are latin1 text. */
import {encodeCommand} from '../../src/kv/command-codec.ts';
import type {
  CommandBody,
  Compare,
  CompareOperator,
  CompareTarget,
  DeleteOperation,
  DeleteRangeOperation,
  GetOperation,
  KeyRange,
  Operation,
  PutOperation,
  RangeOperation,
  Transaction,
} from '../../src/kv/command.ts';

export function bytes(latin1: string): Uint8Array {
  return new Uint8Array(Buffer.from(latin1, 'latin1'));
}

export function text(latin1: Uint8Array): string {
  return Buffer.from(latin1.buffer, latin1.byteOffset, latin1.byteLength).toString('latin1');
}

export function range(start: string, end: string | null): KeyRange {
  return {start: bytes(start), end: end === null ? null : bytes(end)};
}

export function put(
  key: string,
  value: string,
  options: Partial<Omit<PutOperation, 'type' | 'key' | 'value'>> = {},
): PutOperation {
  return {
    type: 'put',
    key: bytes(key),
    value: bytes(value),
    leaseId: 0,
    ttlMs: 0,
    ignoreValue: false,
    ignoreLease: false,
    wantsPrevious: false,
    ...options,
  };
}

export function get(key: string): GetOperation {
  return {type: 'get', key: bytes(key)};
}

export function list(
  keys: KeyRange,
  options: Partial<Omit<RangeOperation, 'type' | 'range'>> = {},
): RangeOperation {
  const defaults = {limit: 0, isReverse: false, keysOnly: false, countOnly: false};
  return {type: 'range', range: keys, ...defaults, ...options};
}

export function del(key: string, wantsPrevious = false): DeleteOperation {
  return {type: 'delete', key: bytes(key), wantsPrevious};
}

export function deleteRange(keys: KeyRange, wantsPrevious = false): DeleteRangeOperation {
  return {type: 'delete-range', range: keys, wantsPrevious};
}

export function compare(
  keys: string | KeyRange,
  operator: CompareOperator,
  target: CompareTarget,
): Compare {
  return {keys: typeof keys === 'string' ? {key: bytes(keys)} : {range: keys}, operator, target};
}

export function transaction(
  parts: {
    readonly compare?: readonly Compare[];
    readonly success?: readonly Operation[];
    readonly failure?: readonly Operation[];
  } = {},
): Transaction {
  return {type: 'transaction', compare: [], success: [], failure: [], ...parts};
}

export function encode(
  body: CommandBody,
  idempotency: {
    readonly key: string;
    readonly request: number;
    readonly acknowledged?: number;
  } | null = null,
): Uint8Array {
  if (idempotency === null) return encodeCommand({idempotency: null, body});
  const {key, request, acknowledged = 0} = idempotency;
  const fingerprint = new Uint8Array(16).fill(request);
  return encodeCommand({idempotency: {key, fingerprint, acknowledged}, body});
}
