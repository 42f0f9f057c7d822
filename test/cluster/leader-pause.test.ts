import assert from 'node:assert/strict';
import {test} from 'node:test';
import {valueOf} from './client.ts';
import {Cluster} from './cluster.ts';
import {eventually, pause} from './eventually.ts';
import type {NodeProcess} from './node-process.ts';
import {Workload} from './workload.ts';

const pauseMs = 2_000;

test(
  'a leader paused for two seconds gives no stale read and no false answer when it wakes',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t);
    const workload = new Workload({nodes: cluster.nodes, isSticky: true, readerCount: 6}).start();
    await workload.progress(200);
    const old = await cluster.leader();
    const {term} = await old.status();
    const others = cluster.nodes.filter(node => node !== old);
    const [other] = others;
    assert.ok(other !== undefined);
    assert.equal((await old.client.put('before', 'old')).type, 'ok');

    old.pause();
    const reads = [1, 2, 3, 4].map(() => old.client.get('before'));
    const writes = [1, 2, 3, 4].map(i => old.client.put(`paused-${i}`, 'x'));
    const isOver = pause(pauseMs);
    await cluster.leader(others);
    assert.equal((await other.client.put('before', 'new')).type, 'ok');
    // However long that took: it wakes to a value that has changed.
    await isOver;
    old.resume();

    // These were in the paused process's hands before the value changed, and are answered after.
    for (const outcome of await Promise.all(reads)) {
      if (outcome.type === 'ok') assert.equal(valueOf(outcome), 'new');
      else assert.equal(outcome.type, 'definite', outcome.code);
    }
    for (const [i, outcome] of (await Promise.all(writes)).entries()) {
      if (outcome.type !== 'ok') continue;
      assert.equal(valueOf(await other.client.get(`paused-${i + 1}`)), 'x', 'a false answer');
    }
    await eventually('the old leader to follow', 10_000, async () => {
      const status = await old.status();
      return status.term > term && status.leader !== null ? status : null;
    });
    await workload.progress(200);
    await workload.stop();
    await cluster.assertSameState();
    await workload.assertAllPresent(cluster.nodes);
    workload.assertLinearizable();
  },
);

test('a paused follower disturbs nobody', {timeout: 120_000}, async t => {
  // It wakes after its own election timeout.
  const cluster = await Cluster.running(t, {hasDefaultElections: true});
  const [follower] = await cluster.followers();
  assert.ok(follower !== undefined);
  const others = cluster.nodes.filter(node => node !== follower);
  // Before the first write: an election while the load comes up explains an unknown outcome too.
  const countBefore = await electionCountOf(others);
  const {term} = await (await cluster.leader()).status();
  const workload = new Workload({nodes: others}).start();
  await workload.progress(100);
  follower.pause();
  await workload.progress(400);
  follower.resume();
  await follower.waitReady();
  await workload.progress(100);
  await workload.stop();
  const after = await (await cluster.leader()).status();
  // The two others are on a busy machine, which may make one of them begin an election.
  const ownCount = (await electionCountOf(others)) - countBefore;
  assert.ok(after.term - term <= ownCount, 'the follower caused an election');
  if (ownCount === 0 && workload.outcomes.size > 1) {
    assert.fail(`${JSON.stringify([...workload.outcomes])}\n${cluster.logs()}`);
  }
  await cluster.assertSameState();
  workload.assertLinearizable();
});

/** Elections that these nodes have begun since they started. */
async function electionCountOf(nodes: readonly NodeProcess[]): Promise<number> {
  let sum = 0;
  for (const node of nodes) {
    const reply = await node.client.request('GET', '/metrics');
    const match = /^rosetta_elections_total (\d+)$/m.exec(reply.body.toString());
    assert.ok(match !== null, `${node.id} counts no elections`);
    sum += Number(match[1]);
  }
  return sum;
}
