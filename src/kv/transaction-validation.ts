/**
 * What a door checks before it encodes a transaction: limits, and that no key is written twice on
 * any path through it. As in etcd, a put inside a deleted range counts as a second write, while
 * deleted ranges may overlap each other and single deletes. Apply checks again, since bytes from a
 * peer may come from a door that knew other limits.
 */
import {Buffer} from 'node:buffer';
import {unreachable} from '../base/assert.ts';
import {compareBytes} from '../base/bytes.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {rangeBoundSizeBytesMax} from './command-codec.ts';
import type {Compare, KeyRange, Operation, PutOperation, Transaction} from './command.ts';

/** Codes, flags and lengths of one encoded operation or compare, generously. */
const operationOverheadSizeBytes = 32;

/** Null: the transaction may be proposed. */
export function validateTransaction(transaction: Transaction): RosettaError | null {
  try {
    const size = checkTransaction(transaction, 1);
    if (size > limits.commandSizeBytesMax) {
      throw new RosettaError('COMMAND_TOO_LARGE', `The command has about ${size} bytes.`);
    }
    if (!isShort(transaction)) checkWrites(transaction);
    return null;
  } catch (error) {
    if (error instanceof RosettaError) return error;
    throw error;
  }
}

export function isSingleOperation(transaction: Transaction): boolean {
  const {compare, success, failure} = transaction;
  return (
    compare.length === 0 &&
    failure.length === 0 &&
    success.length === 1 &&
    success[0]?.type !== 'transaction'
  );
}

/** Returns the estimated encoded bytes. */
function checkTransaction(transaction: Transaction, depth: number): number {
  if (depth > limits.transactionDepthMax) {
    const max = limits.transactionDepthMax;
    throw new RosettaError('INVALID_REQUEST', `Transactions nest at most ${max} deep.`);
  }
  let size = operationOverheadSizeBytes;
  checkCount('compare', transaction.compare.length);
  for (const compare of transaction.compare) size += checkCompare(compare);
  for (const name of ['success', 'failure'] as const) {
    const operations = transaction[name];
    checkCount(name, operations.length);
    for (const operation of operations) size += checkOperation(operation, depth);
  }
  return size;
}

function checkCount(name: string, count: number): void {
  const max = limits.operationCountMax;
  if (count <= max) return;
  throw new RosettaError('INVALID_REQUEST', `"${name}" has ${count} items; at most ${max} fit.`);
}

function checkCompare(compare: Compare): number {
  const {keys, target} = compare;
  const keysSize = 'range' in keys ? checkRange(keys.range) : checkKey(keys.key);
  const targetSize = target.type === 'value' ? checkValue(target.value) : 0;
  return operationOverheadSizeBytes + keysSize + targetSize;
}

function checkOperation(operation: Operation, depth: number): number {
  switch (operation.type) {
    case 'put':
      return operationOverheadSizeBytes + checkKey(operation.key) + checkPutValue(operation);
    case 'get':
    case 'delete':
      return operationOverheadSizeBytes + checkKey(operation.key);
    case 'range':
    case 'delete-range':
      return operationOverheadSizeBytes + checkRange(operation.range);
    case 'transaction':
      return checkTransaction(operation, depth + 1);
    default:
      return unreachable(operation);
  }
}

function checkPutValue(put: PutOperation): number {
  if (put.leaseId !== 0 && put.ttlMs !== 0) {
    throw new RosettaError('INVALID_REQUEST', 'A put has a lease or a ttl, not both.');
  }
  return checkValue(put.value);
}

function checkKey(key: Uint8Array): number {
  if (key.length === 0) throw new RosettaError('KEY_EMPTY', 'A key has at least one byte.');
  if (key.length > limits.keySizeBytesMax) {
    throw new RosettaError('KEY_TOO_LONG', `The key has ${key.length} bytes.`);
  }
  return key.length;
}

function checkValue(value: Uint8Array): number {
  if (value.length <= limits.valueSizeBytesMax) return value.length;
  throw new RosettaError('VALUE_TOO_LARGE', `The value has ${value.length} bytes.`);
}

function checkRange(range: KeyRange): number {
  const endSize = range.end?.length ?? 0;
  if (Math.max(range.start.length, endSize) > rangeBoundSizeBytesMax) {
    throw new RosettaError('KEY_TOO_LONG', 'A bound of the range is longer than a key may be.');
  }
  return range.start.length + endSize;
}

/** At most one operation on either side, and none that holds several: nothing is written twice. */
function isShort({success, failure}: Transaction): boolean {
  return (
    success.length <= 1 &&
    failure.length <= 1 &&
    success[0]?.type !== 'transaction' &&
    failure[0]?.type !== 'transaction'
  );
}

/**
 * What the operations of a list may write, on whichever path through those that are transactions.
 * `place`: of the operation in the list. An operation is no obstacle to itself: what it writes more
 * than once it writes on different paths.
 */
interface Writes {
  /** By key as latin1 text. */
  readonly puts: Map<string, PlacedKey>;
  readonly deletes: Set<string>;
  readonly deletedRanges: PlacedRange[];
}

interface PlacedKey {
  readonly key: Uint8Array;
  readonly place: number;
}

interface PlacedRange {
  readonly range: KeyRange;
  readonly place: number;
}

function checkWrites(transaction: Transaction): Writes {
  const success = checkList(transaction.success);
  const failure = checkList(transaction.failure);
  // Only one of the two happens, so together they may name a key twice.
  for (const [text, put] of failure.puts) success.puts.set(text, put);
  for (const text of failure.deletes) success.deletes.add(text);
  success.deletedRanges.push(...failure.deletedRanges);
  return success;
}

function checkList(operations: readonly Operation[]): Writes {
  const all: Writes = {puts: new Map(), deletes: new Set(), deletedRanges: []};
  for (const [place, operation] of operations.entries()) {
    if (operation.type === 'put') {
      const text = keyText(operation.key);
      refuseSecond(all, text);
      all.puts.set(text, {key: operation.key, place});
    } else if (operation.type === 'delete') {
      const text = keyText(operation.key);
      refuseSecond(all, text);
      all.deletes.add(text);
    } else if (operation.type === 'delete-range') {
      all.deletedRanges.push({range: operation.range, place});
    } else if (operation.type === 'transaction') {
      addNested(all, checkWrites(operation), place);
    }
  }
  if (all.deletedRanges.length > 0 && all.puts.size > 0) checkRanges(all);
  return all;
}

function addNested(all: Writes, nested: Writes, place: number): void {
  // All of it before any: its two sides may name one key, only one of them happens.
  for (const text of nested.puts.keys()) refuseSecond(all, text);
  for (const text of nested.deletes) refuseSecond(all, text);
  for (const [text, {key}] of nested.puts) all.puts.set(text, {key, place});
  for (const text of nested.deletes) all.deletes.add(text);
  for (const {range} of nested.deletedRanges) all.deletedRanges.push({range, place});
}

function refuseSecond(all: Writes, text: string): void {
  if (all.puts.has(text) || all.deletes.has(text)) throw duplicate();
}

/** For each range a binary search among the sorted puts for the first one of another operation. */
function checkRanges(all: Writes): void {
  const puts = [...all.puts.values()].sort((a, b) => compareBytes(a.key, b.key));
  const nextOthers = indexesOfNextOthers(puts);
  for (const {range, place} of all.deletedRanges) {
    let low = 0;
    let high = puts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const put = puts[middle];
      if (put !== undefined && compareBytes(put.key, range.start) < 0) low = middle + 1;
      else high = middle;
    }
    const isOwn = puts[low]?.place === place;
    const first = puts[isOwn ? (nextOthers[low] ?? puts.length) : low];
    if (first === undefined) continue;
    if (range.end === null || compareBytes(first.key, range.end) < 0) throw duplicate();
  }
}

/** For each put where the first one behind it is that belongs to another operation. */
function indexesOfNextOthers(puts: readonly PlacedKey[]): readonly number[] {
  const indexes = new Array<number>(puts.length).fill(puts.length);
  for (let i = puts.length - 2; i >= 0; i--) {
    const isSame = puts[i]?.place === puts[i + 1]?.place;
    indexes[i] = isSame ? (indexes[i + 1] ?? puts.length) : i + 1;
  }
  return indexes;
}

function duplicate(): RosettaError {
  return new RosettaError('DUPLICATE_KEY', 'Two operations of the transaction write one key.');
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
