import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {StateMeta} from '../kv/state-meta.ts';
import {metaKey} from '../kv/tables.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {Disk} from './disk.ts';
import {readIdentity} from './identity.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';
import {nodeDisk} from './node-disk.ts';
import {
  discardUnfinished,
  isPrepared,
  PreparedMember,
  putInPlace,
  refusePrepared,
} from './prepared-member.ts';
import {restingLog, restingStale, restingStartCount} from './resting-directory.ts';
import {noteStale} from './start-history.ts';

const identity = {
  clusterId: 'ab'.repeat(16),
  nodeId: nodeId('node1'),
  incarnation: 'cd'.repeat(8),
  members: null,
};
const meta = {index: logIndex(70), term: term(4), membership: emptyMembership};

function directory(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'prepared-member-'));
  t.after(() => fs.rmSync(root, {recursive: true}));
  return root;
}

/** What a member had before. */
function addOld(root: string): void {
  for (const name of ['wal', 'checkpoint']) {
    fs.mkdirSync(path.join(root, name));
    fs.writeFileSync(path.join(root, name, 'old'), name);
  }
  noteStale(nodeDisk, path.join(root, 'start-count.json'), 'an older copy');
  fs.writeFileSync(path.join(root, 'identity.json'), 'old');
}

function prepare(root: string): void {
  const member = new PreparedMember(nodeDisk, root, {revisionBump: 100});
  const state = Object.assign(new StateMeta(), {revision: 9, compactedRevision: 3, keyCount: 1});
  member.transaction(() => {
    state.save({put: (key, value) => member.addRow(key, value)});
    member.addRow(Buffer.from('\x02key'), Buffer.from('value'));
  });
  member.finish(identity, meta, term(6));
}

function assertNew(root: string): Promise<void> {
  const file = path.join(root, 'identity.json');
  assert.deepEqual(readIdentity(nodeDisk, file), identity);
  const log = restingLog(root, identity, {checkpointIndex: meta.index});
  assert.deepEqual(log?.last, {index: 70, term: 4});
  assert.deepEqual(log.hardState, {term: 6, vote: null, commit: 70});
  const store = openLmdbCheckpointStore({directory: root});
  assert.equal(store.meta().index, 70);
  assert.equal(Buffer.from(store.get(Buffer.from('\x02key')) ?? []).toString(), 'value');
  const state = new StateMeta();
  state.load(store);
  assert.equal(state.revision, 109);
  assert.equal(state.compactedRevision, 109, 'nobody reads below what he may have seen');
  assert.equal(state.keyCount, 1);
  assert.equal(fs.existsSync(path.join(root, 'prepared')), false);
  assert.equal(restingStartCount(root), 0, 'of this incarnation');
  assert.equal(restingStale(root), null);
  return new Promise(resolve => store.close(resolve));
}

test('a member is prepared beside the old one, and then takes its place', async t => {
  const root = directory(t);
  addOld(root);
  prepare(root);
  assert.equal(fs.readFileSync(path.join(root, 'identity.json'), 'utf8'), 'old');
  assert.throws(() => refusePrepared(root), /recover .*-force/);
  const saved = putInPlace(nodeDisk, root);
  assert.equal(saved, path.join(root, `before-${identity.incarnation}`));
  await assertNew(root);
  const kept = ['checkpoint', 'identity.json', 'start-count.json', 'wal'];
  assert.deepEqual(fs.readdirSync(saved).sort(), kept);
  assert.equal(restingStale(saved), 'an older copy');
  refusePrepared(root);
});

test('in an empty directory nothing is kept', async t => {
  const root = directory(t);
  for (const name of ['wal', 'checkpoint']) fs.mkdirSync(path.join(root, name));
  prepare(root);
  assert.equal(putInPlace(nodeDisk, root), null);
  await assertNew(root);
});

test('a store without a meta row is moved forward too', async t => {
  const root = directory(t);
  const member = new PreparedMember(nodeDisk, root, {revisionBump: 100});
  member.finish(identity, meta, term(4));
  putInPlace(nodeDisk, root);
  const store = openLmdbCheckpointStore({directory: root});
  const state = new StateMeta();
  state.load({get: () => store.get(metaKey)});
  assert.equal(state.revision, 101);
  await new Promise<void>(resolve => store.close(resolve));
});

test('given up, or interrupted while it is prepared, it leaves the old member', t => {
  const root = directory(t);
  addOld(root);
  new PreparedMember(nodeDisk, root, {revisionBump: 100}).discard();
  assert.equal(fs.existsSync(path.join(root, 'prepared')), false);
  // What a process leaves that died.
  fs.mkdirSync(path.join(root, 'prepared', 'checkpoint'), {recursive: true});
  assert.equal(isPrepared(root), false);
  refusePrepared(root);
  prepare(root);
  assert.equal(isPrepared(root), true);
});

test('interrupted where there is no old member, it is not taken for an empty directory', t => {
  const root = directory(t);
  fs.mkdirSync(path.join(root, 'prepared', 'checkpoint'), {recursive: true});
  assert.throws(() => refusePrepared(root), /type the restore again, or remove .*prepared/);
  fs.rmSync(path.join(root, 'prepared'), {recursive: true});
  refusePrepared(root);
});

test('what was interrupted beside a member goes away when the member starts', t => {
  const root = directory(t);
  addOld(root);
  const names = fs.readdirSync(root);
  fs.mkdirSync(path.join(root, 'prepared', 'checkpoint'), {recursive: true});
  refusePrepared(root);
  discardUnfinished(nodeDisk, root);
  assert.deepEqual(fs.readdirSync(root), names);
  discardUnfinished(nodeDisk, root);
});

/** Fails from the n-th change on. */
function dyingDisk(changeCountMax: number): Disk {
  let count = 0;
  const mayChange = (): void => {
    if (count++ >= changeCountMax) throw new Error('died');
  };
  return {
    ...nodeDisk,
    openSync: nodeDisk.openSync.bind(nodeDisk),
    existsSync: nodeDisk.existsSync.bind(nodeDisk),
    listSync: nodeDisk.listSync.bind(nodeDisk),
    makeDirectorySync: name => {
      mayChange();
      nodeDisk.makeDirectorySync(name);
    },
    renameSync: (source, target) => {
      mayChange();
      nodeDisk.renameSync(source, target);
    },
    removeSync: name => {
      mayChange();
      nodeDisk.removeSync(name);
    },
    syncDirectorySync: name => {
      mayChange();
      nodeDisk.syncDirectorySync(name);
    },
  };
}

test('killed at any step of taking the place, it gets there at the next attempt', async t => {
  const prepared = directory(t);
  addOld(prepared);
  prepare(prepared);
  for (let step = 0; ; step++) {
    const root = directory(t);
    fs.cpSync(prepared, root, {recursive: true});
    let hasDied = false;
    try {
      putInPlace(dyingDisk(step), root);
    } catch {
      hasDied = true;
      // The very last step only makes durable that nothing is left to do.
      if (isPrepared(root)) {
        assert.throws(() => refusePrepared(root), /was not put in place/, `step ${step}`);
        putInPlace(nodeDisk, root);
      }
    }
    await assertNew(root);
    const saved = path.join(root, `before-${identity.incarnation}`);
    for (const name of ['wal', 'checkpoint']) {
      assert.equal(fs.readFileSync(path.join(saved, name, 'old'), 'utf8'), name);
    }
    if (!hasDied) {
      assert.ok(step > 12, `only ${step} steps`);
      return;
    }
  }
});
