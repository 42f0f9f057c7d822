import assert from 'node:assert/strict';
import {closeSync, openSync, rmSync, statSync, truncateSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {valueOf} from './client.ts';
import type {Outcome} from './client.ts';
import {Cluster, temporaryDirectory} from './cluster.ts';
import {eventually} from './eventually.ts';
import type {Exit, NodeProcess} from './node-process.ts';
import {smallDisk} from './small-disk.ts';
import {Workload} from './workload.ts';

const sizeMiB = 24;
const flags = ['-test-wal-segment-size=1048576', '-test-log-retention-size=1048576'];
const value = 'x'.repeat(20_000);

interface FullDisk {
  readonly cluster: Cluster;
  readonly fill: (node: NodeProcess) => void;
  readonly free: (node: NodeProcess) => void;
  /** Gives so many bytes back. */
  readonly giveBack: (node: NodeProcess, sizeBytes: number) => void;
}

/** A cluster with each node on a small disk of its own. */
async function onSmallDisks(t: TestContext, size: number): Promise<FullDisk | null> {
  const root = temporaryDirectory(t);
  const disks = new Map<string, {readonly outside: string; readonly wrapper: readonly string[]}>();
  for (let i = 1; i <= size; i++) {
    const disk = await smallDisk(t, join(root, `disk${i}`), sizeMiB);
    if (disk === null) {
      // Said, not hidden: without a file system of its own there is no full disk to test.
      t.skip('this user may not mount a tmpfs, not even in a namespace (unshare --mount)');
      return null;
    }
    disks.set(`node${i}`, disk);
  }
  const cluster = await Cluster.running(t, {
    size,
    flags,
    place: id => ({
      wrapper: disks.get(id)?.wrapper ?? [],
      data: join(root, `disk${id.slice('node'.length)}`, 'data'),
    }),
  });
  const filler = (node: NodeProcess): string => join(disks.get(node.id)?.outside ?? '', 'filler');
  return {
    cluster,
    fill: node => fillUp(filler(node)),
    free: node => rmSync(filler(node)),
    giveBack: (node, sizeBytes) => {
      truncateSync(filler(node), statSync(filler(node)).size - sizeBytes);
    },
  };
}

/** Writes zeros until there is no space. */
function fillUp(path: string): void {
  const file = openSync(path, 'w');
  const piece = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeSync(file, piece);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(file);
  }
}

test(
  'a single node on a full disk refuses writes, serves reads, and resumes when there is space',
  {timeout: 120_000},
  async t => {
    const disk = await onSmallDisks(t, 1);
    if (disk === null) return;
    const {cluster, fill, free} = disk;
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    const acknowledged = new Set<string>();
    const write = async (i: number): Promise<Outcome> => {
      const outcome = await node.client.put(`k${i}`, `${i}${value}`);
      if (outcome.type === 'ok') acknowledged.add(`k${i}`);
      return outcome;
    };
    for (let i = 0; i < 20; i++) assert.equal((await write(i)).type, 'ok');
    fill(node);
    let next = 20;
    const refusal = await eventually('a refusal for lack of space', 15_000, async () => {
      const outcome = await write(next++);
      return outcome.type === 'ok' ? null : outcome;
    });
    assert.equal(refusal.type, 'definite', JSON.stringify(refusal));
    assert.equal(refusal.code, 'STORAGE_FULL');
    assert.equal(refusal.status, 507);
    assert.equal(valueOf(await node.client.get('k3')), `3${value}`);
    assert.ok(node.isRunning);
    free(node);
    await eventually('writes again', 10_000, async () =>
      (await write(next++)).type === 'ok' ? true : null,
    );
    for (let i = 0; i < 20; i++) assert.equal((await write(next++)).type, 'ok');
    await node.kill9();
    await cluster.restart(node);
    for (const key of acknowledged) {
      assert.equal(valueOf(await node.client.get(key)), `${key.slice(1)}${value}`, key);
    }
  },
);

test(
  'a leader on a full disk hands over, and takes part again when there is space',
  {timeout: 180_000},
  async t => {
    const disk = await onSmallDisks(t, 3);
    if (disk === null) return;
    const {cluster, fill, free} = disk;
    const leader = await cluster.leader();
    const others = cluster.nodes.filter(node => node !== leader);
    const workload = new Workload({nodes: cluster.nodes, writerCount: 3}).start();
    await workload.progress(50);
    fill(leader);
    let i = 0;
    const next = await eventually('another leader', 30_000, async () => {
      for (const node of others) await node.client.put(`big-${i++ % 50}`, value);
      const status = await others[0]?.status();
      return status === undefined || status.leader === null || status.leader === leader.id
        ? null
        : status.leader;
    });
    assert.notEqual(next, leader.id);
    await workload.progress(50);
    assert.equal((await leader.client.get('big-1')).type, 'ok', 'reads go on');
    free(leader);
    await workload.progress(50);
    await workload.stop();
    assert.ok(
      cluster.nodes.every(node => node.isRunning),
      'a full disk ended a node',
    );
    await cluster.assertSameState();
    await workload.assertAllPresent(cluster.nodes);
    workload.assertLinearizable();
  },
);

test(
  'a start without space says in one line which file it is about and what to do',
  {timeout: 120_000},
  async t => {
    const disk = await onSmallDisks(t, 1);
    if (disk === null) return;
    const {cluster, fill, giveBack} = disk;
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    assert.equal((await node.client.put('key', value)).type, 'ok');
    await node.sigterm();
    fill(node);
    let refusedCount = 0;
    for (;;) {
      node.start(cluster.flagsOf(node));
      const hasStarted = await node.waitReady().then(
        () => true,
        () => false,
      );
      if (hasStarted) break;
      const exit: Exit = await node.exited;
      const [line = '', ...more] = node.complaints();
      assert.equal(exit.code, 1, node.output());
      assert.deepEqual(more, []);
      assert.ok(line.includes(node.data), line);
      assert.match(line, /free some space/);
      refusedCount += 1;
      assert.ok(refusedCount < 40, 'it never starts');
      // A page more, so that the next step of a start is the one without space.
      giveBack(node, 4096);
    }
    assert.ok(refusedCount > 0);
    assert.equal(valueOf(await node.client.get('key')), value);
    assert.deepEqual(node.bugLines(), []);
  },
);
