/**
 * What a leader does: takes proposals, counts acknowledgements, keeps heartbeats going and steps
 * down when a majority no longer answers (CheckQuorum, dissertation §6.2). Every message here is of
 * the leader's own term.
 *
 * CheckQuorum measures the silence of each member and waits as long as the most patient follower
 * waits for its leader. No answer is wrong meanwhile: reads ask a quorum, writes need one. A member
 * whose processor is busy for a while answers late, and to depose the leader for that would leave
 * every write under way with an unknown outcome. Silence is counted in ticks, of which a turn of
 * the event loop has at most one: a leader that stalled does not hold that against the others.
 */
import {assert, unreachable} from '../base/assert.ts';
import {isActive} from './contact.ts';
import {answerVote} from './election.ts';
import {entryOverheadSizeBytes} from './entry.ts';
import type {EntryId} from './entry.ts';
import {maybeFinishTransfer, tellSuccessor, tickTransfer} from './leader-transfer.ts';
import type {Membership} from './membership.ts';
import {encodeMembership, isJoint, isVoter} from './membership.ts';
import type {MembershipRefusal} from './membership-change.ts';
import {firstStep, leaveJoint, refuseChange} from './membership-change.ts';
import type {AppendAcceptedMessage, HeartbeatResponseMessage, Message} from './message.ts';
import type {Progress} from './progress.ts';
import {hasQuorum} from './quorum.ts';
import type {Leadership, RaftState} from './raft-state.ts';
import {currentMembership, currentMembershipRecord} from './raft-state.ts';
import {confirmReads, enqueueRead} from './read-index.ts';
import {
  appendOwn,
  broadcastHeartbeats,
  flushAppends,
  maybeCommit,
  noteAccepted,
  noteHeartbeatResponse,
  noteRejected,
} from './replication.ts';
import {becomeFollower} from './transitions.ts';

export type ProposalDropReason = 'not-leader' | 'transferring' | 'overloaded' | MembershipRefusal;

export type ProposeResult =
  | {readonly type: 'accepted'; readonly id: EntryId}
  | {readonly type: 'dropped'; readonly reason: ProposalDropReason};

export function proposeCommand(
  state: RaftState,
  data: Uint8Array,
  proposedAtMs: number,
): ProposeResult {
  const {leadership} = state;
  if (leadership === null) return {type: 'dropped', reason: 'not-leader'};
  if (leadership.transfer !== null) return {type: 'dropped', reason: 'transferring'};
  const before = leadership.uncommittedSizeBytes;
  const after = before + entryOverheadSizeBytes + data.length;
  // A single large proposal passes when nothing else is under way.
  if (before > 0 && after > state.options.uncommittedSizeBytesMax) {
    return {type: 'dropped', reason: 'overloaded'};
  }
  return {
    type: 'accepted',
    id: appendOwn(state, leadership, {type: 'command', data, proposedAtMs}),
  };
}

export function proposeMembershipChange(
  state: RaftState,
  next: Membership,
  proposedAtMs: number,
): ProposeResult {
  const {leadership} = state;
  if (leadership === null) return {type: 'dropped', reason: 'not-leader'};
  if (leadership.transfer !== null) return {type: 'dropped', reason: 'transferring'};
  const reason = refuseChange(state, next);
  if (reason !== null) return {type: 'dropped', reason};
  const data = encodeMembership(firstStep(currentMembership(state), next));
  const id = appendOwn(state, leadership, {type: 'membership', data, proposedAtMs});
  return {type: 'accepted', id};
}

export function tickLeader(state: RaftState, leadership: Leadership): void {
  tickTransfer(state, leadership);
  for (const progress of leadership.progress.values()) {
    progress.silenceTicks++;
    progress.isDue = true;
  }
  if (!isHeardByQuorum(state, leadership)) {
    becomeFollower(state, state.term, null);
    return;
  }
  leadership.heartbeatElapsed++;
  if (leadership.heartbeatElapsed >= state.options.heartbeatIntervalTicks) {
    broadcastHeartbeats(state, leadership);
  }
}

export function stepLeader(state: RaftState, leadership: Leadership, message: Message): void {
  const progress = leadership.progress.get(message.from);
  if (progress !== undefined) progress.silenceTicks = 0;
  switch (message.type) {
    case 'append-accepted':
      if (progress !== undefined) onAccepted(state, leadership, progress, message);
      break;
    case 'append-rejected':
      if (progress !== undefined) noteRejected(state, progress, message);
      break;
    case 'heartbeat-response':
      if (progress !== undefined) onHeartbeatResponse(state, leadership, progress, message);
      break;
    case 'read-index': {
      const {context, from} = message;
      // Unanswered when too much waits: the follower asks again.
      enqueueRead(leadership, {context, from});
      break;
    }
    case 'vote':
      answerVote(state, message);
      break;
    case 'append':
    case 'heartbeat':
    case 'snapshot':
    case 'timeout-now':
    case 'read-index-response':
      // Only a second leader of this term could send these, and there is none.
      state.ignoredCount++;
      break;
    case 'pre-vote':
    case 'pre-vote-response':
    case 'vote-response':
      break;
    default:
      unreachable(message);
  }
}

/** The own log counts from the moment it is durable, not before. */
export function onOwnLogPersisted(state: RaftState, leadership: Leadership): void {
  if (maybeCommit(state, leadership)) onCommitted(state, leadership);
}

function onAccepted(
  state: RaftState,
  leadership: Leadership,
  progress: Progress,
  message: AppendAcceptedMessage,
): void {
  if (!noteAccepted(state, progress, message)) return;
  maybeFinishTransfer(state, leadership, progress);
  if (maybeCommit(state, leadership)) onCommitted(state, leadership);
}

function onHeartbeatResponse(
  state: RaftState,
  leadership: Leadership,
  progress: Progress,
  message: HeartbeatResponseMessage,
): void {
  noteHeartbeatResponse(state, progress);
  if (message.readRound > leadership.lastReadRound) {
    state.ignoredCount++;
    return;
  }
  progress.confirmedRound = Math.max(progress.confirmedRound, message.readRound);
  confirmReads(state, leadership);
}

function onCommitted(state: RaftState, leadership: Leadership): void {
  assert(state.commitIndex >= leadership.termStartIndex, 'committed by counting an older term');
  const {index, membership} = currentMembershipRecord(state);
  if (index > state.commitIndex) return;
  if (isJoint(membership)) {
    const data = encodeMembership(leaveJoint(membership));
    appendOwn(state, leadership, {type: 'membership', data, proposedAtMs: state.lastProposedAtMs});
    return;
  }
  // Dissertation §4.2.2: a leader that the change removed has done its duty.
  if (isVoter(membership, state.id)) return;
  // The others learn of the commit now; nobody would tell them until the next election.
  for (const progress of leadership.progress.values()) progress.isDue = true;
  flushAppends(state, leadership);
  tellSuccessor(state, leadership);
  becomeFollower(state, state.term, null);
}

function isHeardByQuorum(state: RaftState, leadership: Leadership): boolean {
  return hasQuorum(currentMembership(state), id => {
    if (id === state.id) return true;
    const progress = leadership.progress.get(id);
    return progress !== undefined && isActive(state, progress);
  });
}
