import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Logger} from '../base/logger.ts';
import {silentLogger} from '../base/logger.ts';
import {StateHashMonitor, stateHashInterval} from './state-hash-monitor.ts';

function makeMonitor(): {monitor: StateHashMonitor; diverged: string[]; alarms: string[]} {
  const diverged: string[] = [];
  const alarms: string[] = [];
  const logger: Logger = {...silentLogger, error: (_fields, message) => alarms.push(message)};
  const monitor = new StateHashMonitor({
    selfId: 'n1',
    logger,
    onDiverged: detail => diverged.push(detail),
  });
  return {monitor, diverged, alarms};
}

test('replicas that agree raise nothing', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  for (const id of ['n1', 'n2', 'n3']) {
    monitor.note(id, {index: stateHashInterval, hash: 'aa'}, 3);
  }
  assert.deepEqual([diverged, alarms], [[], []]);
});

test('a replica that differs from the majority learns it', () => {
  const {monitor, diverged} = makeMonitor();
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, 3);
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, 3);
  assert.deepEqual(diverged, []);
  monitor.note('n3', {index: stateHashInterval, hash: 'bb'}, 3);
  assert.equal(diverged.length, 1);
});

test('a replica in the majority goes on when another differs', () => {
  const {monitor, diverged} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, 3);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, 3);
  monitor.note('n3', {index: stateHashInterval, hash: 'aa'}, 3);
  assert.deepEqual(diverged, []);
});

test('without a majority everybody stays up and the alarm is raised once', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, 2);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, 2);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, 2);
  assert.deepEqual(diverged, []);
  assert.equal(alarms.length, 1);
});

test('hashes of other indices are never compared', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, 3);
  monitor.note('n2', {index: 2 * stateHashInterval, hash: 'bb'}, 3);
  monitor.note('n3', {index: 2 * stateHashInterval + 1, hash: 'bb'}, 3);
  assert.deepEqual([diverged, alarms], [[], []]);
});
