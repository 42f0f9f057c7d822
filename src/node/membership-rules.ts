/**
 * Which changes of the membership are allowed, and what the membership is after each. Pure: the
 * leader asks before it logs anything, so a refusal has changed nothing.
 */
import {isEveryInterface} from '../base/address.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {findMember, isJoint, isLearner, isRemoved} from '../raft/membership.ts';
import {majorityOf} from '../raft/quorum.ts';
import type {StartHistory} from '../storage/start-history.ts';

/** Whether a member was heard of within an election timeout; the leader itself is. */
export type IsActive = (id: NodeId) => boolean;

/** Adds `member` as a learner. */
export function withLearner(membership: Membership, member: Member): Membership | RosettaError {
  const {id, listen} = member;
  if (findMember(membership, id) !== undefined) {
    return new RosettaError('MEMBER_EXISTS', `${id} is a member already; choose another id`);
  }
  const neighbour = membership.members.find(row => row.listen === listen);
  if (neighbour !== undefined) {
    const detail = `${listen} is the Raft address of ${neighbour.id}`;
    return new RosettaError('ADDRESS_IN_USE', detail);
  }
  if (membership.members.length >= limits.memberCountMax) {
    const detail = `the cluster has ${membership.members.length} members; remove one first`;
    return new RosettaError('TOO_MANY_MEMBERS', detail);
  }
  return {
    ...membership,
    learners: sorted([...membership.learners, id]),
    members: sortedById([...membership.members, member]),
  };
}

/** Removes a voter or a learner; its incarnation is remembered. */
export function withoutMember(
  membership: Membership,
  id: NodeId,
  isActive: IsActive,
): Membership | RosettaError {
  const member = findMember(membership, id);
  if (member === undefined) {
    return new RosettaError('MEMBER_NOT_FOUND', `${id} is not a member of this cluster`);
  }
  const voters = membership.voters.filter(voter => voter !== id);
  if (voters.length === 0) {
    const detail = `${id} is the only voter: without it there is no cluster`;
    return new RosettaError('LAST_VOTER', detail);
  }
  if (voters.length < membership.voters.length) {
    const activeCount = voters.filter(isActive).length;
    if (activeCount < majorityOf(voters.length)) {
      const detail =
        `of the voters that remain (${voters.join(', ')}) only ${activeCount} can be reached; ` +
        'bring one back, or remove one that is lost';
      return new RosettaError('QUORUM_AT_RISK', detail);
    }
  }
  const {incarnation} = member;
  // Nobody has ever come with an empty one.
  const left = incarnation === '' ? [] : [{id, incarnation}];
  const removed = [...(membership.removed ?? []), ...left].slice(-limits.removedMemberCountMax);
  return {
    ...membership,
    voters,
    learners: membership.learners.filter(learner => learner !== id),
    members: membership.members.filter(row => row.id !== id),
    ...(removed.length > 0 ? {removed} : {}),
  };
}

/**
 * Learners become voters, unless the voters would then be no quorum that is there, or fewer of
 * those that are there could fail than now.
 */
export function withPromoted(
  membership: Membership,
  ids: readonly NodeId[],
  isActive: IsActive,
): Membership | null {
  const voters = sorted([...membership.voters, ...ids]);
  if (voters.length > limits.memberCountMax) return null;
  const spareCount = spareVoters(voters, isActive);
  if (spareCount < 0 || spareCount < spareVoters(membership.voters, isActive)) return null;
  const learners = membership.learners.filter(id => !ids.includes(id));
  return {...membership, voters, learners};
}

export interface JoinRequest {
  readonly type: 'join';
  /** Of the newcomer, with the incarnation of its directory. */
  readonly member: Member;
  /** `-rejoin`: takes the place of another incarnation under the same id. */
  readonly replaces: boolean;
  /** The only cluster it means; absent: whichever answers. */
  readonly clusterId?: string;
}

/** What the leader knows of members beside the membership in force. */
export interface MemberView {
  readonly isActive: IsActive;
  /** Whether its process may still run: it was heard of, or is connected. */
  readonly mayRun: IsActive;
  /** What cannot be taken back. */
  readonly committed: Membership;
  /** Where others find the leader. */
  readonly address: string;
}

export type JoinPlan =
  | {readonly type: 'member'}
  | {readonly type: 'propose'; readonly next: Membership}
  /** Waiting may help. */
  | {readonly type: 'wait'; readonly code: string; readonly detail: string}
  | {readonly type: 'refuse'; readonly code: string; readonly detail: string};

/** The next step on the way of a newcomer into `membership`. */
export function planJoin(
  membership: Membership,
  {member, replaces}: JoinRequest,
  {isActive, mayRun, committed, address}: MemberView,
): JoinPlan {
  const {id, incarnation} = member;
  if (isJoint(membership)) return pending();
  if (isRemoved(membership, incarnation)) {
    // Whoever is told so leaves for good: not for what another leader may take back.
    if (!isRemoved(committed, incarnation)) return pending();
    return {type: 'refuse', ...removedRefusal(id)};
  }
  const row = findMember(membership, id);
  if (row?.incarnation === incarnation) return {type: 'member'};
  if (isEveryInterface(address)) return {type: 'refuse', ...noAddressRefusal(address)};
  if (row === undefined) return proposal(withLearner(membership, member));
  const isAnnounced = row.incarnation === '';
  if (!replaces && !isAnnounced) return {type: 'refuse', ...knownIdRefusal(id)};
  if (!isAnnounced && mayRun(id)) {
    const detail = `${id} still runs with its former data directory; stop that process first`;
    return {type: 'wait', code: 'STILL_RUNNING', detail};
  }
  const without = withoutMember(membership, id, isActive);
  if (without instanceof RosettaError) return proposal(without);
  const replaced = withLearner(without, member);
  // A voter leaves first; only then the other disk comes, as a learner. If it can.
  const isInTwoSteps = !isLearner(membership, id) && !(replaced instanceof RosettaError);
  return proposal(isInTwoSteps ? without : replaced);
}

/** `-rejoin` of a node that has a directory: may that be given up? Changes nothing. */
export interface ReplaceRequest {
  readonly type: 'replace';
  readonly id: NodeId;
  /** Raft address it will have. */
  readonly listen: string;
  /** Null: its identity file is damaged. */
  readonly clusterId: string | null;
  readonly incarnation: string | null;
  /** Of that directory. */
  readonly starts: StartHistory;
  /** It cannot start, or must not serve, whatever the cluster knows of it. */
  readonly isUnfit: boolean;
}

export type ReplacementPlan =
  /** It is a member's, or was removed for good: it starts as it is. */
  | {readonly type: 'keep'}
  | {readonly type: 'replace'}
  | Extract<JoinPlan, {readonly type: 'wait' | 'refuse'}>;

export function planReplacement(
  membership: Membership,
  {id, listen, incarnation, isUnfit}: ReplaceRequest,
  view: MemberView,
): ReplacementPlan {
  const row = findMember(membership, id);
  if (incarnation !== null) {
    if (row?.incarnation === incarnation && !isUnfit) return {type: 'keep'};
    // Somebody removed this very node; it does not let itself in again.
    if (row === undefined && isRemoved(membership, incarnation)) return {type: 'keep'};
  }
  const member: Member = {id, listen, incarnation: '', http: ''};
  const plan = planJoin(membership, {type: 'join', member, replaces: true}, view);
  return plan.type === 'wait' || plan.type === 'refuse' ? plan : {type: 'replace'};
}

export function knownIdRefusal(id: string): {readonly code: string; readonly detail: string} {
  const detail =
    `${id} is a member already, with another data directory; if that one is lost, ` +
    `type ./rosetta -id=${id} with the same flags and -rejoin: the new directory takes its place`;
  return {code: 'KNOWN_ID', detail};
}

function noAddressRefusal(address: string): {readonly code: string; readonly detail: string} {
  const detail =
    `the leader listens at "${address}", every interface, where a newcomer cannot find it; ` +
    'start it again with -advertise-listen=HOST:PORT';
  return {code: 'NO_ADDRESS', detail};
}

export function removedRefusal(id: string): {readonly code: string; readonly detail: string} {
  const detail =
    `${id} was removed from the cluster, and what its data directory holds is of no more use; ` +
    'to come back, start it with an empty data directory and -join';
  return {code: 'REMOVED', detail};
}

function proposal(next: Membership | RosettaError): JoinPlan {
  if (!(next instanceof RosettaError)) return {type: 'propose', next};
  const {code, message: detail} = next;
  return {type: code === 'QUORUM_AT_RISK' ? 'wait' : 'refuse', code, detail};
}

function pending(): JoinPlan {
  const detail = 'another change of the membership is under way';
  return {type: 'wait', code: 'CHANGE_PENDING', detail};
}

/** How many of those that are there may fail before they are no quorum; negative: they are none. */
function spareVoters(voters: readonly NodeId[], isActive: IsActive): number {
  return voters.filter(isActive).length - majorityOf(voters.length);
}

function sorted(ids: readonly NodeId[]): NodeId[] {
  return [...ids].sort();
}

function sortedById(members: readonly Member[]): Member[] {
  return [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * Whether a change that was logged in `term` is committed, once the log is applied up to its index.
 * `termAt`: of the entry there now; undefined: it lies behind a snapshot, and only the membership
 * itself can tell.
 */
export function isCarriedOut(
  change:
    | {readonly type: 'add'; readonly member: Pick<Member, 'id'>}
    | {readonly type: 'remove' | 'lead'; readonly id: NodeId},
  term: number,
  now: {readonly termAt: number | undefined; readonly committed: Membership},
): boolean {
  if (now.termAt !== undefined) return now.termAt === term;
  const id = change.type === 'add' ? change.member.id : change.id;
  const isMember = findMember(now.committed, id) !== undefined;
  return change.type === 'remove' ? !isMember : isMember;
}
