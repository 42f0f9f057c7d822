/** Transactions: compares, then one of two lists of operations, all of it or nothing. */
import {checkList, checkObject} from './argument-check.ts';
import {bytesFields, type Bytes} from './bytes-text.ts';
import type {Caller} from './call.ts';
import {invalidArgument} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import type {DeleteResult, PutResult} from './kv-requests.ts';
import {
  asObject,
  booleanField,
  integerField,
  KvRecord,
  listField,
  parseObject,
  type Json,
} from './record.ts';

export type CompareOperator = '=' | '!=' | '<' | '>';

/** On a key that is absent, numbers are 0 and a value compare is false. */
export type Compare =
  | {
      readonly key: Bytes;
      readonly target: 'value';
      readonly op: CompareOperator;
      readonly value: Bytes;
    }
  | {
      readonly key: Bytes;
      readonly target: 'version' | 'createRevision' | 'modRevision';
      readonly op: CompareOperator;
      readonly value: number;
    }
  | {
      readonly key: Bytes;
      readonly target: 'lease';
      readonly op: CompareOperator;
      /** Id of a lease, `0` for none. */
      readonly value: string;
    };

export interface PutOperation {
  readonly key: Bytes;
  readonly value: Bytes;
  readonly lease?: string | undefined;
  /** Seconds; not together with `lease`. */
  readonly ttl?: number | undefined;
}

export type Operation =
  | {readonly put: PutOperation}
  | {readonly get: {readonly key: Bytes}}
  | {readonly delete: {readonly key: Bytes}};

/** At most 128 each. */
export interface Transaction {
  /** All must hold for `success`; none: they do. */
  readonly compare?: readonly Compare[] | undefined;
  readonly success?: readonly Operation[] | undefined;
  readonly failure?: readonly Operation[] | undefined;
}

export type OperationResult =
  | ({readonly type: 'put'} & PutResult)
  | {readonly type: 'get'; readonly record: KvRecord | null}
  | ({readonly type: 'delete'} & DeleteResult);

export interface TransactionResult {
  /** All compares held, so `success` was done; otherwise `failure`. */
  readonly succeeded: boolean;
  /** Of the state after it. */
  readonly revision: number;
  /** One for each operation of the list that was done, in its order. */
  readonly results: readonly OperationResult[];
}

export async function runTransaction(
  caller: Caller,
  transaction: Transaction,
  options: CallOptions,
): Promise<TransactionResult> {
  checkObject(transaction, 'a transaction', ['compare', 'success', 'failure']);
  const {compare = [], success = [], failure = []} = transaction;
  checkList(compare, 'compare');
  checkList(success, 'success');
  checkList(failure, 'failure');
  const body = JSON.stringify({
    compare: compare.map(compareJson),
    success: success.map(operationJson),
    failure: failure.map(operationJson),
  });
  const call = {method: 'POST', target: '/txn', body, repeat: 'with-key'} as const;
  const fields = parseObject((await caller.call(call, options)).body);
  const succeeded = booleanField(fields, 'succeeded');
  const operations = succeeded ? success : failure;
  const results = listField(fields, 'results');
  return {
    succeeded,
    revision: integerField(fields, 'revision'),
    results: operations.map((operation, i) => readResult(operation, results[i])),
  };
}

function compareJson(compare: Compare): object {
  checkObject(compare, 'a compare', ['key', 'target', 'op', 'value']);
  const {key, target, op, value} = compare;
  const content = target === 'value' ? bytesFields('value', value, 'encoding') : {value};
  return {...bytesFields('key', key, 'keyEncoding'), target, op, ...content};
}

function operationJson(operation: Operation): object {
  checkObject(operation, 'an operation', ['put', 'get', 'delete']);
  if (Object.keys(operation).length !== 1) {
    throw invalidArgument('an operation is one of {put}, {get} and {delete}');
  }
  if ('get' in operation) {
    checkObject(operation.get, 'a get', null);
    return {get: bytesFields('key', operation.get.key, 'keyEncoding')};
  }
  if ('delete' in operation) {
    checkObject(operation.delete, 'a delete', null);
    return {delete: bytesFields('key', operation.delete.key, 'keyEncoding')};
  }
  checkObject(operation.put, 'a put', ['key', 'value', 'lease', 'ttl']);
  const {key, value, lease, ttl} = operation.put;
  if (lease !== undefined && ttl !== undefined) {
    throw invalidArgument('a put takes a lease or a ttl, not both');
  }
  return {
    put: {
      ...bytesFields('key', key, 'keyEncoding'),
      ...bytesFields('value', value, 'encoding'),
      lease,
      ttl,
    },
  };
}

function readResult(operation: Operation, result: Json | undefined): OperationResult {
  if ('get' in operation) {
    const record = result === null ? null : new KvRecord(asObject(result, 'a result'));
    return {type: 'get', record};
  }
  const fields = asObject(result, 'a result');
  const revision = integerField(fields, 'revision');
  return 'put' in operation
    ? {type: 'put', revision, version: integerField(fields, 'version')}
    : {type: 'delete', revision, deleted: integerField(fields, 'deleted')};
}
