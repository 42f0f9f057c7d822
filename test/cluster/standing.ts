/**
 * What nobody from outside may change in a cluster. A busy machine may bring about an election, and
 * that is the cluster's own: its nodes count those that they begin.
 */
import assert from 'node:assert/strict';
import type {Status} from './client.ts';
import type {Cluster} from './cluster.ts';
import type {NodeProcess} from './node-process.ts';

export interface Standing {
  /** That all nodes agree on. */
  readonly status: Status;
  /** Begun by the nodes themselves until then. */
  readonly electionCount: number;
}

export async function standingOf(cluster: Cluster): Promise<Standing> {
  // Counted first: what begins between the two may show in the status only.
  const electionCount = await electionCountOf(cluster.nodes);
  return {status: await cluster.assertSameState(), electionCount};
}

export async function assertUndisturbed(cluster: Cluster, before: Standing): Promise<void> {
  const after = await cluster.assertSameState();
  const {status} = before;
  for (const name of ['clusterId', 'revision', 'stateHash'] as const) {
    assert.equal(after[name], status[name], name);
  }
  const ownCount = (await electionCountOf(cluster.nodes)) - before.electionCount;
  const termRise = after.term - status.term;
  assert.ok(termRise >= 0 && termRise <= ownCount, `term ${status.term} became ${after.term}`);
  // Whoever wins writes one entry.
  const logRise = after.lastLogIndex - status.lastLogIndex;
  assert.ok(logRise >= 0 && logRise <= termRise, `${logRise} more entries in ${termRise} terms`);
}

/** Elections that these nodes have begun since they started. */
export async function electionCountOf(nodes: readonly NodeProcess[]): Promise<number> {
  let sum = 0;
  for (const node of nodes) {
    const reply = await node.client.request('GET', '/metrics');
    const match = /^rosetta_elections_total (\d+)$/m.exec(reply.body.toString());
    assert.ok(match !== null, `${node.id} counts no elections`);
    sum += Number(match[1]);
  }
  return sum;
}
