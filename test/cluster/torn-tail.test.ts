import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {systemClock} from '../../src/server/system-clock.ts';
import {nodeDisk} from '../../src/storage/node-disk.ts';
import {readIdentity} from '../../src/storage/identity.ts';
import type {OpenedLog} from '../../src/storage/wal-log-store.ts';
import {openLog} from '../../src/storage/wal-log-store.ts';
import {Cluster} from './cluster.ts';
import type {NodeProcess} from './node-process.ts';
import {lastEntryBatch} from './wal-file.ts';
import type {WalBatch} from './wal-file.ts';

const writeCount = 10;
const segmentSizeBytes = 65_536;

interface Crashed {
  readonly cluster: Cluster;
  readonly node: NodeProcess;
  /** The batch of the last write. What marks it as durable is cut off with its tail. */
  readonly batch: WalBatch;
  readonly lastIndex: number;
  /** A copy of the data directory as the crash left it. */
  readonly original: string;
}

/** One node that took writes, one batch each, and was killed. */
async function crashedNode(t: TestContext): Promise<Crashed> {
  const flags = [`-test-wal-segment-size=${segmentSizeBytes}`];
  const cluster = await Cluster.running(t, {size: 1, flags});
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  for (let i = 0; i < writeCount; i++) {
    assert.equal((await node.client.put(`k${i}`, `value ${i}`)).type, 'ok');
  }
  const {lastLogIndex: lastIndex} = await node.status();
  await node.kill9();
  const original = join(cluster.directory, 'original');
  // Node copies no sockets: the one by which the killed process was found stays behind.
  const isCopied = (source: string): boolean => !lstatSync(source).isSocket();
  cpSync(node.data, original, {recursive: true, filter: isCopied});
  const batch = lastEntryBatch(node.data);
  assert.equal(batch.entryCount, 1);
  return {cluster, node, batch, lastIndex, original};
}

/** The file as a crash in the middle of the batch's write may leave it. */
function torn(crashed: Crashed, kept: number, tail: 'cut' | 'zeros'): Buffer {
  const {batch, original} = crashed;
  const bytes = readFileSync(join(original, 'wal', basename(batch.path)));
  if (tail === 'cut') return bytes.subarray(0, batch.offset + kept);
  return bytes.fill(0, batch.offset + kept);
}

test(
  'a log torn at any byte of its last record opens with everything before it',
  {timeout: 120_000},
  async t => {
    const crashed = await crashedNode(t);
    const {batch, lastIndex, original, cluster} = crashed;
    const identity = readIdentity(nodeDisk, join(original, 'identity.json'));
    assert.ok(identity !== null);
    const directory = join(cluster.directory, 'scratch');
    for (const tail of ['cut', 'zeros'] as const) {
      for (let kept = 0; kept <= batch.sizeBytes; kept++) {
        rmSync(directory, {recursive: true, force: true});
        mkdirSync(directory);
        const path = join(directory, basename(batch.path));
        writeFileSync(path, torn(crashed, kept, tail));
        const opened = openLog({
          disk: nodeDisk,
          directory,
          clock: systemClock,
          identity: {...identity, clusterId: identity.clusterId ?? ''},
          checkpoint: null,
          mustExist: true,
          options: {segmentSizeBytes},
        });
        const last = opened.store.lastIndex();
        const where = `${kept} of ${batch.sizeBytes} bytes, ${tail}`;
        // The padding at the end may miss without harm, nothing else.
        if (last === lastIndex) assert.ok(kept > batch.sizeBytes - 8, where);
        else assert.equal(last, lastIndex - 1, where);
        if (kept === batch.sizeBytes) assert.equal(last, lastIndex, where);
        const isBroken = kept >= 8 && last < lastIndex;
        if (isBroken) assert.ok(existsSync(`${path}.broken`), `no copy: ${where}`);
        await closed(opened);
      }
    }
  },
);

test('a node whose log is torn starts with every earlier write', {timeout: 120_000}, async t => {
  const crashed = await crashedNode(t);
  const {cluster, node, batch, original} = crashed;
  for (const [kept, tail] of [
    [0, 'zeros'],
    [1, 'cut'],
    [40, 'zeros'],
    [batch.dataOffset - batch.offset + 3, 'cut'],
    [batch.dataOffset - batch.offset + 3, 'zeros'],
  ] as const) {
    rmSync(node.data, {recursive: true});
    cpSync(original, node.data, {recursive: true});
    writeFileSync(batch.path, torn(crashed, kept, tail));
    await cluster.restart(node);
    const where = `${kept} of ${batch.sizeBytes} bytes, ${tail}: ${node.output()}`;
    const records = await node.client.list('k');
    for (let i = 0; i < writeCount - 1; i++)
      assert.equal(records.get(`k${i}`), `value ${i}`, where);
    assert.equal(records.size, writeCount - 1, where);
    assert.equal((await node.client.put('again', 'x')).type, 'ok');
    await node.kill9();
    await cluster.restart(node);
    assert.equal((await node.client.list('')).size, writeCount, where);
    await node.kill9();
  }
  const copies = readdirSync(dirname(batch.path)).filter(name => name.endsWith('.broken'));
  assert.equal(copies.length, 1);
});

test(
  'garbage behind the last record is cut off, whatever it claims to be',
  {timeout: 120_000},
  async t => {
    const crashed = await crashedNode(t);
    const {cluster, node, batch, original} = crashed;
    for (const length of [0xffff_ffff, 0x7fff_fff8, 8]) {
      rmSync(node.data, {recursive: true});
      cpSync(original, node.data, {recursive: true});
      const bytes = torn(crashed, batch.sizeBytes, 'zeros');
      const end = batch.offset + batch.sizeBytes;
      // It begins as a batch does, and announces a length that cannot be.
      bytes.copy(bytes, end, batch.offset, batch.offset + 8);
      bytes.writeUInt32LE(length, end + 12);
      writeFileSync(batch.path, bytes);
      await cluster.restart(node);
      assert.equal((await node.client.list('k')).size, writeCount);
      await node.kill9();
    }
  },
);

function closed(opened: OpenedLog): Promise<void> {
  return new Promise(resolve => opened.store.close(() => resolve()));
}
