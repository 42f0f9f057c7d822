import {equal, ok} from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {
  compare,
  del,
  deleteRange,
  encode,
  get,
  put,
  range,
  text,
  transaction,
} from '../../test/contract/commands.ts';
import {compareBytes, equalBytes} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {Operation, Transaction} from './command.ts';
import {validateTransaction} from './transaction-validation.ts';

function code(...success: Operation[]): string | null {
  return validateTransaction(transaction({success}))?.code ?? null;
}

function nest(depth: number): Transaction {
  return depth === 1 ? transaction() : transaction({success: [nest(depth - 1)]});
}

test('two writes of one key on one path are refused', () => {
  equal(code(put('a', ''), put('b', '')), null);
  equal(code(put('a', ''), put('a', '')), 'DUPLICATE_KEY');
  equal(code(put('a', ''), del('a')), 'DUPLICATE_KEY');
  equal(code(del('a'), del('a')), 'DUPLICATE_KEY');
  equal(code(put('a', ''), get('a')), null);
  equal(code(put('a', ''), transaction({failure: [put('a', '')]})), 'DUPLICATE_KEY');
});

test('the two sides of a transaction may write the same key', () => {
  const sides = transaction({success: [put('a', '')], failure: [put('a', '')]});
  equal(validateTransaction(sides), null);
  equal(code(sides, put('b', '')), null);
  equal(code(sides, put('a', '')), 'DUPLICATE_KEY');
  const inner = transaction({success: [put('a', '')], failure: [del('a')]});
  equal(code(inner, put('b', '')), null);
  equal(code(inner, del('a')), 'DUPLICATE_KEY');
  equal(code(del('a'), inner), 'DUPLICATE_KEY');
});

test('a put inside a deleted range is refused, overlapping deletes are not', () => {
  equal(code(put('b', ''), deleteRange(range('a', 'c'))), 'DUPLICATE_KEY');
  equal(code(deleteRange(range('a', null)), put('b', '')), 'DUPLICATE_KEY');
  equal(code(put('c', ''), deleteRange(range('a', 'c'))), null);
  equal(code(put('a', ''), put('d', ''), deleteRange(range('b', 'c'))), null);
  equal(code(deleteRange(range('a', 'c')), deleteRange(range('b', null)), del('b')), null);
  const nested = transaction({success: [deleteRange(range('', null))]});
  equal(code(put('a', ''), nested), 'DUPLICATE_KEY');
});

test('one side of a nested transaction may delete a range that the other puts into', () => {
  const success = [deleteRange(range('b', 'd'))];
  const sides = transaction({success, failure: [put('b', ''), put('c', '')]});
  equal(code(sides), null);
  equal(code(sides, put('a', ''), put('d', '')), null);
  equal(code(put('bb', ''), sides), 'DUPLICATE_KEY');
  equal(code(sides, put('ca', '')), 'DUPLICATE_KEY');
  equal(code(sides, deleteRange(range('c', null))), 'DUPLICATE_KEY');
  equal(code(sides, deleteRange(range('bb', 'c'))), null);
  equal(code(transaction({success: [sides], failure: [put('b', '')]}), put('a', '')), null);
  equal(code(transaction({success: [sides, put('bb', '')]})), 'DUPLICATE_KEY');
  const two = [sides, transaction({success: [put('c', '')]})];
  equal(code(...two), 'DUPLICATE_KEY');
});

/** What each path through the operations does. */
function paths(operations: readonly Operation[]): Operation[][] {
  let all: Operation[][] = [[]];
  for (const operation of operations) {
    const ways =
      operation.type === 'transaction'
        ? [...paths(operation.success), ...paths(operation.failure)]
        : [[operation]];
    all = all.flatMap(path => ways.map(way => [...path, ...way]));
  }
  return all;
}

function writesTwice(path: readonly Operation[]): boolean {
  return path.some((a, i) =>
    path.some((b, j) => {
      if (i === j || a.type !== 'put') return false;
      if (b.type === 'put' || b.type === 'delete') return equalBytes(a.key, b.key);
      if (b.type !== 'delete-range') return false;
      const {start, end} = b.range;
      return compareBytes(a.key, start) >= 0 && (end === null || compareBytes(a.key, end) < 0);
    }),
  );
}

function deletesTwice(path: readonly Operation[]): boolean {
  const keys = path.flatMap(operation =>
    operation.type === 'delete' ? [text(operation.key)] : [],
  );
  return new Set(keys).size < keys.length;
}

test('a transaction is refused exactly when one of its paths writes a key twice', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const simple = fc.oneof(
    key.map(name => put(name, '')),
    key.map(name => del(name)),
    fc.tuple(key, fc.option(key)).map(([start, end]) => deleteRange(range(start, end))),
    key.map(name => get(name)),
  );
  const lists = (operation: fc.Arbitrary<Operation>): fc.Arbitrary<Operation[]> =>
    fc.array(operation, {maxLength: 3});
  const nested = (operation: fc.Arbitrary<Operation>): fc.Arbitrary<Operation> =>
    fc
      .tuple(lists(operation), lists(operation))
      .map(([success, failure]) => transaction({success, failure}));
  const inner = fc.oneof({weight: 3, arbitrary: simple}, {weight: 1, arbitrary: nested(simple)});
  const outer = fc.oneof({weight: 1, arbitrary: simple}, {weight: 1, arbitrary: nested(inner)});
  let refusedCount = 0;
  fc.assert(
    fc.property(lists(outer), lists(outer), (success, failure) => {
      const isRefused = validateTransaction(transaction({success, failure})) !== null;
      const all = [...paths(success), ...paths(failure)];
      equal(
        isRefused,
        all.some(path => writesTwice(path) || deletesTwice(path)),
      );
      if (isRefused) refusedCount++;
    }),
    {seed: 11, numRuns: 500},
  );
  ok(refusedCount > 50 && refusedCount < 450, `${refusedCount} refused`);
});

test('sizes, counts and depth stay within the limits', () => {
  equal(code(get('')), 'KEY_EMPTY');
  const longest = 'k'.repeat(limits.keySizeBytesMax);
  equal(code(get(longest)), null);
  equal(code(get(`${longest}k`)), 'KEY_TOO_LONG');
  equal(code(deleteRange(range(longest, `${longest}\0`))), null);
  equal(code(deleteRange(range(longest, `${longest}\0\0`))), 'KEY_TOO_LONG');
  const largest = 'v'.repeat(limits.valueSizeBytesMax);
  equal(code(put('a', largest), put('b', largest)), null);
  equal(code(put('a', `${largest}v`)), 'VALUE_TOO_LARGE');
  equal(code(put('a', largest), put('b', largest), put('c', largest)), 'COMMAND_TOO_LARGE');
  const gets = Array.from({length: limits.operationCountMax}, () => get('a'));
  equal(code(...gets), null);
  equal(code(...gets, get('a')), 'INVALID_REQUEST');
  const longKey = compare('', '=', {type: 'version', value: 0});
  equal(validateTransaction(transaction({compare: [longKey]}))?.code, 'KEY_EMPTY');
  equal(code(put('a', '', {leaseId: 1, ttlMs: 1})), 'INVALID_REQUEST');
  equal(validateTransaction(nest(limits.transactionDepthMax)), null);
  equal(validateTransaction(nest(limits.transactionDepthMax + 1))?.code, 'INVALID_REQUEST');
});

test('what is valid can be encoded', () => {
  const largest = 'v'.repeat(limits.valueSizeBytesMax);
  const large = transaction({success: [put('a', largest), put('b', largest)]});
  equal(encode(large).length <= limits.commandSizeBytesMax, true);
  equal(encode(nest(limits.transactionDepthMax)).length > 0, true);
});
