import assert from 'node:assert/strict';
import {test} from 'node:test';
import {someEntries} from '../../test/contract/log-store-contract.ts';
import {logIndex, noIndex} from '../raft/ids.ts';
import {LogTail} from './log-tail.ts';

const sizeBytes = 100;
/** Room for ten of these entries, with what each takes beside its data. */
const sizeBytesMax = 10 * (280 + sizeBytes);

function tailOf(count: number): LogTail {
  const tail = new LogTail(logIndex(1), sizeBytesMax);
  for (const entry of someEntries(1, count, {sizeBytes})) tail.push(entry);
  return tail;
}

test('what nobody needs any more goes, however little it is', () => {
  const tail = tailOf(5);
  tail.trim(logIndex(5), logIndex(3));
  assert.equal(tail.first, 4);
  assert.equal(tail.get(logIndex(4)).index, 4);
  tail.trim(logIndex(5), logIndex(5));
  assert.equal(tail.first, 6);
});

test('what is not durable stays, needed or not', () => {
  const tail = tailOf(20);
  tail.trim(logIndex(2), logIndex(20));
  assert.equal(tail.first, 3);
  assert.equal(tail.get(logIndex(3)).index, 3);
});

test('what somebody needs stays as long as there is room', () => {
  const tail = tailOf(10);
  tail.trim(logIndex(10), noIndex);
  assert.equal(tail.first, 1);
  for (const entry of someEntries(11, 4, {sizeBytes})) tail.push(entry);
  tail.trim(logIndex(14), noIndex);
  assert.equal(tail.first, 5);
});
