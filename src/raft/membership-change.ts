/**
 * Changing the membership (dissertation §4). A change of at most one voter is one entry; a larger
 * one goes through a joint membership, which the leader leaves by itself once it is committed.
 * A membership is in force from the moment its entry is appended, on every node, and is rolled back
 * with it. At most one change is uncommitted at a time, and none begins before the leader has
 * committed an entry of its own term (the flaw of the one-at-a-time change found in 2015).
 */
import {assert} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {Entry} from './entry.ts';
import type {LogIndex, NodeId} from './ids.ts';
import type {Member, Membership} from './membership.ts';
import {decodeMembership, findMember, isJoint, isRemoved} from './membership.ts';
import type {RaftState} from './raft-state.ts';
import {currentMembership, currentMembershipRecord} from './raft-state.ts';

export type MembershipRefusal = 'change-pending' | 'no-commit-in-term' | 'invalid';

/** Why the leader must not begin the change to `next`; null: it may. */
export function refuseChange(state: RaftState, next: Membership): MembershipRefusal | null {
  const {leadership} = state;
  assert(leadership !== null, 'only a leader changes the membership');
  if (state.commitIndex < leadership.termStartIndex) return 'no-commit-in-term';
  const current = currentMembershipRecord(state);
  if (current.index > state.commitIndex || isJoint(current.membership)) return 'change-pending';
  return isProposable(next) && keepsIncarnations(current.membership, next) ? null : 'invalid';
}

/** What to append first on the way from `current` to `next`. */
export function firstStep(current: Membership, next: Membership): Membership {
  const added = next.voters.filter(id => !current.voters.includes(id)).length;
  const removed = current.voters.filter(id => !next.voters.includes(id)).length;
  if (added + removed <= 1) return next;
  const joint = {...next, votersOutgoing: current.voters};
  return {...joint, members: membersOf(joint, [...next.members, ...current.members])};
}

/** Out of a joint membership: the incoming voters alone. */
export function leaveJoint(joint: Membership): Membership {
  assert(isJoint(joint), 'the membership is not joint');
  const final = {...joint, votersOutgoing: []};
  return {...final, members: membersOf(final, joint.members)};
}

/** The learner left behind by a voter of the old set is both until the joint is left. */
export function isWellFormed(membership: Membership): boolean {
  const {voters, votersOutgoing, learners, members} = membership;
  if (voters.length === 0 || voters.length > limits.memberCountMax) return false;
  if (votersOutgoing.length > limits.memberCountMax) return false;
  if (learners.length > limits.memberCountMax) return false;
  if (![voters, votersOutgoing, learners].every(isSortedSet)) return false;
  if (learners.some(id => voters.includes(id))) return false;
  const ids = idsOf(membership);
  return members.length === ids.length && members.every((member, i) => member.id === ids[i]);
}

/** Undefined when the entry's bytes are no membership. */
export function membershipOfEntry(entry: Entry): Membership | undefined {
  try {
    const membership = decodeMembership(entry.data);
    return isWellFormed(membership) ? membership : undefined;
  } catch (error) {
    if (error instanceof MalformedBytesError) return undefined;
    throw error;
  }
}

/** Puts the memberships among freshly appended entries into force. */
export function enterMemberships(state: RaftState, entries: readonly Entry[]): void {
  for (const entry of entries) {
    if (entry.type !== 'membership') continue;
    const membership = membershipOfEntry(entry);
    assert(membership !== undefined, 'entry % holds no membership', entry.index);
    assert(entry.index > currentMembershipRecord(state).index, 'membership % is old', entry.index);
    state.memberships.push({index: entry.index, membership});
  }
}

/** Undoes the memberships of entries at and after `index`. */
export function rollBackMemberships(state: RaftState, index: LogIndex): void {
  while (currentMembershipRecord(state).index >= index) {
    assert(state.memberships.length > 1, 'no membership before %', index);
    state.memberships.pop();
  }
}

/** Keeps the membership in force at appliedIndex and those after it. */
export function trimMemberships(state: RaftState): void {
  let drop = 0;
  for (let i = 1; i < state.memberships.length; i++) {
    if ((state.memberships[i]?.index ?? Infinity) <= state.appliedIndex) drop = i;
  }
  if (drop > 0) state.memberships.splice(0, drop);
}

/** Every id that takes part, sorted. */
export function idsOf(membership: {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
}): NodeId[] {
  const {voters, votersOutgoing, learners} = membership;
  return [...new Set([...voters, ...votersOutgoing, ...learners])].sort();
}

/** Whom an election asks: every voter of either set but this node. */
export function otherVoters(state: RaftState): NodeId[] {
  const {voters, votersOutgoing} = currentMembership(state);
  const ids = idsOf({voters, votersOutgoing, learners: []});
  return ids.filter(id => id !== state.id);
}

function isProposable(next: Membership): boolean {
  return !isJoint(next) && isWellFormed(next);
}

/**
 * A vote belongs to a disk. A voter under the same name with another disk would count twice: for
 * what the former one promised, and for what this one does. So a voter is replaced by its removal
 * and the addition of a learner, and whoever left stays away.
 */
function keepsIncarnations(current: Membership, next: Membership): boolean {
  return next.members.every(({id, incarnation}) => {
    if (isRemoved(next, incarnation)) return false;
    const isVoter = next.voters.includes(id);
    if (isVoter && incarnation === '') return false;
    const before = findMember(current, id);
    if (before === undefined || before.incarnation === incarnation) return true;
    return !isVoter && !current.voters.includes(id);
  });
}

function isSortedSet(ids: readonly NodeId[]): boolean {
  return ids.every((id, i) => i === 0 || (ids[i - 1] as NodeId) < id);
}

/** The first row of each id in `rows`, for exactly the ids that take part. */
function membersOf(membership: Membership, rows: readonly Member[]): Member[] {
  const members: Member[] = [];
  for (const id of idsOf(membership)) {
    const row = rows.find(candidate => candidate.id === id);
    assert(row !== undefined, 'no member row for %', id);
    members.push(row);
  }
  return members;
}
