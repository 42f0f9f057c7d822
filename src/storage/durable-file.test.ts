import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {must} from '../base/assert.ts';
import {Prng} from '../base/prng.ts';
import {nodeId} from '../raft/ids.ts';
import {readDurableFile, replaceDurableFile, writeDurableFile} from './durable-file.ts';
import {readIdentity, writeIdentity} from './identity.ts';
import type {StartHistory} from './start-history.ts';
import {noteStale, raiseStartHistory, readStartHistory} from './start-history.ts';
import {isOutOfSpace, StorageError} from './storage-error.ts';

const identity = {
  clusterId: null,
  nodeId: nodeId('node1'),
  incarnation: '0123456789abcdef',
  members: null,
};

function makeDisk(): FakeDisk {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/data');
  return disk;
}

test('an identity is null before it is written and the same afterwards', () => {
  const disk = makeDisk();
  assert.equal(readIdentity(disk, '/data/identity.json'), null);
  writeIdentity(disk, '/data/identity.json', identity);
  assert.deepEqual(readIdentity(disk, '/data/identity.json'), identity);
  const formed = {...identity, clusterId: 'c1', members: [{id: 'node1'}]};
  writeIdentity(disk, '/data/identity.json', formed);
  assert.deepEqual(readIdentity(disk, '/data/identity.json'), formed);
});

test('a damaged identity is refused, whatever bit is wrong', () => {
  const disk = makeDisk();
  writeIdentity(disk, '/data/identity.json', identity);
  const content = disk.content('/data/identity.json');
  // The last byte is the line's end, which means nothing.
  for (let at = 0; at < content.length - 1; at++) {
    const bytes = new Uint8Array(content);
    bytes[at] = must(bytes[at], 'a byte') ^ 0x02;
    disk.replace('/data/identity.json', bytes);
    assert.throws(() => readIdentity(disk, '/data/identity.json'), StorageError, `byte ${at}`);
  }
  disk.replace('/data/identity.json', new Uint8Array(0));
  assert.throws(() => readIdentity(disk, '/data/identity.json'), /is damaged/);
});

test('the start count rises at every start, also after a crash', () => {
  const disk = makeDisk();
  const prng = new Prng(5);
  const raise = (): StartHistory => raiseStartHistory(disk, '/data/start-count.json', '0000abcd');
  assert.equal(readStartHistory(disk, '/data/start-count.json').count, 0);
  for (let count = 1; count <= 20; count++) {
    assert.equal(raise().count, count);
    disk.crash(prng);
  }
});

test('a directory that was found to be an older copy does not start, and keeps its history', () => {
  const disk = makeDisk();
  const file = '/data/start-count.json';
  const history = raiseStartHistory(disk, file, '0000abcd');
  noteStale(disk, file, 'it was restored from a backup');
  disk.crash(new Prng(3));
  for (let i = 0; i < 200; i++) {
    assert.throws(() => raiseStartHistory(disk, file, '0000abcd'), /restored from a backup/);
  }
  assert.deepEqual(readStartHistory(disk, file), history);
});

test('a crash while a file is replaced leaves the old content or the new', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const disk = makeDisk();
    writeDurableFile(disk, '/data/f', {value: 1});
    disk.changesLeft = seed % 7;
    try {
      writeDurableFile(disk, '/data/f', {value: 2});
    } catch {
      // The crash below decides what is left.
    }
    disk.changesLeft = Number.POSITIVE_INFINITY;
    disk.crash(new Prng(seed));
    const content = readDurableFile(disk, '/data/f');
    assert.ok(
      JSON.stringify(content) === '{"value":1}' || JSON.stringify(content) === '{"value":2}',
    );
  }
});

test('content nested deeper than the stack goes is damage', () => {
  const disk = makeDisk();
  const text = '['.repeat(60_000) + ']'.repeat(60_000);
  disk.openSync('/data/f', 'create').closeSync();
  disk.replace('/data/f', Buffer.from(`{"formatVersion":1,"checksum":0,"content":${text}}`));
  assert.throws(() => readDurableFile(disk, '/data/f'), StorageError);
});

test('a file that cannot be written is named, with the reason and what to do', () => {
  const disk = makeDisk();
  const refusal = (): StorageError => {
    try {
      raiseStartHistory(disk, '/data/start-count.json', '0000abcd');
    } catch (error) {
      assert.ok(error instanceof StorageError, String(error));
      assert.equal(error.path, '/data/start-count.json');
      return error;
    }
    return assert.fail('written');
  };
  disk.spaceSizeBytes = 0;
  const full = refusal();
  assert.ok(isOutOfSpace(full));
  assert.match(
    full.message,
    /^\/data\/start-count\.json cannot be written \(ENOSPC.*free some space/,
  );
  disk.spaceSizeBytes = Number.POSITIVE_INFINITY;
  disk.failNextSync = 'EIO';
  const broken = refusal();
  assert.ok(!isOutOfSpace(broken));
  assert.match(broken.message, /cannot be written \(EIO.*check its disk/);
  assert.equal(raiseStartHistory(disk, '/data/start-count.json', '0000abcd').count, 1);
});

test('a crash while a file is replaced in the background leaves the old content or the new', () => {
  let finishedCount = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const operations: (() => void)[] = [];
    const disk = new FakeDisk(
      operation => operations.push(operation),
      report => report(),
    );
    disk.makeDirectorySync('/data');
    writeDurableFile(disk, '/data/f', {value: 1});
    const answers: (Error | null)[] = [];
    replaceDurableFile(disk, '/data/f', {value: 2}, error => answers.push(error));
    for (let step = 0; step < seed % 10; step++) operations.shift()?.();
    disk.crash(new Prng(seed));
    const content = JSON.stringify(readDurableFile(disk, '/data/f'));
    if (answers.length === 0) {
      assert.ok(content === '{"value":1}' || content === '{"value":2}', content);
    } else {
      assert.deepEqual(answers, [null]);
      assert.equal(content, '{"value":2}');
      finishedCount++;
    }
  }
  assert.ok(finishedCount > 0 && finishedCount < 60, `${finishedCount} of 60`);
});
