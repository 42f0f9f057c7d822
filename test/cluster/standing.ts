/**
 * What nobody from outside may change in a cluster. Its nodes wait so long before an election that
 * a busy machine brings none about: what happens is a stranger's doing.
 */
import assert from 'node:assert/strict';
import type {Status} from './client.ts';
import type {Cluster} from './cluster.ts';

export const patientFlags: readonly string[] = ['-election-timeout=3000'];

export type Standing = Pick<
  Status,
  'clusterId' | 'leader' | 'term' | 'lastLogIndex' | 'revision' | 'stateHash'
>;

/** Of a cluster with `patientFlags`: what all nodes agree on. */
export async function standingOf(cluster: Cluster): Promise<Standing> {
  const {clusterId, leader, term, lastLogIndex, revision, stateHash} =
    await cluster.assertSameState();
  return {clusterId, leader, term, lastLogIndex, revision, stateHash};
}

export async function assertUndisturbed(cluster: Cluster, before: Standing): Promise<void> {
  assert.deepEqual(await standingOf(cluster), before);
}
