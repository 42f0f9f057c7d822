import assert from 'node:assert/strict';
import {readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import type {Status} from './client.ts';
import {Cluster} from './cluster.ts';
import {eventually} from './eventually.ts';
import type {Exit, NodeProcess} from './node-process.ts';
import {patientFlags} from './standing.ts';
import {writeMany} from './pipelined-writer.ts';

const startCountMax = 5;
/** What ends a process whose native code follows a damaged page. */
const nativeSignals: readonly NodeJS.Signals[] = ['SIGABRT', 'SIGSEGV', 'SIGBUS', 'SIGFPE'];
const keyCount = 10_000;
/** Far less than that, so that the log alone cannot rebuild the checkpoint. */
const shortLogFlags = ['-test-wal-segment-size=262144', '-test-log-retention-size=262144'];

const damages: Readonly<Record<string, (node: NodeProcess) => void>> = {
  'truncated to half': node => {
    const file = checkpointFile(node);
    truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096);
  },
  'truncated to nothing': node => truncateSync(checkpointFile(node), 0),
  'overwritten with zeros': node => {
    const file = checkpointFile(node);
    writeFileSync(file, Buffer.alloc(statSync(file).size));
  },
  'overwritten with noise behind its first pages': node => {
    const bytes = readFileSync(checkpointFile(node));
    for (let i = 3 * 4096; i < bytes.length; i++) bytes[i] = (i * 2_654_435_761) >>> 24;
    writeFileSync(checkpointFile(node), bytes);
  },
  'removed, the file': node => rmSync(checkpointFile(node)),
  'removed, the directory': node => rmSync(join(node.data, 'checkpoint'), {recursive: true}),
};

function checkpointFile(node: NodeProcess): string {
  const directory = join(node.data, 'checkpoint');
  const [name = ''] = readFileSync(join(directory, 'CURRENT'), 'latin1').split('\n');
  const file = readdirSync(join(directory, name)).find(entry => entry === 'data.mdb');
  assert.ok(file !== undefined);
  return join(directory, name, file);
}

/** The log no longer begins at entry 1: only the checkpoint holds what came before. */
async function logIsTrimmed(node: NodeProcess): Promise<void> {
  await eventually(`${node.id} to drop old segments`, 15_000, async () => {
    const {log, lastLogIndex} = await node.status();
    return log.entries < lastLogIndex ? true : null;
  });
}

/**
 * Damage may be met only when a row is read: the node then leaves with one line that names the
 * file, or LMDB's native code ends it. Whoever starts it again finds it well after a few times.
 */
async function recovered(cluster: Cluster, node: NodeProcess, name: string): Promise<Status> {
  const {keys} = await leaderStatus(cluster, node);
  for (let start = 0; start < startCountMax; start++) {
    cluster.start(node);
    const status = await eventually(`the checkpoint, ${name}, to be back`, 20_000, async () => {
      if (!node.isRunning) return 'ended';
      const own = await node.status();
      if (!own.ready || own.keys < keys) return null;
      // Every row must be readable.
      return (await node.client.list('')).size === own.keys ? own : null;
    });
    if (status !== 'ended') return status;
    const {code, signal} = await node.exited;
    if (signal !== null && nativeSignals.includes(signal)) continue;
    assert.equal(code, 1, `${name}: ${signal ?? ''} ${node.output()}`);
    assert.equal(node.complaints().length, 1, node.output());
    assert.match(node.complaints()[0] ?? '', /checkpoint/, name);
  }
  throw new Error(`${name}: it does not come back: ${node.output()}`);
}

/** What the node must hold when it is back: as much as any other; alone, as much as it had. */
async function leaderStatus(cluster: Cluster, node: NodeProcess): Promise<{readonly keys: number}> {
  const [other] = cluster.nodes.filter(candidate => candidate !== node);
  return other === undefined ? {keys: 1} : other.status();
}

test(
  'a member whose checkpoint is damaged gets it back from the others',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: shortLogFlags});
    await writeMany((await cluster.leader()).httpPort, 'k', keyCount);
    await Promise.all(cluster.nodes.map(logIsTrimmed));
    await cluster.assertSameState();
    for (const [i, [name, damage]] of Object.entries(damages).entries()) {
      const node = cluster.nodes[i % 3];
      assert.ok(node !== undefined);
      await node.kill9();
      damage(node);
      const status = await recovered(cluster, node, name);
      assert.equal(status.keys, keyCount + i, name);
      assert.equal((await node.client.put(`after-${i}`, name)).type, 'ok');
      await cluster.assertSameState();
    }
    // What was rebuilt is whole: it serves alone with one other.
    const [first, second, third] = cluster.nodes;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    await third.kill9();
    await cluster.leader([first, second]);
    assert.equal((await first.client.list('k', '&keysOnly=true')).size, keyCount);
    assert.equal((await second.client.put('last', 'x')).type, 'ok');
  },
);

test(
  'a single node rebuilds its checkpoint while its log reaches back to the beginning',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {size: 1});
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    await writeMany(node.httpPort, 'k', 5_000);
    await eventually('a checkpoint', 10_000, async () =>
      (await node.status()).checkpointIndex > 0 ? true : null,
    );
    const before = await node.status();
    for (const [name, damage] of Object.entries(damages)) {
      await node.kill9();
      damage(node);
      const after = await recovered(cluster, node, name);
      assert.equal(after.stateHash, before.stateHash);
      assert.equal(after.revision, before.revision);
      await eventually('the next checkpoint', 10_000, async () =>
        (await node.status()).checkpointIndex > 0 ? true : null,
      );
    }
  },
);

test(
  'a single node that cannot rebuild its checkpoint refuses to start and says what to do',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {size: 1, flags: shortLogFlags});
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    await writeMany(node.httpPort, 'k', keyCount);
    await logIsTrimmed(node);
    await node.sigterm();
    const file = checkpointFile(node);
    const bytes = readFileSync(file);
    writeFileSync(file, Buffer.alloc(bytes.length));
    for (let attempt = 0; attempt < 2; attempt++) {
      const exit: Exit = await node.runToExit(cluster.flagsOf(node));
      assert.equal(exit.code, 1, node.output());
      assert.equal(node.complaints().length, 1, node.output());
      const [line = ''] = node.complaints();
      assert.match(line, /checkpoint/);
      assert.match(line, /restore/);
    }
  },
);

test(
  'a damaged row that nobody has read is found by -rejoin, and comes back from the others',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: patientFlags});
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    await writeMany(node.httpPort, 'k', 500);
    await eventually('a checkpoint of all', 20_000, async () => {
      const {checkpointIndex, appliedIndex} = await node.status();
      return checkpointIndex === appliedIndex ? true : null;
    });
    await node.sigterm();
    const file = checkpointFile(node);
    const bytes = readFileSync(file);
    const text = 'value of k77';
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      bytes[at] = (bytes[at] ?? 0) ^ 4;
    }
    writeFileSync(file, bytes);
    await cluster.leader(
      cluster.nodes.filter(other => other !== node),
      30_000,
    );
    cluster.start(node, ['-rejoin']);
    await node.waitReady();
    assert.match(node.output(), /the checksum of a row does not match/);
    assert.match(node.output(), /a damaged checkpoint is kept in .*checkpoint\.damaged/);
    assert.equal((await node.client.list('k', '&consistency=local')).size, 500);
    assert.deepEqual(
      readdirSync(node.data).filter(name => name === 'replaced'),
      [],
      'log and vote stay',
    );
    await cluster.assertSameState();
  },
);
