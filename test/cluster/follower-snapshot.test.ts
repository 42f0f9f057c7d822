import assert from 'node:assert/strict';
import {test} from 'node:test';
import {valueOf} from './client.ts';
import {Cluster, smallLogFlags} from './cluster.ts';
import {writeMany} from './pipelined-writer.ts';

const missedWriteCount = 200_000;

test(
  'a follower that missed 200,000 writes is brought up by a snapshot',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: smallLogFlags});
    const leader = await cluster.leader();
    const [follower] = await cluster.followers();
    assert.ok(follower !== undefined);
    await writeMany(leader.httpPort, 'before-', 1_000);
    await follower.kill9();
    await writeMany(leader.httpPort, 'missed-', missedWriteCount);
    const {lastLogIndex, log} = await leader.status();
    assert.ok(log.entries < missedWriteCount / 2, `the log still holds ${log.entries} entries`);

    await cluster.restart(follower);
    const whenReady = await follower.status();
    assert.ok(whenReady.appliedIndex + 1_000 >= lastLogIndex, 'ready before it has caught up');
    const status = await cluster.assertSameState();
    assert.ok(status.lastLogIndex >= lastLogIndex);
    assert.match(follower.output(), /snapshot/i, 'it came another way');
    assert.equal(status.keys, missedWriteCount + 1_000);
    const last = `missed-${missedWriteCount - 1}`;
    const local = await follower.client.request('GET', `/kv/${last}?consistency=local`);
    assert.equal(local.status, 200);

    // What it got must survive it, and it must be of full use to the others.
    await follower.kill9();
    await cluster.restart(follower);
    await leader.kill9();
    await cluster.leader(cluster.nodes.filter(node => node !== leader));
    assert.equal(valueOf(await follower.client.get('before-7')), 'value of before-7');
    assert.equal((await follower.client.put('after', 'x')).type, 'ok');
    await cluster.restart(leader);
    await cluster.assertSameState();
  },
);

test(
  'a follower killed while it receives a snapshot, again and again, gets there in the end',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: smallLogFlags});
    const leader = await cluster.leader();
    const [follower] = await cluster.followers();
    assert.ok(follower !== undefined);
    await follower.kill9();
    await writeMany(leader.httpPort, 'k', 30_000);
    for (const delayMs of [100, 200, 300, 400, 600]) {
      cluster.start(follower);
      await follower.waitAlive();
      await new Promise(resolve => setTimeout(resolve, delayMs));
      await follower.kill9();
    }
    await cluster.restart(follower);
    const status = await cluster.assertSameState();
    assert.equal(status.keys, 30_000);
  },
);
