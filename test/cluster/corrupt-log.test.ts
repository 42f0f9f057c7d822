import assert from 'node:assert/strict';
import {readFileSync, writeFileSync} from 'node:fs';
import {test} from 'node:test';
import type {NodeProcess} from './node-process.ts';
import {Cluster} from './cluster.ts';
import {eventually} from './eventually.ts';
import {walBatches} from './wal-file.ts';
import {Workload} from './workload.ts';

/** Waits for the mark that says the last entries are durable, then kills. */
async function killWhenSynced(node: NodeProcess): Promise<void> {
  await eventually(`${node.id} to write a sync mark`, 5_000, () =>
    walBatches(node.data).at(-1)?.entryCount === 0 ? true : null,
  );
  await node.kill9();
}

test(
  'a bit flipped in any acknowledged record of a follower keeps it from starting, the others go on',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t);
    const workload = new Workload({nodes: cluster.nodes}).start();
    await workload.progress(100);
    await workload.stop();
    const [follower] = await cluster.followers();
    assert.ok(follower !== undefined);
    await killWhenSynced(follower);
    const batches = walBatches(follower.data).filter(batch => batch.entryCount > 0);
    const last = batches.at(-1);
    const middle = batches[Math.floor(batches.length / 2)];
    assert.ok(last !== undefined && middle !== undefined);

    for (const [batch, at] of [
      [last, last.dataOffset],
      [last, last.offset + 40],
      [middle, middle.dataOffset + 3],
      [middle, middle.offset + 13],
    ] as const) {
      const intact = readFileSync(batch.path);
      const damaged = Buffer.from(intact);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
      writeFileSync(batch.path, damaged);
      const exit = await follower.runToExit(cluster.flagsOf(follower));
      assert.equal(exit.code, 1, follower.output());
      const complaints = follower.complaints();
      assert.equal(complaints.length, 1, follower.output());
      const [line = ''] = complaints;
      assert.ok(line.includes(batch.path), line);
      const offset = Number(/at byte (\d+)/.exec(line)?.[1]);
      assert.ok(offset >= batch.offset && offset < batch.offset + batch.sizeBytes, line);
      assert.match(line, /-rejoin/);
      assert.deepEqual(readFileSync(batch.path), damaged, 'a refused start changed the log');
      writeFileSync(batch.path, intact);
    }

    const others = cluster.nodes.filter(node => node !== follower);
    const more = new Workload({nodes: others, name: 'more'}).start();
    await more.progress(100);
    await more.stop();
    // With its bytes back it is a member like before.
    await cluster.restart(follower);
    await cluster.assertSameState();
    await workload.assertAllPresent(cluster.nodes);
    await more.assertAllPresent(cluster.nodes);
  },
);
