/**
 * Executes one transaction in three passes. First the path: all compares, nested ones too, are
 * decided on the state before the transaction, as in etcd. Then every reason for a refusal is
 * checked on that path. Last it runs, and cannot fail any more: a refusal changes nothing, without
 * undoing anything. Validation guarantees that no key is written twice, so the state before the
 * transaction is enough to check a write.
 *
 * Whatever walks over a range works in steps (kv/steps.ts); the rest of a command is one step.
 */
import {Buffer} from 'node:buffer';
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
import {countKeys, forEachRecord} from './range-steps.ts';
import type {LeaseTable} from './lease-table.ts';
import type {RangeWalk} from './range-steps.ts';
import type {RecordRow} from './record-row.ts';
import {toKeyRecord} from './record-row.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import type {Steps} from './steps.ts';
import {stepChangeCountMax, stepSizeBytesMax} from './steps.ts';
import {isSingleOperation, validateTransaction} from './transaction-validation.ts';

/** The side that was taken, with the same for the nested transactions among its operations. */
interface Path {
  readonly succeeded: boolean;
  readonly steps: readonly (Operation | Path)[];
}

export class TransactionExecutor {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #events: EventWriter;
  readonly #leases: LeaseTable;
  /** Of the command being executed: what it may still look at and answer with. */
  #scanKeyCountLeft = 0;
  #resultSizeBytesLeft = 0;
  /** By lease: the keys it would have with those that are attached. */
  readonly #leaseKeyCounts = new Map<number, number>();

  constructor(parts: {
    readonly rows: RowStore;
    readonly meta: StateMeta;
    readonly events: EventWriter;
    readonly leases: LeaseTable;
  }) {
    this.#rows = parts.rows;
    this.#meta = parts.meta;
    this.#events = parts.events;
    this.#leases = parts.leases;
  }

  *execute(transaction: Transaction): Steps<CommandResult> {
    this.#scanKeyCountLeft = limits.commandScanKeyCountMax;
    this.#resultSizeBytesLeft = limits.resultSizeBytesMax;
    this.#leaseKeyCounts.clear();
    let path: Path;
    try {
      path = yield* this.#preparedPath(transaction);
    } catch (error) {
      if (!(error instanceof RosettaError)) throw error;
      assert(this.#events.changeCount() === 0, 'a refused transaction changed nothing');
      const {code, message} = error;
      return {type: 'refused', revision: this.#meta.revision, code, detail: message};
    }
    this.#events.begin();
    const results = yield* this.#runPath(path);
    this.#events.finish();
    const {revision} = this.#meta;
    return {type: 'transaction', revision, succeeded: path.succeeded, results};
  }

  /** The plain put, without the objects of a transaction around it. */
  put(key: Uint8Array, value: Uint8Array): CommandResult {
    this.#events.begin();
    const latest = this.#events.latestHead(key);
    const version = this.#events.put(key, latest, {value, leaseId: 0});
    this.#events.finish();
    return {
      type: 'transaction',
      revision: this.#meta.revision,
      succeeded: true,
      results: [{type: 'put', version, previous: null}],
    };
  }

  *#preparedPath(transaction: Transaction): Steps<Path> {
    if (isSingleOperation(transaction)) {
      const path = {succeeded: true, steps: transaction.success};
      yield* this.#checkPath(path, new Map());
      return path;
    }
    const invalid = validateTransaction(transaction);
    if (invalid !== null) throw invalid;
    const path = yield* this.#choosePath(transaction);
    const putSizes = new Map<string, number>();
    collectPutSizes(path, putSizes);
    yield* this.#checkPath(path, putSizes);
    return path;
  }

  *#choosePath(transaction: Transaction): Steps<Path> {
    let succeeded = true;
    for (const compare of transaction.compare) {
      const {keys} = compare;
      succeeded =
        'range' in keys
          ? yield* this.#rangeHolds(keys.range, compare)
          : compareHolds(compare, this.#live(keys.key));
      if (!succeeded) break;
    }
    const steps: (Operation | Path)[] = [];
    for (const operation of succeeded ? transaction.success : transaction.failure) {
      const isNested = operation.type === 'transaction';
      steps.push(isNested ? yield* this.#choosePath(operation) : operation);
    }
    return {succeeded, steps};
  }

  *#rangeHolds(range: KeyRange, compare: Compare): Steps<boolean> {
    let keyCount = 0;
    let holds = true;
    const keysOnly = compare.target.type !== 'value';
    yield* this.#forEachRecord({range, isReverse: false, keysOnly}, record => {
      keyCount++;
      this.#spendScan(1);
      holds = compareHolds(compare, record);
      return holds;
    });
    return keyCount === 0 ? compareHolds(compare, null) : holds;
  }

  *#checkPath(path: Path, putSizes: ReadonlyMap<string, number>): Steps<void> {
    for (const step of path.steps) {
      if ('steps' in step) yield* this.#checkPath(step, putSizes);
      else if (step.type === 'range') yield* this.#checkRange(step);
      else if (step.type === 'delete-range') yield* this.#checkDeleteRange(step);
      else this.#check(step, putSizes);
    }
  }

  #check(
    operation: Exclude<Operation, RangeOperation | DeleteRangeOperation>,
    putSizes: ReadonlyMap<string, number>,
  ): void {
    switch (operation.type) {
      case 'put':
        this.#checkPut(operation);
        break;
      case 'get': {
        const size = this.#live(operation.key)?.value.length ?? 0;
        this.#spendResult(Math.max(size, putSizes.get(keyText(operation.key)) ?? 0));
        break;
      }
      case 'delete':
        if (operation.wantsPrevious) {
          this.#spendResult(this.#live(operation.key)?.value.length ?? 0);
        }
        break;
      case 'transaction':
        assert(false, 'the path holds no unresolved transaction');
        break;
      default:
        unreachable(operation);
    }
  }

  #checkPut(put: PutOperation): void {
    if (put.leaseId !== 0) this.#checkLease(put.leaseId, put.key);
    if (put.ttlMs !== 0 && this.#leases.count >= limits.leaseCountMax) {
      throw new RosettaError('OVERLOADED', `There are ${this.#leases.count} leases already.`);
    }
    if (!put.ignoreValue && !put.ignoreLease && !put.wantsPrevious) return;
    const live = this.#live(put.key);
    if (live === null && (put.ignoreValue || put.ignoreLease)) {
      throw new RosettaError('KEY_NOT_FOUND', 'A put that keeps value or lease needs the key.');
    }
    if (put.wantsPrevious) this.#spendResult(live?.value.length ?? 0);
  }

  /** The lease of a key with a lifetime of its own is nobody else's. */
  #checkLease(id: number, key: Uint8Array): void {
    const lease = this.#leases.get(id);
    if (lease === null || lease.isPrivate) {
      throw new RosettaError('LEASE_NOT_FOUND', `There is no lease ${id} to attach a key to.`);
    }
    if (this.#events.latestHead(key)?.leaseId === id) return;
    // What the command itself detaches or deletes is not subtracted.
    const keyCount = (this.#leaseKeyCounts.get(id) ?? lease.keyCount) + 1;
    const max = limits.leaseKeyCountMax;
    if (keyCount > max) {
      const detail = `A lease has at most ${max} keys; attach this one to another lease.`;
      throw new RosettaError('TOO_MANY_KEYS', detail);
    }
    this.#leaseKeyCounts.set(id, keyCount);
  }

  *#checkRange(operation: RangeOperation): Steps<void> {
    if (!operation.countOnly || isWholeSpace(operation.range)) return;
    this.#spendScan(yield* this.#countKeys(operation.range, this.#scanKeyCountLeft + 1));
  }

  *#checkDeleteRange(operation: DeleteRangeOperation): Steps<void> {
    const {range} = operation;
    const max = limits.deleteRangeKeyCountMax;
    if (isWholeSpace(range) && this.#events.keyCount() > max) throw tooManyKeys(max);
    const count = yield* this.#countKeys(range, max + 1);
    if (count > max) throw tooManyKeys(max);
    this.#spendScan(count);
    if (!operation.wantsPrevious) return;
    yield* this.#forEachRecord({range, isReverse: false, keysOnly: false}, record => {
      this.#spendResult(record.key.length + record.value.length);
      return true;
    });
  }

  *#runPath(path: Path): Steps<readonly OperationResult[]> {
    const results: OperationResult[] = [];
    for (const step of path.steps) {
      if ('steps' in step) {
        const {succeeded} = step;
        results.push({type: 'transaction', succeeded, results: yield* this.#runPath(step)});
      } else if (step.type === 'range') {
        results.push(yield* this.#runRange(step));
      } else if (step.type === 'delete-range') {
        results.push(yield* this.#runDeleteRange(step));
      } else {
        results.push(this.#run(step));
      }
    }
    return results;
  }

  #run(operation: Exclude<Operation, RangeOperation | DeleteRangeOperation>): OperationResult {
    switch (operation.type) {
      case 'put':
        return this.#runPut(operation);
      case 'get': {
        const live = this.#live(operation.key);
        const record = live && toKeyRecord(operation.key, live, {keysOnly: false});
        return {type: 'get', record};
      }
      case 'delete': {
        const previous: KeyRecord[] = [];
        const isGone = this.#delete(operation.key, operation, previous) !== null;
        return {type: 'delete', deletedCount: isGone ? 1 : 0, previous};
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
    const leaseId = this.#leaseOf(put, live);
    const version = this.#events.put(put.key, latest, {value, leaseId});
    return {type: 'put', version, previous};
  }

  #leaseOf(put: PutOperation, live: RecordRow | null): number {
    if (put.ignoreLease) return must(live, 'checked: the key exists').leaseId;
    if (put.ttlMs === 0) return put.leaseId;
    return this.#leases.grant(this.#leases.drawId(), put.ttlMs, put.key).id;
  }

  /** Bytes of the value that was there; null: there was none. */
  #delete(
    key: Uint8Array,
    options: {readonly wantsPrevious: boolean},
    previous: KeyRecord[],
  ): number | null {
    const live = this.#live(key);
    if (live === null) return null;
    if (options.wantsPrevious) previous.push(toKeyRecord(key, live, {keysOnly: false}));
    const sizeBytes = live.value.length;
    this.#events.delete(key, live);
    return sizeBytes;
  }

  *#runDeleteRange(operation: DeleteRangeOperation): Steps<OperationResult> {
    const keys: Uint8Array[] = [];
    const walk = {range: operation.range, isReverse: false, keysOnly: true};
    yield* this.#forEachRecord(walk, record => {
      keys.push(record.key);
      return true;
    });
    const previous: KeyRecord[] = [];
    let changeCount = 0;
    let sizeBytes = 0;
    for (const key of keys) {
      if (changeCount >= stepChangeCountMax || sizeBytes >= stepSizeBytesMax) {
        changeCount = 0;
        sizeBytes = 0;
        yield;
      }
      changeCount++;
      sizeBytes += must(this.#delete(key, operation, previous), 'found: the key exists');
    }
    return {type: 'delete', deletedCount: keys.length, previous};
  }

  /** Ends early, with hasMore, where the budget of the command does. */
  *#runRange(operation: RangeOperation): Steps<OperationResult> {
    const {range, isReverse, keysOnly, countOnly} = operation;
    if (countOnly) {
      const count = isWholeSpace(range)
        ? this.#events.keyCount()
        : yield* this.#countKeys(range, Number.MAX_SAFE_INTEGER);
      return {type: 'range', records: [], count, hasMore: false};
    }
    const limitMax = limits.rangeLimitMax;
    const limit = operation.limit === 0 ? limitMax : Math.min(operation.limit, limitMax);
    const countMax = Math.min(limit, this.#scanKeyCountLeft);
    const records: KeyRecord[] = [];
    let hasMore = false;
    yield* this.#forEachRecord({range, isReverse, keysOnly}, record => {
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

  #countKeys(range: KeyRange, countMax: number): Steps<number> {
    return countKeys(this.#rows, this.#meta.compactedRevision, range, countMax);
  }

  #forEachRecord(walk: RangeWalk, visit: (record: KeyRecord) => boolean): Steps<void> {
    return forEachRecord(this.#rows, this.#meta.compactedRevision, walk, visit);
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
