import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {
  appended,
  closed,
  someEntries,
  someHardState,
} from '../../test/contract/log-store-contract.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import {noteStale, raiseStartHistory} from '../storage/start-history.ts';
import {openLog} from '../storage/wal-log-store.ts';
import {saveIdentity, toIdentity} from './identity-file.ts';
import {drawNewCluster} from './new-cluster.ts';
import type {ForceOptions} from './recover-directory.ts';
import {forceRecovery, inspectDirectory} from './recover-directory.ts';

const addresses = {listen: 'localhost:8080', http: 'localhost:9080'};
const {record, membership} = drawNewCluster({id: nodeId('node1'), ...addresses});
const revisionBump = 1_000;

function accepting(options: Partial<ForceOptions>): ForceOptions {
  return {revisionBump, acceptDiverged: false, acceptStale: false, ...options};
}

function directory(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'recover-directory-'));
  t.after(() => fs.rmSync(root, {recursive: true}));
  return root;
}

/** A member that is whole: an empty store at this index, and a log that goes on behind it. */
function addMember(root: string, at: {readonly index: number; readonly term: number}): void {
  const member = new PreparedMember(nodeDisk, root, {revisionBump: 1});
  const meta = {index: logIndex(at.index), term: term(at.term), membership};
  member.finish(toIdentity(record), meta, term(at.term));
  putInPlace(nodeDisk, root);
}

/** An install of a snapshot that was interrupted before the log was begun anew behind it. */
async function addInterruptedInstall(t: TestContext, root: string): Promise<void> {
  addMember(root, {index: 5, term: 1});
  const {clusterId, nodeId: id, incarnation} = record;
  const {store} = openLog({
    disk: nodeDisk,
    directory: path.join(root, 'wal'),
    clock: realClock,
    identity: {clusterId, nodeId: id, incarnation},
    checkpoint: {index: logIndex(5), term: term(1), membership},
  });
  await appended(store, someEntries(6, 95), someHardState(3, 60));
  await closed(store);
  const other = directory(t);
  addMember(other, {index: 70, term: 4});
  fs.rmSync(path.join(root, 'checkpoint'), {recursive: true});
  fs.cpSync(path.join(other, 'checkpoint'), path.join(root, 'checkpoint'), {recursive: true});
}

function contentOf(folder: string): Record<string, string> {
  const names = fs.readdirSync(folder).sort();
  return Object.fromEntries(
    names.map(name => [name, fs.readFileSync(path.join(folder, name)).toString('base64')]),
  );
}

test('a log that does not hold the entry of its checkpoint ends with the checkpoint', async t => {
  const root = directory(t);
  await addInterruptedInstall(t, root);
  const wal = contentOf(path.join(root, 'wal'));
  const summary = await inspectDirectory(root);
  assert.deepEqual(summary.last, {index: 70, term: 4}, 'not entry 100 of term 1');
  assert.equal(summary.commit, 70);
  assert.deepEqual([summary.term, summary.vote], [4, null]);
  const forced = await forceRecovery(root, accepting({}));
  assert.equal(forced.revision, 2 + revisionBump);
  assert.deepEqual((await inspectDirectory(root)).last, {index: 70, term: 4});
  assert.ok(forced.saved !== null);
  assert.deepEqual(contentOf(path.join(forced.saved, 'wal')), wal, 'the old log was only read');
});

test('a member whose state went wrong says so, and becomes a cluster on request only', async t => {
  const root = directory(t);
  addMember(root, {index: 70, term: 4});
  const divergence = 'at entry 60 the state hash is ab, not cd';
  const diverged: IdentityRecord = {...record, divergence};
  saveIdentity(nodeDisk, path.join(root, 'identity.json'), diverged);
  assert.equal((await inspectDirectory(root)).divergence, divergence);
  await assert.rejects(forceRecovery(root, accepting({})), {
    message: /at entry 60 .*-accept-diverged/,
  });
  assert.equal((await inspectDirectory(root)).clusterId, record.clusterId, 'nothing has changed');
  const forced = await forceRecovery(root, accepting({acceptDiverged: true}));
  assert.notEqual(forced.clusterId, record.clusterId);
  assert.equal((await inspectDirectory(root)).divergence, null);
});

test('an older copy says so, and becomes a cluster that can start on request only', async t => {
  const root = directory(t);
  addMember(root, {index: 70, term: 4});
  const starts = path.join(root, 'start-count.json');
  raiseStartHistory(nodeDisk, starts, '0000abcd');
  const stale = 'the data directory of node1 was restored from a backup; start it with -rejoin';
  noteStale(nodeDisk, starts, stale);
  assert.equal((await inspectDirectory(root)).stale, stale);
  for (const options of [accepting({}), accepting({acceptDiverged: true})]) {
    await assert.rejects(forceRecovery(root, options), {
      message: /restored from a backup.*-accept-stale/,
    });
  }
  const before = await inspectDirectory(root);
  assert.equal(before.clusterId, record.clusterId, 'nothing has changed');
  const forced = await forceRecovery(root, accepting({acceptStale: true}));
  assert.notEqual(forced.clusterId, record.clusterId);
  assert.equal((await inspectDirectory(root)).stale, null);
  assert.equal(raiseStartHistory(nodeDisk, starts, '0000abce').count, 1, 'it starts');
});

test('a directory in which no node kept its data is not touched', async t => {
  const root = directory(t);
  fs.mkdirSync(path.join(root, 'tmp'));
  fs.writeFileSync(path.join(root, 'tmp', 'draft'), 'mine');
  await assert.rejects(forceRecovery(root, accepting({})));
  assert.deepEqual(fs.readdirSync(root), ['tmp']);
  assert.deepEqual(fs.readdirSync(path.join(root, 'tmp')), ['draft']);
});
