import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {CommandResult} from '../kv/result.ts';
import {logIndex, term} from '../raft/ids.ts';
import {ProposalTable} from './proposal-table.ts';

const result: CommandResult = {type: 'compact', revision: 7, compactedRevision: 3};

function id(at: number, inTerm: number): Parameters<ProposalTable['add']>[0] {
  return {index: logIndex(at), term: term(inTerm)};
}

/** Collects what the callback of one proposal was told. */
function recorder(): {
  readonly calls: {error: RosettaError | null; result: CommandResult | null}[];
  readonly callback: Parameters<ProposalTable['add']>[3];
} {
  const calls: {error: RosettaError | null; result: CommandResult | null}[] = [];
  return {calls, callback: (error, answer) => calls.push({error, result: answer})};
}

test('the applied entry answers the proposal that made it', () => {
  const table = new ProposalTable();
  const {calls, callback} = recorder();
  table.add(id(5, 2), 10, 1_000, callback);
  table.settle(id(5, 2), result);
  assert.deepEqual(calls, [{error: null, result}]);
  assert.equal(table.count, 0);
});

test('another entry at the index leaves the outcome unknown', () => {
  const table = new ProposalTable();
  const {calls, callback} = recorder();
  table.add(id(5, 2), 10, 1_000, callback);
  table.settle(id(5, 3), result);
  assert.equal(calls[0]?.error?.code, 'OUTCOME_UNKNOWN');
  assert.equal(calls[0].error.outcome, 'unknown');
});

test('a proposal at an index that is proposed again in a later term is answered', () => {
  const table = new ProposalTable();
  const first = recorder();
  const second = recorder();
  table.add(id(5, 2), 10, 1_000, first.callback);
  table.add(id(5, 4), 10, 1_000, second.callback);
  assert.equal(first.calls[0]?.error?.code, 'OUTCOME_UNKNOWN');
  table.settle(id(5, 4), result);
  assert.equal(second.calls[0]?.error, null);
});

test('a deadline that passes leaves the outcome unknown and frees the room', () => {
  const table = new ProposalTable();
  const {calls, callback} = recorder();
  table.add(id(5, 2), limits.pendingProposalSizeBytesMax, 1_000, callback);
  assert.equal(table.hasRoom(1), false);
  table.expire(999);
  assert.equal(calls.length, 0);
  table.expire(1_000);
  assert.equal(calls[0]?.error?.code, 'OUTCOME_UNKNOWN');
  assert.equal(table.hasRoom(1), true);
  table.settle(id(5, 2), result);
  assert.equal(calls.length, 1);
});

test('the number of proposals that wait is bounded', () => {
  const table = new ProposalTable();
  for (let i = 1; i <= limits.pendingProposalCountMax; i++) {
    assert.equal(table.hasRoom(1), true);
    table.add(id(i, 1), 1, 1_000, () => undefined);
  }
  assert.equal(table.hasRoom(1), false);
});

test('a snapshot ends the wait of everything it covers, and of nothing else', () => {
  const table = new ProposalTable();
  const covered = recorder();
  const later = recorder();
  table.add(id(5, 2), 10, 1_000, covered.callback);
  table.add(id(6, 2), 10, 1_000, later.callback);
  table.settleUpTo(5);
  assert.equal(covered.calls[0]?.error?.code, 'OUTCOME_UNKNOWN');
  assert.equal(later.calls.length, 0);
});

test('proposals are answered in any order, and the queue widens without losing one', () => {
  const table = new ProposalTable();
  const answered: number[] = [];
  for (let i = 1; i <= 500; i++) {
    const deadlineMs = i % 3 === 0 ? 10 : 1_000;
    table.add(id(i, 1), 1, deadlineMs, error => answered.push(error === null ? i : -i));
    if (i % 2 === 0) table.settle(id(i / 2, 1), result);
  }
  table.expire(10);
  for (let i = 251; i <= 500; i++) table.settle(id(i, 1), result);
  assert.equal(table.count, 0);
  assert.equal(new Set(answered.map(Math.abs)).size, 500);
  assert.deepEqual(
    answered
      .filter(i => i < 0)
      .map(Math.abs)
      .sort((a, b) => a - b),
    Array.from({length: 84}, (_, i) => 252 + 3 * i).filter(i => i <= 500),
  );
});

test('a proposal earlier in the log answers all that it replaced', () => {
  const table = new ProposalTable();
  const replaced = [recorder(), recorder(), recorder()];
  for (const [i, {callback}] of replaced.entries()) table.add(id(5 + i, 2), 10, 1_000, callback);
  const {calls, callback} = recorder();
  table.add(id(6, 4), 10, 1_000, callback);
  const codes = (): unknown[] => replaced.map(({calls: [first]}) => first?.error?.code ?? null);
  assert.deepEqual(codes(), [null, 'OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN']);
  table.settle(id(6, 4), result);
  assert.deepEqual(codes(), ['OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN']);
  assert.equal(calls[0]?.error, null);
});
