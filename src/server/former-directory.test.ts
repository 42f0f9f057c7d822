import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {RosettaError} from '../base/errors.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {DataDirectory} from '../storage/data-directory.ts';
import {CheckpointDamagedError} from '../storage/checkpoint-row.ts';
import {openLmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {restingCheckpoint, restingCheckpointFile} from '../storage/resting-directory.ts';
import {PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import {openLog} from '../storage/wal-log-store.ts';
import {readFormer} from './former-directory.ts';
import {openIdentity, saveIdentity, toIdentity} from './identity-file.ts';
import {lockedDataDirectory} from './locked-directory.ts';
import {inspectDirectory} from './recover-directory.ts';
import {drawNewCluster} from './new-cluster.ts';
import {systemClock} from './system-clock.ts';

const id = nodeId('node2');
const clusterId = 'c'.repeat(32);
const record: IdentityRecord = {
  nodeId: id,
  incarnation: '0123456789abcdef',
  clusterId,
  stage: 'adopted',
  members: [],
};

function withDirectory(
  body: (directory: DataDirectory) => void | Promise<void>,
): () => Promise<void> {
  return async () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-former-'));
    const directory = await lockedDataDirectory(root);
    try {
      await body(directory);
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
    const {identityFile, startHistoryFile} = directory;
    const damage = (): string | null | undefined => {
      return readFormer(nodeDisk, directory, id)?.damage;
    };
    saveIdentity(nodeDisk, identityFile, record);
    const sound = {
      clusterId,
      incarnation: record.incarnation,
      starts: {count: 0, marks: []},
      damage: null,
    };
    assert.deepEqual(readFormer(nodeDisk, directory, id), sound);
    saveIdentity(nodeDisk, identityFile, {...record, divergence: 'it differs'});
    assert.equal(damage(), 'it differs');
    // A member has a log.
    saveIdentity(nodeDisk, identityFile, {...record, stage: 'member'});
    assert.match(damage() ?? '', /wal holds no log/);
    saveIdentity(nodeDisk, identityFile, record);
    fs.writeFileSync(startHistoryFile, '{}');
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

const damages: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  'cut after two pages': bytes => bytes.subarray(0, 8_192),
  'cut to half': bytes => bytes.subarray(0, bytes.length / 2),
  empty: () => Buffer.alloc(0),
  zeros: bytes => Buffer.alloc(bytes.length),
  noise: bytes => bytes.map((_, i) => (i * 2_654_435_761) >>> 24) as Buffer,
};

for (const [name, damage] of Object.entries(damages)) {
  test(
    `a checkpoint that is damaged (${name}) is for the start to move aside`,
    withDirectory(async directory => {
      saveIdentity(nodeDisk, directory.identityFile, record);
      const store = openLmdbCheckpointStore({directory: directory.path});
      await new Promise<void>(resolve => store.close(resolve));
      const file = restingCheckpointFile(directory.path);
      assert.ok(file !== null);
      assert.equal(restingCheckpoint(file).meta.index, 0);
      fs.writeFileSync(file, damage(fs.readFileSync(file)));
      assert.throws(() => restingCheckpoint(file), CheckpointDamagedError);
      assert.equal(readFormer(nodeDisk, directory, id)?.damage, null);
      // Whoever asks for its summary is told, and the process lives.
      const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-former-'));
      try {
        const filter = (from: string): boolean => !fs.statSync(from).isSocket();
        fs.cpSync(directory.path, copy, {recursive: true, filter});
        await assert.rejects(inspectDirectory(copy), CheckpointDamagedError);
      } finally {
        fs.rmSync(copy, {recursive: true, force: true});
      }
    }),
  );
}

test(
  'segments that no checkpoint covers are missed',
  withDirectory(async directory => {
    const root = directory.path;
    const own = drawNewCluster({id, listen: 'localhost:8080', http: 'localhost:9080'});
    const {membership, record: ownRecord} = own;
    const member = new PreparedMember(nodeDisk, root, {revisionBump: 1});
    const checkpoint = {index: logIndex(70), term: term(4), membership};
    member.finish(toIdentity(ownRecord), checkpoint, term(4));
    putInPlace(nodeDisk, root);
    const {incarnation} = ownRecord;
    const {store, hardState} = openLog({
      disk: nodeDisk,
      directory: directory.walDirectory,
      clock: systemClock,
      identity: {clusterId: ownRecord.clusterId, nodeId: id, incarnation},
      checkpoint,
      options: {segmentSizeBytes: 32_768},
    });
    for (let index = 71; index <= 100; index++) {
      const data = Buffer.alloc(4_000);
      const fields = {term: term(4), index: logIndex(index), proposedAtMs: 0, data} as const;
      const entries = [makeEntry({...fields, type: 'command'})];
      await new Promise<void>((resolve, reject) => {
        const done = (error: Error | null): void => (error === null ? resolve() : reject(error));
        store.append({hardState, entries}, done);
      });
    }
    await new Promise<void>(resolve => store.close(resolve));
    assert.equal(readFormer(nodeDisk, directory, id)?.damage, null);
    const segments = fs.readdirSync(directory.walDirectory).sort();
    fs.rmSync(path.join(directory.walDirectory, segments[1] ?? ''));
    assert.match(readFormer(nodeDisk, directory, id)?.damage ?? '', /missing/);
    // Without a checkpoint the start waits for a snapshot, and the directory is good for that.
    fs.rmSync(directory.checkpointDirectory, {recursive: true});
    assert.equal(readFormer(nodeDisk, directory, id)?.damage, null);
  }),
);
