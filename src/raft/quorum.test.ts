import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import type {NodeId} from './ids.ts';
import {nodeId} from './ids.ts';
import type {Membership} from './membership.ts';
import {majorityOf, quorumValue, voteOutcome} from './quorum.ts';
import {testMembership} from './testing/memory-cluster.ts';

const ids = ['1', '2', '3', '4', '5', '6', '7'].map(nodeId);

/** The definition itself: the largest value that enough voters of each set have reached. */
function naiveQuorumValue(membership: Membership, valueOf: (id: NodeId) => number): number {
  const sets = [membership.voters, membership.votersOutgoing].filter(set => set.length > 0);
  const isReached = (value: number): boolean =>
    sets.every(set => set.filter(id => valueOf(id) >= value).length * 2 > set.length);
  let best = 0;
  for (let value = 1; value <= 10; value++) if (isReached(value)) best = value;
  return best;
}

test('a majority is more than half', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(majorityOf), [1, 2, 2, 3, 3, 4, 4]);
});

test('quorumValue and voteOutcome agree with their definitions on random memberships', () => {
  const prng = new Prng(42);
  const some = (): NodeId[] => ids.filter(() => prng.float() < 0.5);
  for (let i = 0; i < 5000; i++) {
    const voters = some();
    if (voters.length === 0) voters.push(nodeId('1'));
    const votersOutgoing = prng.float() < 0.5 ? some() : [];
    const membership = testMembership({voters, votersOutgoing});
    const values = new Map(ids.map(id => [id, prng.integer({min: 0, max: 9})]));
    const valueOf = (id: NodeId): number => values.get(id) ?? 0;
    assert.equal(quorumValue(membership, valueOf), naiveQuorumValue(membership, valueOf));

    const votes = new Map<NodeId, boolean>();
    for (const id of ids) if (prng.float() < 0.7) votes.set(id, prng.float() < 0.5);
    const won = naiveQuorumValue(membership, id => (votes.get(id) === true ? 1 : 0)) === 1;
    const lost = naiveQuorumValue(membership, id => (votes.get(id) === false ? 0 : 1)) === 0;
    const expected = won ? 'won' : lost ? 'lost' : 'pending';
    assert.equal(voteOutcome(membership, votes), expected);
  }
});

test('without voters nothing is agreed on', () => {
  assert.equal(
    quorumValue({voters: [], votersOutgoing: [], learners: [], members: []}, () => 5),
    0,
  );
});
