import assert from 'node:assert/strict';
import {existsSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import type {Problem, Reply} from './client.ts';
import {json, problemOf, valueOf} from './client.ts';
import {Cluster} from './cluster.ts';
import {eventually} from './eventually.ts';
import type {NodeProcess} from './node-process.ts';
import {Workload} from './workload.ts';

interface MemberRow {
  readonly id: string;
  readonly role: string;
  readonly state: string;
}

const exitCodeRemoved = 3;

function joinFlags(cluster: Cluster, node: NodeProcess, contact: NodeProcess): string[] {
  return [...cluster.loneFlagsOf(node), `-join=127.0.0.1:${contact.raftPort}`];
}

async function members(node: NodeProcess): Promise<readonly MemberRow[]> {
  const reply = await node.client.request('GET', '/cluster/members');
  return json<{readonly members: readonly MemberRow[]}>(reply).members;
}

async function untilVoters(node: NodeProcess, count: number): Promise<void> {
  await eventually(`${count} voters`, 30_000, async () => {
    const voters = (await members(node)).filter(({role}) => role === 'voter');
    return voters.length === count ? true : null;
  });
}

/** A member that a busy machine kept silent for a moment can be reached in the next one. */
async function change(node: NodeProcess, method: string, path: string, body = ''): Promise<Reply> {
  const reply = await eventually(`${method} ${path}`, 10_000, async () => {
    const answer = await node.client.request(method, path, {body});
    return problemOf(answer)?.code === 'QUORUM_AT_RISK' ? null : answer;
  });
  assert.equal(reply.status, 200, `${method} ${path}: ${reply.body.toString()}`);
  return reply;
}

async function refusal(
  node: NodeProcess,
  method: string,
  path: string,
  body = '',
): Promise<Problem> {
  const problem = problemOf(await node.client.request(method, path, {body}));
  assert.ok(problem !== null, `${method} ${path} is not refused`);
  assert.equal(problem.outcome, 'definite');
  return problem;
}

/** Nothing but answers and definite refusals, after which the workload goes elsewhere. */
async function assertUnharmed(load: Workload, nodes: readonly NodeProcess[]): Promise<void> {
  await load.stop();
  const unknown = [...load.outcomes.keys()].filter(code => code.startsWith('unknown'));
  assert.deepEqual(unknown, [], JSON.stringify([...load.outcomes]));
  load.assertLinearizable();
  await load.assertAllPresent(nodes);
}

test(
  'a cluster grows from 1 to 3 to 5 and shrinks back under load',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.create(t, {size: 5});
    const [first, ...others] = cluster.nodes;
    assert.ok(first !== undefined);
    first.start(cluster.loneFlagsOf(first));
    await first.waitReady();
    // Of every node, also of those that are not there.
    const load = new Workload({nodes: cluster.nodes, writerCount: 2, readerCount: 1}).start();
    await load.progress(50);
    for (const size of [3, 5]) {
      for (const node of cluster.nodes.slice(size - 2, size)) {
        node.start(joinFlags(cluster, node, first));
      }
      await untilVoters(first, size);
    }
    await load.progress(50);
    for (const node of others.reverse()) {
      const [at] = others.filter(other => other !== node && other.isRunning);
      await change(at ?? first, 'DELETE', `/cluster/members/${node.id}`);
      assert.deepEqual(await node.exited, {code: exitCodeRemoved, signal: null}, node.output());
      assert.match(node.complaints().join('\n'), /was removed from the cluster/);
    }
    assert.equal((await members(first)).length, 1);
    await assertUnharmed(load, [first]);
    assert.equal((await refusal(first, 'DELETE', '/cluster/members/node1')).code, 'LAST_VOTER');
  },
);

test(
  'a voter that lost its disk is refused, and comes back with -rejoin under load',
  {timeout: 180_000},
  async t => {
    const cluster = await Cluster.running(t);
    const [lost] = await cluster.followers();
    assert.ok(lost !== undefined);
    const others = cluster.nodes.filter(node => node !== lost);
    const [contact] = others;
    assert.ok(contact !== undefined);
    const load = new Workload({nodes: others, writerCount: 2, readerCount: 1}).start();
    await load.progress(50);
    await lost.kill9();
    rmSync(lost.data, {recursive: true});
    const refused = await lost.runToExit(cluster.flagsOf(lost), 20_000);
    assert.equal(refused.code, 1, lost.output());
    assert.match(lost.complaints()[0] ?? '', new RegExp(`./rosetta -id=${lost.id} .*-rejoin`));
    cluster.start(lost, ['-rejoin']);
    await lost.waitReady(30_000);
    await untilVoters(contact, 3);
    await load.progress(50);
    await assertUnharmed(load, others);
    // It is a voter like any other, and the flag may stay.
    await lost.kill9();
    cluster.start(lost, ['-rejoin']);
    await lost.waitReady();
    await contact.kill9();
    await cluster.leader(others.filter(node => node !== contact).concat(lost));
    assert.equal((await lost.client.put('k', 'v')).type, 'ok');
    await cluster.restart(contact);
    await cluster.assertSameState();
    assert.equal(existsSync(join(lost.data, 'replaced')), false, 'nothing was given up');
  },
);

test('the leader moves, and removes itself', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t);
  const leader = await cluster.leader();
  const [heir, third] = cluster.nodes.filter(node => node !== leader);
  assert.ok(heir !== undefined && third !== undefined);
  const load = new Workload({nodes: cluster.nodes, writerCount: 2, readerCount: 1}).start();
  await load.progress(20);
  const moved = await change(third, 'POST', '/cluster/leader', `{"id":"${heir.id}"}`);
  assert.equal(json<{readonly id: string}>(moved).id, heir.id);
  await change(heir, 'DELETE', `/cluster/members/${heir.id}`);
  assert.deepEqual(await heir.exited, {code: exitCodeRemoved, signal: null}, heir.output());
  const rest = [leader, third];
  await cluster.leader(rest);
  await load.progress(20);
  await assertUnharmed(load, rest);
  // Told again at each start; with an empty directory it is somebody new.
  const again = await heir.runToExit(cluster.flagsOf(heir), 20_000);
  assert.equal(again.code, exitCodeRemoved, heir.output());
  rmSync(heir.data, {recursive: true});
  heir.start(joinFlags(cluster, heir, third));
  await untilVoters(third, 3);
  assert.equal((await heir.client.put('k', 'v')).type, 'ok');
  assert.equal(valueOf(await leader.client.get('k')), 'v');
});

test('what cannot be changed is refused by name', {timeout: 120_000}, async t => {
  const cluster = await Cluster.create(t, {size: 3});
  const [node, foreign, newcomer] = cluster.nodes;
  assert.ok(node !== undefined && foreign !== undefined && newcomer !== undefined);
  for (const single of [node, foreign]) single.start(cluster.loneFlagsOf(single));
  await cluster.waitReady();
  const body = (id: string, at: NodeProcess): string =>
    JSON.stringify({id, listen: `127.0.0.1:${at.raftPort}`});
  const post = async (id: string, at: NodeProcess): Promise<string> =>
    (await refusal(node, 'POST', '/cluster/members', body(id, at))).code;
  assert.equal(await post(foreign.id, foreign), 'WRONG_CLUSTER');
  assert.equal(await post(node.id, newcomer), 'MEMBER_EXISTS');
  assert.equal(await post('x', node), 'WRONG_NODE');
  await change(node, 'POST', '/cluster/members', body(newcomer.id, newcomer));
  const lead = await refusal(node, 'POST', '/cluster/leader', `{"id":"${newcomer.id}"}`);
  assert.equal(lead.code, 'NOT_A_VOTER');
  // It is not there, and nothing waits for it.
  assert.equal((await node.client.put('k', 'v')).type, 'ok');
  newcomer.start(joinFlags(cluster, newcomer, node));
  await untilVoters(node, 2);
  // The directory of one cluster, the address of another.
  await foreign.sigterm();
  foreign.start(joinFlags(cluster, foreign, node));
  await foreign.waitLog(/belongs to cluster .* give it an empty -data/, 20_000);
  // A flag that was left from its first start takes nobody out of service.
  assert.equal((await foreign.client.put('k', 'v')).type, 'ok');
  assert.equal((await members(node)).length, 2);
  await foreign.sigterm();
  const api = [...cluster.loneFlagsOf(foreign), `-join=127.0.0.1:${node.httpPort}`];
  rmSync(foreign.data, {recursive: true});
  const noRaft = await foreign.runToExit(api, 20_000);
  assert.equal(noRaft.code, 1, foreign.output());
  assert.match(foreign.complaints()[0] ?? '', /is not the Raft address/);
});
