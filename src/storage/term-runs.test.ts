import {equal} from 'node:assert/strict';
import {test} from 'node:test';
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';
import type {EntryId} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import {TermRuns} from './term-runs.ts';

test('terms are found in runs, behind truncation and dropping too', () => {
  const runs = new TermRuns(id(10, 1));
  runs.push(id(11, 1));
  runs.pushRun(id(12, 3), logIndex(20));
  runs.push(id(21, 4));
  equal(runs.at(logIndex(9)), undefined);
  equal(runs.at(logIndex(11)), 1);
  equal(runs.at(logIndex(20)), 3);
  equal(runs.at(logIndex(21)), 4);
  equal(runs.at(logIndex(22)), undefined);
  runs.truncateAfter(logIndex(15));
  equal(runs.at(logIndex(16)), undefined);
  runs.dropBefore(logIndex(13));
  equal(runs.at(logIndex(12)), undefined);
  equal(runs.at(logIndex(13)), 3);
  runs.push(id(16, 5));
  equal(runs.at(logIndex(16)), 5);
});

test('a run keeps no entry, and so not the memory that the entry is part of', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const runs = new TermRuns(id(0, 0));
  const entry = new WeakRef(pushed(runs));
  // A WeakRef keeps its target until the end of the turn.
  await new Promise(resolve => setImmediate(resolve));
  collect();
  equal(entry.deref(), undefined);
  equal(runs.at(logIndex(1)), 1);
});

function pushed(runs: TermRuns): object {
  const entry = {...id(1, 1), data: new Uint8Array(8)};
  runs.push(entry);
  return entry;
}

function id(index: number, ofTerm: number): EntryId {
  return {index: logIndex(index), term: term(ofTerm)};
}
