import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import type {Clock} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import {silentLogger} from '../base/logger.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {StateStore} from '../storage/state-store.ts';
import {Backups} from './backups.ts';
import type {Backup} from './service.ts';

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
    refusal: () => null,
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

/** A checkpoint of an empty store. */
function checkpointStore(): Promise<FakeCheckpointStore> {
  const store = new FakeCheckpointStore(new FakeCheckpointDisk(), setImmediate);
  const state = new StateStore(store);
  new KvStateMachine(state).saveMeta();
  const meta = {index: logIndex(1), term: term(1), membership: emptyMembership};
  return new Promise(resolve => state.checkpoint(meta, () => resolve(store)));
}

test('a backup ends where its state is found to be wrong', async () => {
  const backups = new Backups(
    {
      self: {id: nodeId('node1')},
      options: {version: '1'},
      clock,
      logger: silentLogger,
      checkpoint: await checkpointStore(),
    },
    () => 'a'.repeat(32),
  );
  let refusal: RosettaError | null = null;
  const replica: Parameters<Backups['begin']>[0] = {
    read: (_timeoutMs, _isLocal, callback) => callback(null, null),
    refusal: () => refusal,
    checkpointer: {cover: callback => callback(null)},
  };
  const backup = await new Promise<Backup | null>(resolve => {
    const options = {consistency: 'local', timeoutMs: 5_000} as const;
    backups.begin(replica, options, (_error, begun) => resolve(begun));
  });
  assert.ok(backup !== null);
  const next = (): Promise<{readonly error: Error | null; readonly hasPiece: boolean}> =>
    new Promise(resolve => {
      backup.next((error, piece) => resolve({error, hasPiece: piece !== null}));
    });
  assert.deepEqual(await next(), {error: null, hasPiece: true});
  refusal = new RosettaError('DIVERGED', 'the state differs');
  assert.deepEqual(await next(), {error: refusal, hasPiece: false});
  backup.close();
});
