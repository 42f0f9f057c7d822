/**
 * What whole commands must answer, in the order of the log: transactions of several operations,
 * grants and revocations of leases. Plain and apart from src/kv, on the plain model of the store.
 */
import {unreachable} from '../../../src/base/assert.ts';
import type {ErrorCode} from '../../../src/base/errors.ts';
import type {
  Compare,
  LeaseGrantCommand,
  LeaseRevokeCommand,
  Operation,
  PutOperation,
  RangeOperation,
  Transaction,
} from '../../../src/kv/command.ts';
import type {CommandResult, KeyRecord, OperationResult} from '../../../src/kv/result.ts';
import {bytes, text} from '../../contract/commands.ts';
import type {ModelRecord, StoreModel} from './store-model.ts';

export type ModelledCommand = Transaction | LeaseGrantCommand | LeaseRevokeCommand;

export function performCommand(model: StoreModel, body: ModelledCommand): CommandResult {
  switch (body.type) {
    case 'transaction':
      return transact(model, body);
    case 'lease-grant':
      return grant(model, body);
    case 'lease-revoke':
      return revoke(model, body);
  }
}

function grant(model: StoreModel, {id, ttlMs}: LeaseGrantCommand): CommandResult {
  if (id !== 0 && model.leases.get(id) !== null) return refused(model, 'LEASE_EXISTS');
  const lease = model.leases.grant(id, ttlMs, false);
  return {type: 'lease', revision: model.revision, id: lease.id, ttlMs, remainingMs: ttlMs};
}

function revoke(model: StoreModel, {leases}: LeaseRevokeCommand): CommandResult {
  const chosen = leases.flatMap(named => {
    const lease = model.leases.get(named.id);
    return lease !== null && (named.grant === 0 || named.grant === lease.grant) ? [lease] : [];
  });
  if (chosen.length === 0 && leases[0]?.grant === 0) return refused(model, 'LEASE_NOT_FOUND');
  let deletedCount = 0;
  for (const lease of new Set(chosen)) {
    for (const key of [...lease.keys].sort()) {
      model.remove(key);
      deletedCount++;
    }
    model.leases.remove(lease);
  }
  return {type: 'lease-revoke', revision: model.endCommand(), deletedCount};
}

/** The side that was taken; all compares are decided before anything changes. */
interface Path {
  readonly succeeded: boolean;
  readonly steps: readonly (Operation | Path)[];
}

function transact(model: StoreModel, transaction: Transaction): CommandResult {
  const path = pathOf(model, transaction);
  const code = refusalOf(model, path);
  if (code !== null) return refused(model, code);
  const results = run(model, path);
  const {succeeded} = path;
  return {type: 'transaction', revision: model.endCommand(), succeeded, results};
}

function pathOf(model: StoreModel, {compare, success, failure}: Transaction): Path {
  const succeeded = compare.every(each => compareHolds(model, each));
  const steps = (succeeded ? success : failure).map(operation =>
    operation.type === 'transaction' ? pathOf(model, operation) : operation,
  );
  return {succeeded, steps};
}

function compareHolds(model: StoreModel, compare: Compare): boolean {
  const {keys} = compare;
  if ('key' in keys) return recordHolds(compare, model.record(text(keys.key)));
  const {start, end} = keys.range;
  const records = model.records(text(start), end === null ? null : text(end));
  if (records.length === 0) return recordHolds(compare, null);
  return records.every(record => recordHolds(compare, record));
}

function recordHolds({target, operator}: Compare, record: ModelRecord | null): boolean {
  if (target.type === 'value' && record === null) return false;
  const [left, right] =
    target.type === 'value'
      ? [record?.value ?? '', text(target.value)]
      : [record?.[target.type === 'lease' ? 'leaseId' : target.type] ?? 0, target.value];
  if (operator === '=') return left === right;
  if (operator === '!=') return left !== right;
  return operator === '<' ? left < right : left > right;
}

function refusalOf(model: StoreModel, {steps}: Path): ErrorCode | null {
  for (const step of steps) {
    const code = 'steps' in step ? refusalOf(model, step) : refusalOfPut(model, step);
    if (code !== null) return code;
  }
  return null;
}

function refusalOfPut(model: StoreModel, step: Operation): ErrorCode | null {
  if (step.type !== 'put') return null;
  if (step.leaseId !== 0) {
    const lease = model.leases.get(step.leaseId);
    if (lease === null || lease.isPrivate) return 'LEASE_NOT_FOUND';
  }
  const needsKey = step.ignoreValue || step.ignoreLease;
  return needsKey && model.record(text(step.key)) === null ? 'KEY_NOT_FOUND' : null;
}

function run(model: StoreModel, {steps}: Path): OperationResult[] {
  return steps.map(step => {
    if (!('steps' in step)) return runOne(model, step);
    const {succeeded} = step;
    return {type: 'transaction', succeeded, results: run(model, step)};
  });
}

function runOne(model: StoreModel, operation: Operation): OperationResult {
  switch (operation.type) {
    case 'put':
      return put(model, operation);
    case 'get': {
      const record = model.record(text(operation.key));
      return {type: 'get', record: record && keyRecord(record)};
    }
    case 'delete': {
      const before = model.remove(text(operation.key));
      return deleted(before === null ? [] : [before], operation.wantsPrevious);
    }
    case 'delete-range': {
      const {start, end} = operation.range;
      const records = model.records(text(start), end === null ? null : text(end));
      for (const {key} of records) model.remove(key);
      return deleted(records, operation.wantsPrevious);
    }
    case 'range':
      return list(model, operation);
    case 'transaction':
      throw new Error('a path holds no undecided transaction');
    default:
      return unreachable(operation);
  }
}

function put(model: StoreModel, operation: PutOperation): OperationResult {
  const key = text(operation.key);
  const before = model.record(key);
  const value = operation.ignoreValue ? (before?.value ?? '') : text(operation.value);
  let {leaseId} = operation;
  if (operation.ignoreLease) leaseId = before?.leaseId ?? 0;
  else if (operation.ttlMs > 0) leaseId = model.leases.grant(0, operation.ttlMs, true).id;
  const {version} = model.put(key, value, leaseId);
  const previous = operation.wantsPrevious && before !== null ? keyRecord(before) : null;
  return {type: 'put', version, previous};
}

function list(model: StoreModel, operation: RangeOperation): OperationResult {
  const {range, isReverse, keysOnly, countOnly, limit} = operation;
  const found = model.records(text(range.start), range.end === null ? null : text(range.end));
  if (countOnly) return {type: 'range', records: [], count: found.length, hasMore: false};
  if (isReverse) found.reverse();
  const taken = limit === 0 ? found : found.slice(0, limit);
  const records = taken.map(record => keyRecord(keysOnly ? {...record, value: ''} : record));
  return {type: 'range', records, count: taken.length, hasMore: taken.length < found.length};
}

function deleted(records: readonly ModelRecord[], wantsPrevious: boolean): OperationResult {
  const previous = wantsPrevious ? records.map(keyRecord) : [];
  return {type: 'delete', deletedCount: records.length, previous};
}

function refused({revision}: StoreModel, code: ErrorCode): CommandResult {
  return {type: 'refused', revision, code, detail: ''};
}

function keyRecord({key, value, ...numbers}: ModelRecord): KeyRecord {
  return {key: bytes(key), value: bytes(value), ...numbers};
}
