import assert from 'node:assert/strict';
import {test} from 'node:test';
import {valueOf} from './client.ts';
import {Cluster, nodeFlags, peersFlag} from './cluster.ts';
import {pause} from './eventually.ts';
import {writeMany} from './pipelined-writer.ts';

test('a cluster forms when all have met and not before', {timeout: 120_000}, async t => {
  const cluster = await Cluster.create(t);
  const [first, second, third] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const isReady = async (node: typeof first): Promise<boolean> =>
    (await node.client.request('GET', '/readyz')).status === 200;

  cluster.start(first);
  await first.waitAlive();
  await first.waitLog(/waiting for node2, node3 \(first start only\)/);
  assert.equal(await isReady(first), false);
  cluster.start(second);
  await second.waitAlive();
  await second.waitLog(/waiting for .*node3 \(first start only\)/);
  await first.waitLog(/waiting for node3 \(first start only\)/);
  // A majority is there; without the third it must not begin, however long an election takes.
  await pause(2_500);
  for (const node of [first, second]) {
    assert.equal(await isReady(node), false);
    const write = await node.client.put('k', 'v');
    assert.equal(write.type, 'definite');
    assert.equal(write.code, 'STARTING');
    const {clusterId, ready, leader} = await node.status();
    assert.deepEqual([clusterId, ready, leader], [null, false, null]);
    const members = await node.client.request('GET', '/cluster/members');
    assert.equal(members.status, 200);
  }
  cluster.start(third);
  await cluster.waitReady();
  assert.equal((await third.client.put('k', 'v')).type, 'ok');
  const ids = await Promise.all(cluster.nodes.map(async node => (await node.status()).clusterId));
  assert.equal(new Set(ids).size, 1);
  await cluster.assertSameState();
});

test('a first start that is killed in the middle is continued', {timeout: 120_000}, async t => {
  const cluster = await Cluster.create(t);
  for (const delayMs of [120, 200, 280, 360]) {
    for (const node of cluster.nodes) cluster.start(node);
    await pause(delayMs);
    await Promise.all(cluster.nodes.map(node => node.kill9()));
  }
  // One after the other, while the rest waits.
  for (const node of cluster.nodes) {
    cluster.start(node);
    await node.waitAlive();
  }
  await cluster.waitReady();
  assert.equal((await cluster.node('node3').client.put('k', 'v')).type, 'ok');
  await cluster.assertSameState();
});

test(
  'peers that disagree on who the members are do not form a cluster',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.create(t, {hasDefaultElections: true});
    const [first, second, third] = cluster.nodes;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const address = (node: typeof first): string => `${node.id}:127.0.0.1:${node.raftPort}`;
    first.start([...nodeFlags(first), ...peersFlag([address(second), address(third)])]);
    second.start([...nodeFlags(second), ...peersFlag([address(first)])]);
    third.start([...nodeFlags(third), ...peersFlag([address(first), address(second)])]);
    await Promise.all(cluster.nodes.map(node => node.waitAlive()));
    await first.waitLog(/node2 was started with other -peers/);
    await pause(500);
    for (const node of cluster.nodes) {
      const reply = await node.client.request('GET', '/readyz');
      assert.equal(reply.status, 503, node.id);
    }
    await second.kill9();
    await cluster.restart(second);
    await cluster.waitReady();
    await cluster.assertSameState();
  },
);

test('a peer that is another than -peers says is named', {timeout: 120_000}, async t => {
  const cluster = await Cluster.create(t, {size: 2});
  const [first, second] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined);
  cluster.start(second);
  await second.waitAlive();
  const {code} = await first.runToExit([
    ...nodeFlags(first),
    `-peers=other:127.0.0.1:${second.raftPort}`,
  ]);
  assert.equal(code, 1, first.output());
  assert.equal(first.complaints().length, 1, first.output());
  assert.match(first.complaints()[0] ?? '', /other.*node2/);
});

test('one node grows to three with its data by -peers', {timeout: 120_000}, async t => {
  const cluster = await Cluster.create(t);
  const [first, second, third] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  first.start(nodeFlags(first));
  await first.waitReady();
  await writeMany(first.httpPort, 'k', 5_000);
  assert.equal((await first.client.put('hello', 'world')).type, 'ok');
  const {clusterId} = await first.status();
  await first.sigterm();

  for (const node of cluster.nodes) cluster.start(node);
  await cluster.waitReady();
  // Until then the others are learners, and node1 alone is the majority.
  await first.waitLog(/the cluster has grown/);
  const status = await cluster.assertSameState();
  assert.equal(status.clusterId, clusterId);
  assert.equal(status.keys, 5_001);
  for (const node of cluster.nodes) {
    assert.equal(valueOf(await node.client.get('hello')), 'world', node.id);
  }
  // Grown for good: any two of them serve.
  await first.kill9();
  await cluster.leader([second, third]);
  assert.equal((await third.client.put('hello', 'again')).type, 'ok');
  await cluster.restart(first);
  await cluster.assertSameState();
});
