import {equal} from 'node:assert/strict';
import {test} from 'node:test';
import {
  compare,
  del,
  deleteRange,
  encode,
  get,
  put,
  range,
  transaction,
} from '../../test/contract/commands.ts';
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
