import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {nodeDisk} from '../storage/node-disk.ts';
import {noteStale} from '../storage/start-history.ts';
import type {StartNodeOptions} from './start-node.ts';
import {startNode} from './start-node.ts';

function peer(id: string, port: number): {readonly id: string; readonly address: string} {
  return {id, address: `h:${port}`};
}

test('an option that a flag would not take is refused by its name, and nothing is started', async t => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'start-node-'));
  t.after(() => fs.rmSync(parent, {recursive: true}));
  const data = path.join(parent, 'data');
  const refused: readonly (readonly [Partial<StartNodeOptions>, RegExp])[] = [
    [{historyAgeMs: 0.5}, /^historyAgeMs must be a whole number from 0 to .*, not 0.5$/],
    [{historyAgeMs: -1}, /^historyAgeMs /],
    [{historyAgeMs: Infinity}, /^historyAgeMs /],
    [{historyAgeMs: 1e12}, /^historyAgeMs /],
    [{historySizeBytesMax: 1.5}, /^historySizeBytesMax /],
    [{historySizeBytesMax: -1}, /^historySizeBytesMax /],
    [{electionTimeoutMs: NaN}, /^electionTimeoutMs /],
    [{electionTimeoutMs: 1e9}, /^electionTimeoutMs /],
    [{electionTimeoutMs: 19, heartbeatMs: 10}, /^electionTimeoutMs /],
    [{heartbeatMs: 12.5}, /^heartbeatMs /],
    [{heartbeatMs: 9}, /^heartbeatMs /],
    [{heartbeatMs: 76}, /^heartbeatMs, 76, must be at most half of electionTimeoutMs, 150$/],
    [{peers: [{id: 'a', address: 'h:1'}]}, /^peers names a, which is this node itself$/],
    [{peers: [peer('b', 1), peer('b', 2)]}, /^peers names b twice$/],
    [{peers: [peer('b', 1), peer('c', 1)]}, /^peers names the address h:1 twice$/],
    [{peers: [peer('b', 0)]}, /^peers gives b the address h:0$/],
    [{peers: [peer('b/c', 1)]}, /^peers names "b\/c", which is no id of a node$/],
    [
      {peers: Array.from('bcdefgh', (id, i) => peer(id, i + 1))},
      /^peers names 7 nodes; a cluster has at most 7 members$/,
    ],
  ];
  for (const [options, message] of refused) {
    const started = startNode({
      id: 'a',
      listen: 'localhost:0',
      http: 'localhost:0',
      data,
      ...options,
    });
    await assert.rejects(started, {code: 'INVALID_REQUEST', message});
  }
  assert.equal(fs.existsSync(data), false);
});

test('a member that cannot go on as soon as it is up is not started, and leaves nothing behind', async t => {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'start-node-'));
  t.after(() => fs.rmSync(data, {recursive: true}));
  const options = {id: 'a', listen: '127.0.0.1:0', http: '127.0.0.1:0', data};
  const first = await startNode(options);
  await first.ready;
  await first.stop();
  const wal = path.join(data, 'wal');
  for (const name of fs.readdirSync(wal)) {
    const file = fs.openSync(path.join(wal, name), 'r+');
    fs.writeSync(file, Buffer.alloc(64, 0xff), 0, 64, 0);
    fs.closeSync(file);
  }
  // The second is told the same, not that the first still holds the directory.
  for (let i = 0; i < 2; i++) await assert.rejects(startNode(options), /\.wal is damaged/);
});

test('what would be the directory of the program, or nobody could find, is refused', async () => {
  const options = {id: 'a', listen: ':0', http: '127.0.0.1:0', data: 'unused'};
  await assert.rejects(startNode({...options, data: ''}), /data is empty/);
  const peers = [{id: 'b', address: 'h:1'}];
  await assert.rejects(startNode({...options, peers}), /every interface.*advertiseListen/);
});

test('a start that comes to nothing leaves no checkpoint open', async t => {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'start-node-'));
  t.after(() => fs.rmSync(data, {recursive: true}));
  const options = {id: 'a', listen: 'localhost:0', http: 'localhost:0', data};
  const countFile = path.join(data, 'checkpoint', 'UNSETTLED');
  // An embedding program without types.
  const corsOrigins = 5 as unknown as [];
  await assert.rejects(startNode({...options, corsOrigins}), TypeError);
  assert.ok(fs.existsSync(path.join(data, 'checkpoint', 'CURRENT')));
  assert.equal(fs.existsSync(countFile), false);

  const startsFile = path.join(data, 'start-count.json');
  assert.ok(fs.existsSync(startsFile));
  noteStale(nodeDisk, startsFile, 'it was restored from a backup');
  // A damaged one, which an opening would move aside.
  fs.writeFileSync(path.join(data, 'checkpoint', 'CURRENT'), 'damaged');
  await assert.rejects(startNode(options), /it was restored from a backup/);
  assert.equal(fs.existsSync(path.join(data, 'checkpoint.damaged')), false);
});
