import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Clock} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import {silentLogger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import {Backups} from './backups.ts';

const clock: Clock = {
  wallMs: () => 0,
  monotonicMs: () => 0,
  setTimer: () => ({cancel: () => undefined}),
  afterPoll: callback => callback(),
};

type Step = 'read' | 'cover' | 'export';

test('a backup that fails at any step says why, and makes room for the next one', () => {
  const outOfSpace = Object.assign(new Error('no space left'), {code: 'ENOSPC'});
  const unconfirmed = new RosettaError('READ_TIMEOUT', 'not confirmed');
  const cases: readonly (readonly [Step, Error, string])[] = [
    ['read', unconfirmed, 'READ_TIMEOUT'],
    ['cover', outOfSpace, 'STORAGE_FULL'],
    ['cover', new Error('the checkpoint has failed'), 'BACKUP_FAILED'],
    ['export', outOfSpace, 'STORAGE_FULL'],
    ['export', new Error('EIO'), 'BACKUP_FAILED'],
  ];
  let failing: readonly [Step, Error] = ['read', outOfSpace];
  const failureAt = (step: Step): Error | null => (failing[0] === step ? failing[1] : null);
  const backups = new Backups(
    {
      self: {id: nodeId('node1')},
      options: {version: '1'},
      clock,
      logger: silentLogger,
      checkpoint: {exportSnapshot: callback => callback(failureAt('export'), null)},
    },
    () => 'cluster',
  );
  const replica: Parameters<Backups['begin']>[0] = {
    read: (_timeoutMs, _isLocal, callback) =>
      callback(failureAt('read') === null ? null : unconfirmed, null),
    checkpointer: {cover: callback => callback(failureAt('cover'))},
  };
  for (const [step, error, code] of cases) {
    failing = [step, error];
    const codes: (string | undefined)[] = [];
    backups.begin(replica, {consistency: 'linearizable', timeoutMs: 5_000}, (failure, backup) => {
      assert.equal(backup, null);
      assert.ok(
        failure !== null && failure.message.includes(step === 'read' ? 'not confirmed' : 'cop'),
      );
      codes.push(failure.code);
    });
    assert.deepEqual(codes, [code], step);
  }
});
