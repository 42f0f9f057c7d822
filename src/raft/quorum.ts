/**
 * What a majority has agreed on. Every question is asked of both voter sets while the membership is
 * joint (dissertation §4.3). Pure functions; learners never appear here.
 */
import type {NodeId} from './ids.ts';
import type {Membership} from './membership.ts';

export type VoteOutcome = 'won' | 'lost' | 'pending';

/** 1 → 1, 2 → 2, 3 → 2, 4 → 3, 5 → 3. */
export function majorityOf(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

/** The largest value that a majority of every voter set has reached; 0 without voters. */
export function quorumValue(membership: Membership, valueOf: (id: NodeId) => number): number {
  const incoming = majorityValue(membership.voters, valueOf);
  if (membership.votersOutgoing.length === 0) return incoming;
  return Math.min(incoming, majorityValue(membership.votersOutgoing, valueOf));
}

export function hasQuorum(membership: Membership, holds: (id: NodeId) => boolean): boolean {
  return quorumValue(membership, id => (holds(id) ? 1 : 0)) === 1;
}

/** Undefined in `votes`: no answer yet. */
export function voteOutcome(
  membership: Membership,
  votes: ReadonlyMap<NodeId, boolean>,
): VoteOutcome {
  if (hasQuorum(membership, id => votes.get(id) === true)) return 'won';
  const canStillWin = hasQuorum(membership, id => votes.get(id) !== false);
  return canStillWin ? 'pending' : 'lost';
}

function majorityValue(voters: readonly NodeId[], valueOf: (id: NodeId) => number): number {
  const values: number[] = [];
  for (const id of voters) {
    const value = valueOf(id);
    let place = values.length;
    values.push(value);
    for (; place > 0 && (values[place - 1] as number) < value; place--) {
      values[place] = values[place - 1] as number;
    }
    values[place] = value;
  }
  return values[majorityOf(voters.length) - 1] ?? 0;
}
