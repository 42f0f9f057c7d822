import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Logger} from '../base/logger.ts';
import {silentLogger} from '../base/logger.ts';
import {StateHashMonitor, stateHashInterval} from './state-hash-monitor.ts';

const three = ['n1', 'n2', 'n3'];

function makeMonitor(divergence: string | null = null): {
  monitor: StateHashMonitor;
  diverged: string[];
  alarms: string[];
} {
  const diverged: string[] = [];
  const alarms: string[] = [];
  const logger: Logger = {...silentLogger, error: (_fields, message) => alarms.push(message)};
  const monitor = new StateHashMonitor({
    selfId: 'n1',
    logger,
    divergence,
    onDiverged: detail => diverged.push(detail),
  });
  return {monitor, diverged, alarms};
}

test('replicas that agree raise nothing', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  for (const id of ['n1', 'n2', 'n3']) {
    monitor.note(id, {index: stateHashInterval, hash: 'aa'}, three);
  }
  assert.deepEqual([diverged, alarms], [[], []]);
  assert.equal(monitor.refusal(), null);
});

test('a replica that differs from the majority learns it', () => {
  const {monitor, diverged} = makeMonitor();
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, three);
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, three);
  assert.deepEqual(diverged, []);
  monitor.note('n3', {index: stateHashInterval, hash: 'bb'}, three);
  assert.equal(diverged.length, 1);
  assert.equal(monitor.isDiverged, true);
  assert.equal(monitor.refusal()?.code, 'DIVERGED');
  assert.match(monitor.refusal()?.message ?? '', /hash aa at index 1024, majority bb.*-rejoin/);
  monitor.note('n2', {index: 2 * stateHashInterval, hash: 'bb'}, three);
  monitor.note('n3', {index: 2 * stateHashInterval, hash: 'bb'}, three);
  monitor.note('n1', {index: 2 * stateHashInterval, hash: 'aa'}, three);
  assert.equal(diverged.length, 1, 'it is said once');
});

test('what was found in an earlier life still holds', () => {
  const {monitor, diverged, alarms} = makeMonitor('found before');
  assert.match(monitor.refusal()?.message ?? '', /found before/);
  assert.deepEqual([diverged.length, alarms.length], [0, 1]);
});

test('a replica that applies much later than the others is compared all the same', () => {
  const {monitor, diverged} = makeMonitor();
  for (let i = 1; i <= 200; i++) {
    for (const id of ['n2', 'n3']) {
      monitor.note(id, {index: i * stateHashInterval, hash: `b${i}`}, three);
    }
  }
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, three);
  assert.equal(diverged.length, 1);
});

test('a replica in the majority goes on when another differs', () => {
  const {monitor, diverged} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, three);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, three);
  monitor.note('n3', {index: stateHashInterval, hash: 'aa'}, three);
  assert.deepEqual(diverged, []);
});

test('without a majority everybody stays up and the alarm is raised once', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, ['n1', 'n2']);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, ['n1', 'n2']);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, ['n1', 'n2']);
  assert.deepEqual(diverged, []);
  assert.equal(alarms.length, 1);
});

test('hashes of other indices are never compared', () => {
  const {monitor, diverged, alarms} = makeMonitor();
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, three);
  monitor.note('n2', {index: 2 * stateHashInterval, hash: 'bb'}, three);
  monitor.note('n3', {index: 2 * stateHashInterval + 1, hash: 'bb'}, three);
  assert.deepEqual([diverged, alarms], [[], []]);
});

test('members without a vote have no say, but learn that they differ', () => {
  const {monitor, diverged} = makeMonitor();
  const others = ['n2', 'n3', 'n4'];
  monitor.note('n1', {index: stateHashInterval, hash: 'aa'}, others);
  monitor.note('l5', {index: stateHashInterval, hash: 'bb'}, others);
  monitor.note('n2', {index: stateHashInterval, hash: 'bb'}, others);
  assert.deepEqual(diverged, []);
  monitor.note('n3', {index: stateHashInterval, hash: 'bb'}, others);
  assert.equal(diverged.length, 1);
});
