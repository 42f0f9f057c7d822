import assert from 'node:assert/strict';
import {test} from 'node:test';
import {someEntries} from '../../test/contract/log-store-contract.ts';
import type {LogIndex} from '../raft/ids.ts';
import {logIndex} from '../raft/ids.ts';
import type {LogNeeds} from './log-store.ts';
import {LogTail} from './log-tail.ts';

const sizeBytes = 100;
/** Room for ten of these entries, with what each takes beside its data. */
const sizeBytesMax = 10 * (280 + sizeBytes);

function tailOf(count: number): LogTail {
  const tail = new LogTail(logIndex(1), sizeBytesMax);
  for (const entry of someEntries(1, count, {sizeBytes})) tail.push(entry);
  return tail;
}

function needs(applied: number, ...sent: number[]): LogNeeds {
  return {applied: logIndex(applied), sent: sent.map(logIndex)};
}

/** The first that is held, of `count` that are durable. */
function firstAfter(tail: LogTail, count: number, needed: LogNeeds): LogIndex {
  tail.trim(logIndex(count), needed);
  return tail.first;
}

test('what is applied and sent to everybody goes, however little it is', () => {
  const tail = tailOf(5);
  assert.equal(firstAfter(tail, 5, needs(3)), 4);
  assert.equal(tail.get(logIndex(4)).index, 4);
  assert.equal(firstAfter(tail, 5, needs(5, 4, 5)), 5);
  assert.equal(firstAfter(tail, 5, needs(5, 5, 5)), 6);
});

test('what is not durable stays, needed or not', () => {
  const tail = tailOf(20);
  assert.equal(firstAfter(tail, 2, needs(20)), 3);
  assert.equal(tail.get(logIndex(3)).index, 3);
});

test('a member that is silent is waited for as long as there is room, and no longer', () => {
  const tail = tailOf(10);
  assert.equal(firstAfter(tail, 10, needs(10, 2, 10)), 3);
  for (const entry of someEntries(11, 4, {sizeBytes})) tail.push(entry);
  // Twelve are held: two go for lack of room.
  assert.equal(firstAfter(tail, 14, needs(13, 2, 14)), 5);
  // The silent one needs more than is here, so nothing is kept for it.
  assert.equal(firstAfter(tail, 14, needs(13, 2, 14)), 14);
  // A member that needs just what is held counts again.
  assert.equal(firstAfter(tail, 14, needs(14, 13, 14)), 14);
});
