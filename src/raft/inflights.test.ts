import assert from 'node:assert/strict';
import {test} from 'node:test';
import {logIndex} from './ids.ts';
import {Inflights} from './inflights.ts';

test('the window is bounded by count and frees in order', () => {
  const window = new Inflights({countMax: 3, sizeBytesMax: 1000});
  for (let i = 1; i <= 3; i++)
    window.add({lastIndex: logIndex(i * 10), sizeBytes: 5, entryCount: 10});
  assert.equal(window.isFull(), true);
  window.freeTo(logIndex(9));
  assert.equal(window.count, 3);
  window.freeTo(logIndex(20));
  assert.equal(window.count, 1);
  assert.equal(window.sizeBytes, 5);
  for (let i = 4; i <= 5; i++)
    window.add({lastIndex: logIndex(i * 10), sizeBytes: 5, entryCount: 10});
  assert.equal(window.isFull(), true);
  window.freeTo(logIndex(50));
  assert.equal(window.count, 0);
});

test('the window is bounded by bytes, with one append over it', () => {
  const window = new Inflights({countMax: 10, sizeBytesMax: 100});
  window.add({lastIndex: logIndex(1), sizeBytes: 99, entryCount: 1});
  assert.equal(window.isFull(), false);
  window.add({lastIndex: logIndex(2), sizeBytes: 500, entryCount: 1});
  assert.equal(window.isFull(), true);
  window.reset();
  assert.equal(window.sizeBytes, 0);
});

test('the window is bounded by entries, however small they are', () => {
  const window = new Inflights({countMax: 100, sizeBytesMax: 1 << 30});
  window.add({lastIndex: logIndex(2000), sizeBytes: 10, entryCount: 2000});
  window.add({lastIndex: logIndex(4000), sizeBytes: 10, entryCount: 2000});
  assert.equal(window.isFull(), false);
  window.add({lastIndex: logIndex(6000), sizeBytes: 10, entryCount: 2000});
  assert.equal(window.isFull(), true);
  window.freeTo(logIndex(2000));
  assert.equal(window.isFull(), false);
});
