import assert from 'node:assert/strict';
import {test} from 'node:test';
import {logIndex} from './ids.ts';
import {Inflights} from './inflights.ts';

test('the window is bounded by count and frees in order', () => {
  const window = new Inflights({countMax: 3, sizeBytesMax: 1000});
  for (let i = 1; i <= 3; i++) window.add({lastIndex: logIndex(i * 10), sizeBytes: 5});
  assert.equal(window.isFull(), true);
  window.freeTo(logIndex(9));
  assert.equal(window.count, 3);
  window.freeTo(logIndex(20));
  assert.equal(window.count, 1);
  assert.equal(window.sizeBytes, 5);
  for (let i = 4; i <= 5; i++) window.add({lastIndex: logIndex(i * 10), sizeBytes: 5});
  assert.equal(window.isFull(), true);
  window.freeTo(logIndex(50));
  assert.equal(window.count, 0);
});

test('the window is bounded by bytes, with one append over it', () => {
  const window = new Inflights({countMax: 10, sizeBytesMax: 100});
  window.add({lastIndex: logIndex(1), sizeBytes: 99});
  assert.equal(window.isFull(), false);
  window.add({lastIndex: logIndex(2), sizeBytes: 500});
  assert.equal(window.isFull(), true);
  window.reset();
  assert.equal(window.sizeBytes, 0);
});
