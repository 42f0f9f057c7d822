import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {Cluster, endWith, nodeFlags, peersFlag} from './cluster.ts';
import {freePorts} from './free-ports.ts';
import {NodeProcess} from './node-process.ts';
import {assertUndisturbed, patientFlags, standingOf} from './standing.ts';

async function stranger(context: TestContext, cluster: Cluster, id: string): Promise<NodeProcess> {
  const [raftPort = 0, httpPort = 0] = await freePorts(2);
  const name = `stranger-${id}-${httpPort}`;
  const node = new NodeProcess(
    {id, raftPort, httpPort},
    {data: `${cluster.directory}/${name}`, logPath: `${cluster.directory}/${name}.log`},
  );
  endWith(context, [node]);
  return node;
}

function peersOf(nodes: readonly NodeProcess[]): string[] {
  return peersFlag(nodes.map(node => `${node.id}:127.0.0.1:${node.raftPort}`));
}

test(
  'a fresh node that the cluster does not know is refused by name and changes nothing',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: patientFlags});
    assert.equal((await cluster.node('node1').client.put('k', 'v')).type, 'ok');
    const before = await standingOf(cluster);
    const node = await stranger(t, cluster, 'node9');
    const exit = await node.runToExit([...nodeFlags(node), ...peersOf(cluster.nodes)]);
    assert.equal(exit.code, 1, node.output());
    assert.equal(node.complaints().length, 1, node.output());
    assert.match(node.complaints()[0] ?? '', /belongs to cluster [0-9a-f]{32}.*node9.*-join/);
    await assertUndisturbed(cluster, before);
  },
);

test(
  'a node of another cluster that is pointed at this one does not disturb it, nor is it disturbed',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: patientFlags});
    assert.equal((await cluster.node('node1').client.put('k', 'v')).type, 'ok');
    const before = await standingOf(cluster);
    const single = await stranger(t, cluster, 'node1');
    single.start(nodeFlags(single));
    await single.waitReady();
    assert.equal((await single.client.put('own', 'x')).type, 'ok');
    const {clusterId} = await single.status();
    assert.notEqual(clusterId, before.clusterId);
    await single.sigterm();
    // Same id, and the ports of the other cluster as the peers to grow to.
    const peers = [cluster.node('node2'), cluster.node('node3')];
    single.start([...nodeFlags(single), ...peersOf(peers)]);
    await single.waitReady();
    await single.waitLog(/belongs to (another )?cluster/);
    assert.equal((await single.client.put('own', 'y')).type, 'ok');
    assert.equal((await single.status()).clusterId, clusterId);
    await assertUndisturbed(cluster, before);
    const other = await cluster.node('node2').client.get('own');
    assert.equal(other.type === 'ok' && other.reply.status, 404);
  },
);

test(
  'a member of another cluster on the port of a missing member is refused by the others',
  {timeout: 120_000},
  async t => {
    const mine = await Cluster.running(t);
    const theirs = await Cluster.running(t);
    assert.equal((await mine.node('node1').client.put('k', 'mine')).type, 'ok');
    const [victim] = await mine.followers();
    assert.ok(victim !== undefined);
    await victim.kill9();
    const intruder = theirs.node(victim.id);
    await intruder.kill9();
    // A member of `theirs`, with the address of one of `mine`.
    const flags = theirs.flagsOf(intruder).filter(flag => !flag.startsWith('-listen='));
    intruder.start([...flags, `-listen=127.0.0.1:${victim.raftPort}`]);
    await intruder.waitReady();
    const others = mine.nodes.filter(node => node !== victim);
    const [first] = others;
    assert.ok(first !== undefined);
    await first.waitLog(/refuses.*cluster|cluster.*refuses/i);
    assert.equal((await first.client.put('k', 'still mine')).type, 'ok');
    assert.equal((await intruder.client.put('k', 'theirs')).type, 'ok');
    await intruder.kill9();
    await mine.restart(victim);
    await mine.assertSameState();
    await theirs.restart(intruder);
    await theirs.assertSameState();
    for (const [cluster, value] of [
      [mine, 'still mine'],
      [theirs, 'theirs'],
    ] as const) {
      for (const node of cluster.nodes) {
        const outcome = await node.client.get('k');
        assert.equal(outcome.type === 'ok' && outcome.reply.body.toString(), value);
      }
    }
  },
);
