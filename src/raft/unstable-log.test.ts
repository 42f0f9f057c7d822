import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Entry} from './entry.ts';
import {makeEntry} from './entry.ts';
import {logIndex, term} from './ids.ts';
import {testMembership} from './testing/memory-cluster.ts';
import {UnstableLog} from './unstable-log.ts';

function entry(inTerm: number, index: number): Entry {
  const ids = {term: term(inTerm), index: logIndex(index)};
  return makeEntry({...ids, type: 'command', proposedAtMs: 0, data: new Uint8Array(10)});
}

function write(log: UnstableLog, sequence: number): readonly Entry[] {
  const {entries} = log.takeUnhanded();
  log.noteWrite(sequence);
  return entries;
}

test('entries are handed out once and leave when durable', () => {
  const log = new UnstableLog(logIndex(4));
  log.append([entry(1, 5), entry(1, 6)]);
  assert.equal(write(log, 1).length, 2);
  assert.equal(log.hasUnhanded(), false);
  log.append([entry(1, 7)]);
  assert.equal(write(log, 2).length, 1);
  log.persisted(1);
  assert.equal(log.stableIndex, 6);
  assert.equal(log.term(logIndex(6)), undefined);
  assert.equal(log.term(logIndex(7)), 1);
  log.persisted(2);
  assert.equal(log.stableIndex, 7);
});

test('a late acknowledgement never covers an entry that replaced the acknowledged one', () => {
  const log = new UnstableLog(logIndex(4));
  log.append([entry(1, 5), entry(1, 6)]);
  write(log, 1);
  log.truncateFrom(logIndex(6));
  log.append([entry(2, 6)]);
  write(log, 2);
  log.truncateFrom(logIndex(6));
  log.append([entry(3, 6)]);
  write(log, 3);
  log.persisted(1);
  assert.equal(log.stableIndex, 5);
  log.persisted(2);
  assert.equal(log.stableIndex, 5);
  log.persisted(3);
  assert.equal(log.stableIndex, 6);
});

test('truncation of durable entries makes them unstable again', () => {
  const log = new UnstableLog(logIndex(4));
  log.truncateFrom(logIndex(3));
  assert.equal(log.stableIndex, 2);
  log.append([entry(2, 3)]);
  assert.deepEqual(
    write(log, 1).map(({index}) => index),
    [3],
  );
  log.persisted(1);
  assert.equal(log.stableIndex, 3);
});

test('a snapshot replaces everything and is durable with its own write only', () => {
  const log = new UnstableLog(logIndex(4));
  log.append([entry(1, 5)]);
  write(log, 1);
  const membership = testMembership({voters: ['1']});
  log.restore({index: logIndex(9), term: term(2), membership});
  assert.equal(log.lastIndex, 9);
  assert.equal(log.takeUnhanded().snapshot?.index, 9);
  log.noteWrite(2);
  log.persisted(1);
  assert.equal(log.snapshot?.index, 9);
  log.persisted(2);
  assert.equal(log.snapshot, null);
  assert.equal(log.stableIndex, 9);
});

test('a slice is cut by size but never empty', () => {
  const log = new UnstableLog(logIndex(0));
  log.append([entry(1, 1), entry(1, 2), entry(1, 3)]);
  const range = {from: logIndex(1), to: logIndex(3)};
  assert.equal(log.slice({...range, sizeBytesMax: 1}).length, 1);
  assert.equal(log.slice({...range, sizeBytesMax: 84}).length, 2);
  assert.equal(log.slice({...range, sizeBytesMax: 1000}).length, 3);
});
