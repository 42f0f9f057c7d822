import assert from 'node:assert/strict';
import {test} from 'node:test';
import {AssertionError} from '../../src/base/assert.ts';
import {RosettaError} from '../../src/base/errors.ts';
import {WalCorruptionError} from '../../src/storage/storage-error.ts';
import type {FailReason} from './explained-end.ts';
import {UnseenDamage, explainsEnd} from './explained-end.ts';

const reasons = [null, 'EIO', 'bit rot', 'wiped', 'older copy'] as const;

function reasonsFor(error: Error): (FailReason | null)[] {
  return reasons.filter(reason => explainsEnd(reason, error));
}

test('a fault explains the errors that it causes', () => {
  const failed = Object.assign(new Error('fdatasync'), {code: 'EIO'});
  assert.deepEqual(reasonsFor(failed), ['EIO', 'bit rot']);
  assert.deepEqual(reasonsFor(new Error('a log', {cause: failed})), ['EIO', 'bit rot']);
  const damaged = new WalCorruptionError('no batch', {path: '/wal/1.wal', offset: 0});
  assert.deepEqual(reasonsFor(damaged), ['bit rot']);
  assert.deepEqual(reasonsFor(new UnseenDamage('its newest batch')), ['bit rot']);
  const refused = new RosettaError('INVALID_REQUEST', 'node2 refuses this node');
  assert.deepEqual(reasonsFor(refused), ['wiped', 'older copy']);
});

test('no fault explains a bug', () => {
  assert.deepEqual(reasonsFor(new AssertionError('an older snapshot')), []);
  assert.deepEqual(reasonsFor(new TypeError('undefined is not a function')), []);
  assert.deepEqual(reasonsFor(new RosettaError('INTERNAL', 'it failed')), []);
});
