/**
 * Executes one transaction in three passes. First the path: all compares, nested ones too, are
 * decided on the state before the transaction, as in etcd. Then every reason for a refusal is
 * checked on that path. Last it runs, and cannot fail any more: a refusal changes nothing, without
 * undoing anything. Validation guarantees that no key is written twice, so the state before the
 * transaction is enough to check a write.
 *
 * Whatever walks over a range works in steps (kv/steps.ts); the rest of a command is one step. A
 * transaction of single keys alone, as nearly all are, is executed without steps: they would cost
 * as much as the put in it. One that turns out to read large values is divided after all.
 */
import {assert, must} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {CommandBudget, tooManyKeys} from './command-budget.ts';
import {compareHolds} from './compare.ts';
import type {
  Compare,
  DeleteRangeOperation,
  KeyRange,
  Operation,
  RangeOperation,
  Transaction,
} from './command.ts';
import type {EventWriter} from './event-writer.ts';
import {KeyExecutor} from './key-executor.ts';
import type {KeyOperation} from './key-executor.ts';
import {countKeys, forEachRecord} from './range-steps.ts';
import type {LeaseTable} from './lease-table.ts';
import type {RangeWalk} from './range-steps.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import type {Steps} from './steps.ts';
import {stepChangeCountMax, stepSizeBytesMax, undividedSizeBytesMax} from './steps.ts';
import {isSingleOperation, validateTransaction} from './transaction-validation.ts';

/** The side that was taken, with the same for the nested transactions among its operations. */
interface Path {
  readonly succeeded: boolean;
  readonly steps: readonly (Exclude<Operation, Transaction> | Path)[];
}

/** Of single keys alone: it looks at no range and holds no other transaction. */
interface KeyTransaction extends Transaction {
  readonly compare: readonly KeyCompare[];
  readonly success: readonly KeyOperation[];
  readonly failure: readonly KeyOperation[];
}

type KeyCompare = Compare & {readonly keys: {readonly key: Uint8Array}};

export class TransactionExecutor {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #events: EventWriter;
  readonly #budget = new CommandBudget();
  readonly #keys: KeyExecutor;

  constructor(parts: {
    readonly rows: RowStore;
    readonly meta: StateMeta;
    readonly events: EventWriter;
    readonly leases: LeaseTable;
  }) {
    this.#rows = parts.rows;
    this.#meta = parts.meta;
    this.#events = parts.events;
    const {events, leases} = parts;
    this.#keys = new KeyExecutor({events, leases, budget: this.#budget});
  }

  /** `keptSizeBytesMax`: see CommandBudget; only of a transaction of single keys. */
  *execute(transaction: Transaction, keptSizeBytesMax = Infinity): Steps<CommandResult> {
    this.#begin(keptSizeBytesMax);
    let path: Path;
    try {
      refuseInvalid(transaction);
      path = yield* this.#choosePath(transaction);
      this.#expectPuts(path);
      yield* this.#checkPath(path);
    } catch (error) {
      return this.#refused(error);
    }
    this.#events.begin();
    const results = yield* this.#runPath(path);
    return this.#finished({succeeded: path.succeeded, results});
  }

  /** As `execute`, at one stretch; where that would be long: the steps that are left. */
  executeAtOnce(
    transaction: KeyTransaction,
    keptSizeBytesMax = Infinity,
  ): CommandResult | Steps<CommandResult> {
    const keys = this.#keys;
    this.#begin(keptSizeBytesMax);
    let succeeded = true;
    let operations: readonly KeyOperation[];
    try {
      refuseInvalid(transaction);
      for (const compare of transaction.compare) {
        // Nothing was written: the steps begin anew.
        if (this.#isLong()) return this.execute(transaction, keptSizeBytesMax);
        succeeded = keys.holds(compare, compare.keys.key);
        if (!succeeded) break;
      }
      operations = sideOf(transaction, succeeded);
      if (operations.some(isGet)) {
        for (const operation of operations) if (operation.type === 'put') keys.expectPut(operation);
      }
      for (const operation of operations) {
        if (this.#isLong()) return this.execute(transaction, keptSizeBytesMax);
        keys.check(operation);
      }
    } catch (error) {
      return this.#refused(error);
    }
    this.#events.begin();
    const results: OperationResult[] = [];
    for (const operation of operations) {
      if (this.#isLong()) return this.#runRest(operations, {succeeded, results});
      results.push(keys.run(operation));
    }
    return this.#finished({succeeded, results});
  }

  /** The plain put, without the objects of a transaction around it. */
  put(key: Uint8Array, value: Uint8Array): CommandResult {
    this.#events.beginStep();
    this.#events.begin();
    const result = this.#keys.put(key, {value, leaseId: 0});
    this.#events.finish();
    const {revision} = this.#meta;
    return {type: 'transaction', revision, succeeded: true, results: [result]};
  }

  #begin(keptSizeBytesMax: number): void {
    this.#budget.renew(keptSizeBytesMax);
    this.#keys.begin();
    this.#events.beginStep();
  }

  #isLong(): boolean {
    return this.#events.readSizeBytes() >= undividedSizeBytesMax;
  }

  /** The operations that have no result yet. */
  *#runRest(
    operations: readonly KeyOperation[],
    outcome: {readonly succeeded: boolean; readonly results: OperationResult[]},
  ): Steps<CommandResult> {
    for (const operation of operations.slice(outcome.results.length)) {
      yield* this.#maybePause();
      outcome.results.push(this.#keys.run(operation));
    }
    return this.#finished(outcome);
  }

  #finished(outcome: {
    readonly succeeded: boolean;
    readonly results: readonly OperationResult[];
  }): CommandResult {
    this.#events.finish();
    return {type: 'transaction', revision: this.#meta.revision, ...outcome};
  }

  /** Before what reads rows of single keys: a step that has read enough ends here. */
  *#maybePause(): Steps<void> {
    if (this.#events.readSizeBytes() < stepSizeBytesMax) return;
    yield;
    this.#events.beginStep();
  }

  /** Throws what is no reason to refuse. */
  #refused(error: unknown): CommandResult {
    if (!(error instanceof RosettaError)) throw error;
    assert(this.#events.changeCount() === 0, 'a refused transaction changed nothing');
    const {code, message} = error;
    return {type: 'refused', revision: this.#meta.revision, code, detail: message};
  }

  *#choosePath(transaction: Transaction): Steps<Path> {
    let succeeded = true;
    for (const compare of transaction.compare) {
      const {keys} = compare;
      yield* this.#maybePause();
      succeeded =
        'range' in keys
          ? yield* this.#rangeHolds(keys.range, compare)
          : this.#keys.holds(compare, keys.key);
      if (!succeeded) break;
    }
    const steps: Path['steps'][number][] = [];
    for (const operation of sideOf(transaction, succeeded)) {
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
      this.#budget.spendScan(1);
      holds = compareHolds(compare, record);
      return holds;
    });
    return keyCount === 0 ? compareHolds(compare, null) : holds;
  }

  #expectPuts(path: Path): void {
    for (const step of path.steps) {
      if ('steps' in step) this.#expectPuts(step);
      else if (step.type === 'put') this.#keys.expectPut(step);
    }
  }

  *#checkPath(path: Path): Steps<void> {
    for (const step of path.steps) {
      if ('steps' in step) yield* this.#checkPath(step);
      else if (step.type === 'range') yield* this.#checkRange(step);
      else if (step.type === 'delete-range') yield* this.#checkDeleteRange(step);
      else {
        yield* this.#maybePause();
        this.#keys.check(step);
      }
    }
  }

  *#checkRange(operation: RangeOperation): Steps<void> {
    if (!operation.countOnly || isWholeSpace(operation.range)) return;
    this.#budget.spendScan(
      yield* this.#countKeys(operation.range, this.#budget.scanKeyCountLeft + 1),
    );
  }

  *#checkDeleteRange(operation: DeleteRangeOperation): Steps<void> {
    const {range} = operation;
    const max = limits.deleteRangeKeyCountMax;
    if (isWholeSpace(range) && this.#events.keyCount() > max) throw tooManyKeys(max);
    const count = yield* this.#countKeys(range, max + 1);
    if (count > max) throw tooManyKeys(max);
    this.#budget.spendScan(count);
    if (!operation.wantsPrevious) return;
    yield* this.#forEachRecord({range, isReverse: false, keysOnly: false}, record => {
      this.#budget.spendResult(record.key.length + record.value.length);
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
        yield* this.#maybePause();
        results.push(this.#keys.run(step));
      }
    }
    return results;
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
      sizeBytes += must(this.#keys.delete(key, operation, previous), 'found: the key exists');
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
    const countMax = Math.min(limit, this.#budget.scanKeyCountLeft);
    const records: KeyRecord[] = [];
    let hasMore = false;
    yield* this.#forEachRecord({range, isReverse, keysOnly}, record => {
      const size = record.key.length + record.value.length;
      if (records.length >= countMax || size > this.#budget.resultSizeBytesLeft) {
        hasMore = true;
        return false;
      }
      this.#budget.spendScan(1);
      this.#budget.spendResult(size);
      records.push(record);
      return true;
    });
    return {type: 'range', records, count: records.length, hasMore};
  }

  #countKeys(range: KeyRange, countMax: number): Steps<number> {
    return countKeys(this.#rows, this.#meta.compactedRevision, range, countMax);
  }

  #forEachRecord(walk: RangeWalk, visit: (record: KeyRecord) => boolean): Steps<void> {
    return forEachRecord(this.#rows, this.#meta.compactedRevision, walk, visit);
  }
}

/** Whether it can be executed at one stretch. */
export function isKeyTransaction(transaction: Transaction): transaction is KeyTransaction {
  const {compare, success, failure} = transaction;
  return (
    compare.every(({keys}) => 'key' in keys) &&
    success.every(isKeyOperation) &&
    failure.every(isKeyOperation)
  );
}

function isKeyOperation({type}: Operation): boolean {
  return type === 'put' || type === 'get' || type === 'delete';
}

function isGet({type}: Operation): boolean {
  return type === 'get';
}

function sideOf<T extends Transaction>(
  transaction: T,
  succeeded: boolean,
): T['success'] | T['failure'] {
  return succeeded ? transaction.success : transaction.failure;
}

/** One operation alone is what its decoding makes sure of. */
function refuseInvalid(transaction: Transaction): void {
  if (isSingleOperation(transaction)) return;
  const invalid = validateTransaction(transaction);
  if (invalid !== null) throw invalid;
}

function isWholeSpace(range: KeyRange): boolean {
  return range.start.length === 0 && range.end === null;
}
