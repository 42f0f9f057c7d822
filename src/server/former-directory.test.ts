import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {RosettaError} from '../base/errors.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import {nodeId} from '../raft/ids.ts';
import type {DataDirectory} from '../storage/data-directory.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {readFormer} from './former-directory.ts';
import {openIdentity, saveIdentity} from './identity-file.ts';
import {lockedDataDirectory} from './locked-directory.ts';

const id = nodeId('node2');
const clusterId = 'c'.repeat(32);
const record: IdentityRecord = {
  nodeId: id,
  incarnation: '0123456789abcdef',
  clusterId,
  stage: 'adopted',
  members: [],
};

function withDirectory(body: (directory: DataDirectory) => void): () => Promise<void> {
  return async () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-former-'));
    const directory = await lockedDataDirectory(root);
    try {
      body(directory);
    } finally {
      directory.release();
      fs.rmSync(root, {recursive: true, force: true});
    }
  };
}

test(
  'what no node has used, or not in a cluster, is no former directory',
  withDirectory(directory => {
    assert.equal(readFormer(nodeDisk, directory, id), null);
    const fresh = {...record, clusterId: null, stage: 'fresh', formerClusterId: clusterId} as const;
    saveIdentity(nodeDisk, directory.identityFile, fresh);
    assert.equal(readFormer(nodeDisk, directory, id), null);
    const drawIncarnation = (): string => assert.fail('it has one');
    assert.deepEqual(openIdentity(nodeDisk, directory.identityFile, {id, drawIncarnation}), fresh);
  }),
);

test(
  'a sound directory says so, and what is damaged is named',
  withDirectory(directory => {
    const {identityFile, startCountFile} = directory;
    const damage = (): string | null | undefined => {
      return readFormer(nodeDisk, directory, id)?.damage;
    };
    saveIdentity(nodeDisk, identityFile, record);
    const sound = {clusterId, incarnation: record.incarnation, startCount: 1, damage: null};
    assert.deepEqual(readFormer(nodeDisk, directory, id), sound);
    saveIdentity(nodeDisk, identityFile, {...record, divergence: 'it differs'});
    assert.equal(damage(), 'it differs');
    // A member has a log.
    saveIdentity(nodeDisk, identityFile, {...record, stage: 'member'});
    assert.match(damage() ?? '', /wal holds no log/);
    saveIdentity(nodeDisk, identityFile, record);
    fs.writeFileSync(startCountFile, '{}');
    assert.match(damage() ?? '', /start-count\.json is damaged/);
    fs.writeFileSync(identityFile, '{"formatVersion":1');
    assert.match(damage() ?? '', /identity\.json is damaged/);
    assert.equal(readFormer(nodeDisk, directory, id)?.clusterId, null);
  }),
);

test(
  'the directory of another node, and one that cannot be read, is left alone',
  withDirectory(directory => {
    saveIdentity(nodeDisk, directory.identityFile, record);
    assert.throws(
      () => readFormer(nodeDisk, directory, nodeId('node3')),
      (error: unknown) => {
        assert.ok(error instanceof RosettaError);
        assert.match(error.message, /belongs to node2, not to node3/);
        return true;
      },
    );
    const failing = Object.assign(new Error('EIO: i/o error, open'), {code: 'EIO'});
    const disk: typeof nodeDisk = Object.create(nodeDisk, {
      openSync: {
        value: () => {
          throw failing;
        },
      },
    }) as typeof nodeDisk;
    assert.throws(() => readFormer(disk, directory, id), failing);
  }),
);
