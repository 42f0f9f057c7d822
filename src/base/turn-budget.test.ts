import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TurnClock} from '../../test/contract/turn-clock.ts';
import {TurnBudget} from './turn-budget.ts';

function makeBudget(): {readonly budget: TurnBudget; readonly turn: () => void} {
  const clock = new TurnClock();
  return {
    budget: new TurnBudget(clock, 100),
    turn: () => clock.turn(),
  };
}

test('a turn has its budget, and the next one has it again', () => {
  const {budget, turn} = makeBudget();
  assert.equal(budget.spend(60), false);
  assert.equal(budget.spend(60), true);
  assert.equal(budget.isSpent, true);
  turn();
  assert.equal(budget.isSpent, false);
  assert.equal(budget.spend(99), false);
});

test('deferred work runs in order, as much of it a turn as the budget allows', () => {
  const {budget, turn} = makeBudget();
  const done: number[] = [];
  for (let i = 1; i <= 5; i++) budget.defer(40, () => done.push(i));
  assert.deepEqual(done, [], 'nothing runs inside the call');
  turn();
  assert.deepEqual(done, [1, 2, 3]);
  assert.equal(budget.isSpent, true, 'newcomers queue up behind what waits');
  turn();
  assert.deepEqual(done, [1, 2, 3, 4, 5]);
  assert.equal(budget.isSpent, false);
});

test('work larger than the budget has a turn of its own', () => {
  const {budget, turn} = makeBudget();
  const done: string[] = [];
  budget.defer(1_000, () => done.push('large'));
  budget.defer(1, () => done.push('small'));
  turn();
  assert.deepEqual(done, ['large']);
  turn();
  assert.deepEqual(done, ['large', 'small']);
});

test('work that is deferred by deferred work waits for a turn after it', () => {
  const {budget, turn} = makeBudget();
  let count = 0;
  const again = (): void => {
    count++;
    budget.defer(10, again);
  };
  budget.defer(10, again);
  turn();
  assert.equal(count, 1);
  turn();
  assert.equal(count, 2);
});
