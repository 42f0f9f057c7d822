import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Reply} from './client.ts';
import {json} from './client.ts';
import {Cluster, nodeFlags} from './cluster.ts';
import {eventually} from './eventually.ts';
import type {NodeProcess} from './node-process.ts';
import {Workload} from './workload.ts';

interface MemberRow {
  readonly id: string;
  readonly listen: string;
  readonly role: string;
}

const exitCodeRemoved = 3;

function joinFlags(node: NodeProcess, contact: NodeProcess): string[] {
  return [...nodeFlags(node), `-join=127.0.0.1:${contact.raftPort}`];
}

async function members(node: NodeProcess): Promise<readonly MemberRow[]> {
  const reply = await node.client.request('GET', '/cluster/members');
  return json<{readonly members: readonly MemberRow[]}>(reply).members;
}

async function untilVoters(node: NodeProcess, count: number): Promise<void> {
  await eventually(`${count} voters`, 20_000, async () => {
    const voters = (await members(node)).filter(({role}) => role === 'voter');
    return voters.length === count ? true : null;
  });
}

async function change(node: NodeProcess, method: string, path: string, body = ''): Promise<Reply> {
  const reply = await node.client.request(method, path, {body});
  assert.equal(reply.status, 200, `${method} ${path}: ${reply.body.toString()}`);
  return reply;
}

/** No error but definite refusals, which the workload repeats elsewhere, and nothing lost. */
async function assertUnharmed(load: Workload, nodes: readonly NodeProcess[]): Promise<void> {
  await load.stop();
  const unknown = [...load.outcomes.keys()].filter(code => code.startsWith('unknown'));
  assert.deepEqual(unknown, [], JSON.stringify([...load.outcomes]));
  load.assertLinearizable();
  await load.assertAllPresent(nodes);
}

test(
  'a cluster grows from 1 to 3 to 5 and shrinks back under load',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.create(t, {size: 5});
    const [first, ...others] = cluster.nodes;
    assert.ok(first !== undefined);
    first.start(nodeFlags(first));
    await first.waitReady();
    // Of every node, also of those that are not there.
    const load = new Workload({nodes: cluster.nodes, writerCount: 2, readerCount: 1}).start();
    await load.progress(50);
    for (const size of [3, 5]) {
      for (const node of cluster.nodes.slice(size - 2, size)) node.start(joinFlags(node, first));
      await untilVoters(first, size);
    }
    await load.progress(50);
    for (const node of others.reverse()) {
      const [at] = others.filter(other => other !== node && other.isRunning);
      await change(at ?? first, 'DELETE', `/cluster/members/${node.id}`);
      assert.deepEqual(await node.exited, {code: exitCodeRemoved, signal: null}, node.output());
      assert.match(node.complaints().join('\n'), /was removed from the cluster/);
    }
    assert.deepEqual((await members(first)).length, 1);
    await assertUnharmed(load, [first]);
  },
);
