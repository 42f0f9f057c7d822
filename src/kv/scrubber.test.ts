/** How much a slice of scrubbing reads. What it removes: kv/model.test.ts. */
import {equal, ok} from 'node:assert/strict';
import {test} from 'node:test';
import {del, encode, put, transaction} from '../../test/contract/commands.ts';
import {CountedRows} from '../../test/contract/counted-rows.ts';
import type {CommandBody} from './command.ts';
import {KvStateMachine} from './state-machine.ts';

/** The number of slices. */
function scrubbed(commands: readonly CommandBody[], revisionsKept: number): number {
  const rows = new CountedRows();
  const machine = new KvStateMachine(rows);
  commands.forEach((body, i) => {
    machine.apply({index: i + 1, proposedAtMs: 1000, data: encode(body)});
  });
  const revision = machine.revision() - revisionsKept;
  const data = encode({type: 'compact', revision});
  machine.apply({index: commands.length + 1, proposedAtMs: 1000, data});
  let sliceCount = 0;
  for (let hasMore = true; hasMore; sliceCount++) {
    rows.reset();
    hasMore = machine.scrub(128);
    rows.check();
    ok(sliceCount < 1_000, 'it goes on');
  }
  equal(machine.eventFloor(), revision + 1);
  return sliceCount;
}

test('a slice of scrubbing looks at fewer rows when their values are large', () => {
  const ofSize = (size: number): CommandBody[] =>
    Array.from({length: 100}, () => transaction({success: [put('k', 'x'.repeat(size))]}));
  ok(scrubbed(ofSize(10), 0) <= 2);
  ok(scrubbed(ofSize(200_000), 0) >= 16);
});

test('also when large are the newest values of keys that had been deleted', () => {
  const keys = Array.from({length: 100}, (_, i) => `k${i}`);
  const commands = [
    ...keys.map(key => transaction({success: [put(key, '')]})),
    ...keys.map(key => transaction({success: [del(key)]})),
    ...keys.map(key => transaction({success: [put(key, 'x'.repeat(200_000))]})),
  ];
  ok(scrubbed(commands, keys.length) >= 16);
});
