/**
 * Executes one transaction in three passes. First the path: all compares, nested ones too, are
 * decided on the state before the transaction, as in etcd. Then every reason for a refusal is
 * checked on that path. Last it runs, and cannot fail any more: a refusal changes nothing, without
 * undoing anything. Validation guarantees that no key is written twice, so the state before the
 * transaction is enough to check a write.
 */
import {assert, must, unreachable} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {compareHolds} from './compare.ts';
import type {
  Compare,
  DeleteRangeOperation,
  KeyRange,
  Operation,
  PutOperation,
  RangeOperation,
  Transaction,
} from './command.ts';
import type {EventWriter} from './event-writer.ts';
import {readRangeSlice} from './range-reader.ts';
import type {RecordRow} from './record-row.ts';
import {toKeyRecord} from './record-row.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import type {RangeSliceRequest} from './state-reader.ts';
import {isSingleOperation, validateTransaction} from './transaction-validation.ts';

/** The side that was taken, with the same for the nested transactions among its operations. */
interface Path {
  readonly succeeded: boolean;
  readonly steps: readonly (Operation | Path)[];
}

const sliceRowCountMax = 100_000;
const withoutValues = {isReverse: false, keysOnly: true, countOnly: false};

export class TransactionExecutor {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #events: EventWriter;
  /** Of the command being executed: what it may still look at and answer with. */
  #scanKeyCountLeft = 0;
  #resultSizeBytesLeft = 0;

  constructor(parts: {
    readonly rows: RowStore;
    readonly meta: StateMeta;
    readonly events: EventWriter;
  }) {
    this.#rows = parts.rows;
    this.#meta = parts.meta;
    this.#events = parts.events;
  }

  execute(transaction: Transaction): CommandResult {
    this.#scanKeyCountLeft = limits.commandScanKeyCountMax;
    this.#resultSizeBytesLeft = limits.resultSizeBytesMax;
    let path: Path;
    try {
      path = this.#preparedPath(transaction);
    } catch (error) {
      if (!(error instanceof RosettaError)) throw error;
      assert(this.#events.changeCount() === 0, 'a refused transaction changed nothing');
      const {code, message} = error;
      return {type: 'refused', revision: this.#meta.revision, code, detail: message};
    }
    this.#events.begin();
    const results = this.#runSteps(path);
    this.#events.finish();
    const {revision} = this.#meta;
    return {type: 'transaction', revision, succeeded: path.succeeded, results};
  }

  /** The plain put, without the objects of a transaction around it. */
  put(key: Uint8Array, value: Uint8Array): CommandResult {
    this.#events.begin();
    const latest = this.#events.latest(key);
    const version = this.#events.put(key, latest, {value, leaseId: 0});
    this.#events.finish();
    return {
      type: 'transaction',
      revision: this.#meta.revision,
      succeeded: true,
      results: [{type: 'put', version, previous: null}],
    };
  }

  #preparedPath(transaction: Transaction): Path {
    if (isSingleOperation(transaction)) {
      const path = {succeeded: true, steps: transaction.success};
      this.#checkSteps(path, new Map());
      return path;
    }
    const invalid = validateTransaction(transaction);
    if (invalid !== null) throw invalid;
    const path = this.#choosePath(transaction);
    const putSizes = new Map<string, number>();
    collectPutSizes(path, putSizes);
    this.#checkSteps(path, putSizes);
    return path;
  }

  #choosePath(transaction: Transaction): Path {
    const succeeded = transaction.compare.every(compare => this.#compareHolds(compare));
    const operations = succeeded ? transaction.success : transaction.failure;
    const steps = operations.map(operation =>
      operation.type === 'transaction' ? this.#choosePath(operation) : operation,
    );
    return {succeeded, steps};
  }

  #compareHolds(compare: Compare): boolean {
    const {keys} = compare;
    if (!('range' in keys)) return compareHolds(compare, this.#live(keys.key));
    let keyCount = 0;
    let holds = true;
    const keysOnly = compare.target.type !== 'value';
    this.#forEachRecord(keys.range, {...withoutValues, keysOnly}, record => {
      keyCount++;
      this.#spendScan(1);
      holds = compareHolds(compare, record);
      return holds;
    });
    return keyCount === 0 ? compareHolds(compare, null) : holds;
  }

  #checkSteps(path: Path, putSizes: ReadonlyMap<string, number>): void {
    for (const step of path.steps) {
      if ('steps' in step) this.#checkSteps(step, putSizes);
      else this.#check(step, putSizes);
    }
  }

  #check(operation: Operation, putSizes: ReadonlyMap<string, number>): void {
    switch (operation.type) {
      case 'put':
        this.#checkPut(operation);
        break;
      case 'get': {
        const size = this.#live(operation.key)?.value.length ?? 0;
        this.#spendResult(Math.max(size, putSizes.get(keyText(operation.key)) ?? 0));
        break;
      }
      case 'range':
        if (operation.countOnly && !isWholeSpace(operation.range)) {
          this.#spendScan(this.#countKeys(operation.range, this.#scanKeyCountLeft + 1));
        }
        break;
      case 'delete':
        if (operation.wantsPrevious) {
          this.#spendResult(this.#live(operation.key)?.value.length ?? 0);
        }
        break;
      case 'delete-range':
        this.#checkDeleteRange(operation);
        break;
      case 'transaction':
        assert(false, 'the path holds no unresolved transaction');
        break;
      default:
        unreachable(operation);
    }
  }

  #checkPut(put: PutOperation): void {
    if (put.leaseId !== 0) {
      throw new RosettaError('LEASE_NOT_FOUND', `There is no lease ${put.leaseId}.`);
    }
    if (put.ttlMs !== 0) {
      throw new RosettaError('NOT_IMPLEMENTED', 'Keys with a lifetime are not implemented.');
    }
    if (!put.ignoreValue && !put.ignoreLease && !put.wantsPrevious) return;
    const live = this.#live(put.key);
    if (live === null && (put.ignoreValue || put.ignoreLease)) {
      throw new RosettaError('KEY_NOT_FOUND', 'A put that keeps value or lease needs the key.');
    }
    if (put.wantsPrevious) this.#spendResult(live?.value.length ?? 0);
  }

  #checkDeleteRange(operation: DeleteRangeOperation): void {
    const max = limits.deleteRangeKeyCountMax;
    if (isWholeSpace(operation.range) && this.#meta.keyCount > max) throw tooManyKeys(max);
    const count = this.#countKeys(operation.range, max + 1);
    if (count > max) throw tooManyKeys(max);
    this.#spendScan(count);
    if (!operation.wantsPrevious) return;
    this.#forEachRecord(operation.range, {...withoutValues, keysOnly: false}, record => {
      this.#spendResult(record.key.length + record.value.length);
      return true;
    });
  }

  #runSteps(path: Path): readonly OperationResult[] {
    return path.steps.map(step =>
      'steps' in step
        ? {type: 'transaction', succeeded: step.succeeded, results: this.#runSteps(step)}
        : this.#run(step),
    );
  }

  #run(operation: Operation): OperationResult {
    switch (operation.type) {
      case 'put':
        return this.#runPut(operation);
      case 'get': {
        const live = this.#live(operation.key);
        const record = live && toKeyRecord(operation.key, live, {keysOnly: false});
        return {type: 'get', record};
      }
      case 'range':
        return this.#runRange(operation);
      case 'delete':
        return this.#runDelete([operation.key], operation);
      case 'delete-range': {
        const keys: Uint8Array[] = [];
        this.#forEachRecord(operation.range, withoutValues, record => {
          keys.push(record.key);
          return true;
        });
        return this.#runDelete(keys, operation);
      }
      case 'transaction':
        assert(false, 'the path holds no unresolved transaction');
        break;
      default:
        return unreachable(operation);
    }
  }

  #runPut(put: PutOperation): OperationResult {
    const latest = this.#events.latest(put.key);
    const live = latest === null || latest.isTombstone ? null : latest;
    const previous =
      put.wantsPrevious && live !== null ? toKeyRecord(put.key, live, {keysOnly: false}) : null;
    // Writing may read another row, which ends the life of a view: hence the copy.
    const value = put.ignoreValue
      ? new Uint8Array(must(live, 'checked: the key exists').value)
      : put.value;
    const leaseId = put.ignoreLease ? must(live, 'checked: the key exists').leaseId : put.leaseId;
    const version = this.#events.put(put.key, latest, {value, leaseId});
    return {type: 'put', version, previous};
  }

  #runDelete(
    keys: readonly Uint8Array[],
    options: {readonly wantsPrevious: boolean},
  ): OperationResult {
    const previous: KeyRecord[] = [];
    let deletedCount = 0;
    for (const key of keys) {
      const live = this.#live(key);
      if (live === null) continue;
      if (options.wantsPrevious) previous.push(toKeyRecord(key, live, {keysOnly: false}));
      this.#events.delete(key, live);
      deletedCount++;
    }
    return {type: 'delete', deletedCount, previous};
  }

  /** Ends early, with hasMore, where the budget of the command does. */
  #runRange(operation: RangeOperation): OperationResult {
    const {range, isReverse, keysOnly, countOnly} = operation;
    if (countOnly) {
      const count = isWholeSpace(range)
        ? this.#meta.keyCount
        : this.#countKeys(range, Number.MAX_SAFE_INTEGER);
      return {type: 'range', records: [], count, hasMore: false};
    }
    const limitMax = limits.rangeLimitMax;
    const limit = operation.limit === 0 ? limitMax : Math.min(operation.limit, limitMax);
    const countMax = Math.min(limit, this.#scanKeyCountLeft);
    const records: KeyRecord[] = [];
    let hasMore = false;
    this.#forEachRecord(range, {isReverse, keysOnly, countOnly: false}, record => {
      const size = record.key.length + record.value.length;
      if (records.length >= countMax || size > this.#resultSizeBytesLeft) {
        hasMore = true;
        return false;
      }
      this.#scanKeyCountLeft--;
      this.#resultSizeBytesLeft -= size;
      records.push(record);
      return true;
    });
    return {type: 'range', records, count: records.length, hasMore};
  }

  /** The row of a key that exists, its value a view. */
  #live(key: Uint8Array): RecordRow | null {
    const latest = this.#events.latest(key);
    return latest === null || latest.isTombstone ? null : latest;
  }

  /** Stops at `countMax`. */
  #countKeys(range: KeyRange, countMax: number): number {
    let count = 0;
    let rest: KeyRange | null = range;
    while (rest !== null && count < countMax) {
      const request = {...withoutValues, countOnly: true, countMax: countMax - count};
      const slice = readRangeSlice(this.#rows, this.#meta.compactedRevision, {
        ...sliceOf(rest),
        ...request,
      });
      count += slice.count;
      rest = slice.rest;
    }
    return count;
  }

  /** The records of the state as the transaction has left it so far, until `visit` says false. */
  #forEachRecord(
    range: KeyRange,
    options: Pick<RangeSliceRequest, 'isReverse' | 'keysOnly' | 'countOnly'>,
    visit: (record: KeyRecord) => boolean,
  ): void {
    let rest: KeyRange | null = range;
    while (rest !== null) {
      const request = {...sliceOf(rest), ...options, countMax: 256};
      const slice = readRangeSlice(this.#rows, this.#meta.compactedRevision, request);
      for (const record of slice.records) if (!visit(record)) return;
      rest = slice.rest;
    }
  }

  #spendScan(keyCount: number): void {
    this.#scanKeyCountLeft -= keyCount;
    if (this.#scanKeyCountLeft < 0) throw tooManyKeys(limits.commandScanKeyCountMax);
  }

  #spendResult(sizeBytes: number): void {
    this.#resultSizeBytesLeft -= sizeBytes;
    if (this.#resultSizeBytesLeft >= 0) return;
    const max = limits.resultSizeBytesMax;
    throw new RosettaError('TOO_MANY_KEYS', `The answer would have more than ${max} bytes.`);
  }
}

function sliceOf(
  range: KeyRange,
): Pick<RangeSliceRequest, 'range' | 'revision' | 'sizeBytesMax' | 'rowCountMax'> {
  return {
    range,
    revision: Number.MAX_SAFE_INTEGER,
    sizeBytesMax: limits.rangeSizeBytesMax,
    rowCountMax: sliceRowCountMax,
  };
}

function collectPutSizes(path: Path, sizes: Map<string, number>): void {
  for (const step of path.steps) {
    if ('steps' in step) collectPutSizes(step, sizes);
    else if (step.type === 'put') sizes.set(keyText(step.key), step.value.length);
  }
}

function isWholeSpace(range: KeyRange): boolean {
  return range.start.length === 0 && range.end === null;
}

function tooManyKeys(max: number): RosettaError {
  return new RosettaError('TOO_MANY_KEYS', `The command touches more than ${max} keys.`);
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
