/** What `verify` says of directories that lost a whole part, and of those that only began. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {openLmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import {saveIdentity, toIdentity} from './identity-file.ts';
import {drawNewCluster} from './new-cluster.ts';
import {verifyDirectory} from './verify-directory.ts';

const addresses = {listen: 'localhost:8080', http: 'localhost:9080'};
const {record, membership} = drawNewCluster({id: nodeId('node1'), ...addresses});

/** A member that is whole: its checkpoint ends where its log begins. */
function memberDirectory(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'verify-directory-'));
  t.after(() => fs.rmSync(root, {recursive: true}));
  const member = new PreparedMember(nodeDisk, root, {revisionBump: 1});
  member.finish(toIdentity(record), {index: logIndex(70), term: term(4), membership}, term(4));
  putInPlace(nodeDisk, root);
  return root;
}

async function damagesOf(root: string): Promise<readonly string[]> {
  const reports = await verifyDirectory(root);
  return reports.flatMap(report => report.damages.map(each => `${report.part}: ${each.problem}`));
}

async function assertDamaged(root: string, ...expected: readonly RegExp[]): Promise<void> {
  const damages = await damagesOf(root);
  assert.equal(damages.length, expected.length, damages.join('; '));
  for (const [i, pattern] of expected.entries()) assert.match(damages[i] ?? '', pattern);
}

test('a member that is whole has no damage', async t => {
  assert.deepEqual(await damagesOf(memberDirectory(t)), []);
});

test('a member without a log is damaged', async t => {
  const root = memberDirectory(t);
  fs.rmSync(path.join(root, 'wal'), {recursive: true});
  await assertDamaged(root, /^log: there is no log/);
  fs.mkdirSync(path.join(root, 'wal'));
  await assertDamaged(root, /^log: there is no log/);
  fs.rmSync(path.join(root, 'checkpoint'), {recursive: true});
  await assertDamaged(root, /^log: there is no log/);
  saveIdentity(nodeDisk, path.join(root, 'identity.json'), {...record, stage: 'founded'});
  assert.deepEqual(await damagesOf(root), [], 'it has not taken part yet');
});

test('a log that needs a checkpoint and has none is damaged', async t => {
  const root = memberDirectory(t);
  fs.rmSync(path.join(root, 'checkpoint'), {recursive: true});
  await assertDamaged(root, /^log and checkpoint: the log begins behind entry 70/);
});

test('what a run found wrong is told until somebody sees to it', async t => {
  const root = memberDirectory(t);
  fs.writeFileSync(path.join(root, 'checkpoint', 'DAMAGED'), 'a row\n');
  await assertDamaged(root, /^checkpoint: the last run found: a row$/);
  fs.rmSync(path.join(root, 'checkpoint', 'DAMAGED'));
  const divergence = 'at entry 60 the state hash is ab, not cd';
  saveIdentity(nodeDisk, path.join(root, 'identity.json'), {...record, divergence});
  await assertDamaged(root, /^identity: .*at entry 60/);
});

test('a first checkpoint that was interrupted is none, another without CURRENT is damage', async t => {
  const root = memberDirectory(t);
  fs.rmSync(path.join(root, 'checkpoint', 'CURRENT'));
  const damages = await damagesOf(root);
  assert.match(damages.join('; '), /checkpoint: .*CURRENT is missing/);

  saveIdentity(nodeDisk, path.join(root, 'identity.json'), {...record, stage: 'founded'});
  for (const name of ['checkpoint', 'wal']) fs.rmSync(path.join(root, name), {recursive: true});
  const store = openLmdbCheckpointStore({directory: root});
  await new Promise<void>(resolve => store.close(resolve));
  fs.rmSync(path.join(root, 'checkpoint', 'CURRENT'));
  assert.deepEqual(await damagesOf(root), []);
  const file = path.join(root, 'checkpoint', '000001', 'data.mdb');
  assert.ok(fs.existsSync(file));
  fs.writeFileSync(file, '');
  assert.deepEqual(await damagesOf(root), []);
  fs.rmSync(file);
  assert.deepEqual(await damagesOf(root), []);
});
