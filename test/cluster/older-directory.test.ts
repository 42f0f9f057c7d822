/** A member whose data directory was put back out of a copy has forgotten what it promised. */
import assert from 'node:assert/strict';
import {cpSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {valueOf} from './client.ts';
import {Cluster} from './cluster.ts';
import type {NodeProcess} from './node-process.ts';

async function refusedAsOlder(cluster: Cluster, node: NodeProcess): Promise<void> {
  const exit = await node.runToExit(cluster.flagsOf(node));
  assert.equal(exit.code, 1, node.output());
  assert.match(node.complaints().at(-1) ?? '', /was restored from a backup; start it with -rejoin/);
}

test(
  'an older copy of a data directory takes no part, however often it starts, until -rejoin',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t);
    const leader = await cluster.leader();
    const [victim, other] = await cluster.followers();
    assert.ok(victim !== undefined && other !== undefined);
    await victim.sigterm();
    const copy = join(cluster.directory, 'copy');
    cpSync(victim.data, copy, {recursive: true, filter: source => !source.includes('/holder')});
    // One start since the copy: the next start of the copy has the same count.
    await cluster.restart(victim);
    await other.kill9();
    // On the leader's disk and the victim's, and on no other.
    assert.equal((await leader.client.put('acknowledged', 'x')).type, 'ok');
    await victim.kill9();
    rmSync(victim.data, {recursive: true});
    cpSync(copy, victim.data, {recursive: true});
    for (let start = 0; start < 3; start++) await refusedAsOlder(cluster, victim);

    // A majority by number, which would know nothing of the write.
    await leader.kill9();
    other.start(cluster.hastyFlagsOf(other));
    await other.waitAlive();
    for (let start = 0; start < 2; start++) await refusedAsOlder(cluster, victim);
    await cluster.restart(leader);
    await cluster.leader([leader, other]);
    assert.equal(valueOf(await other.client.get('acknowledged')), 'x');

    cluster.start(victim, ['-rejoin']);
    await victim.waitReady();
    await cluster.assertSameState();
    assert.equal(valueOf(await victim.client.get('acknowledged')), 'x');
  },
);
