import assert from 'node:assert/strict';
import {Socket} from 'node:net';
import {once} from 'node:events';
import {test} from 'node:test';
import {limits} from '../../base/limits.ts';
import {BufferBudget} from './buffer-budget.ts';

const connectionMax = limits.httpResponseBufferSizeBytesMax;

test('a connection holds up to its maximum, and again what it gave back', () => {
  const budget = new BufferBudget();
  const socket = new Socket();
  assert.equal(budget.hold(socket, connectionMax), 'held');
  assert.equal(budget.hold(socket, 1), 'connection-full');
  budget.release(socket, 10);
  assert.equal(budget.hold(socket, 10), 'held');
  assert.equal(budget.totalSizeBytes, connectionMax);
});

test('all connections together hold up to the total', () => {
  const budget = new BufferBudget();
  const count = limits.httpBufferSizeBytesTotalMax / connectionMax;
  for (let i = 0; i < count; i++) {
    assert.equal(budget.hold(new Socket(), connectionMax), 'held');
  }
  assert.equal(budget.hold(new Socket(), 1), 'server-full');
});

test('an answer of a write counts whatever others hold, unless its own connection hoards', () => {
  const budget = new BufferBudget();
  const count = limits.httpBufferSizeBytesTotalMax / connectionMax;
  for (let i = 0; i < count; i++) budget.hold(new Socket(), connectionMax);
  const socket = new Socket();
  const size = connectionMax + 1;
  assert.equal(budget.holdAnswer(socket, size, {mustFit: true}), 'held');
  assert.equal(budget.totalSizeBytes, limits.httpBufferSizeBytesTotalMax + connectionMax + 1);
  assert.equal(budget.holdAnswer(socket, 1, {mustFit: true}), 'connection-full');
  assert.equal(budget.holdAnswer(new Socket(), 1, {mustFit: false}), 'server-full');
  budget.release(socket, connectionMax + 1);
  assert.equal(budget.totalSizeBytes, limits.httpBufferSizeBytesTotalMax);
  // Up to twice the total: answers that were on their way together.
  for (let i = 0; i < count; i++) {
    assert.equal(budget.holdAnswer(new Socket(), connectionMax, {mustFit: true}), 'held');
  }
  assert.equal(budget.holdAnswer(new Socket(), 1, {mustFit: true}), 'connection-full');
});

test('a closed connection gives back everything, once', async () => {
  const budget = new BufferBudget();
  const socket = new Socket();
  assert.equal(budget.hold(socket, 1000), 'held');
  socket.destroy();
  await once(socket, 'close');
  assert.equal(budget.totalSizeBytes, 0);
  budget.release(socket, 1000);
  assert.equal(budget.hold(socket, 1000), 'held');
  assert.equal(budget.totalSizeBytes, 0);
});

test('releasing what was never held is a programming error', () => {
  assert.throws(() => new BufferBudget().release(new Socket(), 1), {name: 'AssertionError'});
});
