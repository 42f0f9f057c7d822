/**
 * Elections (Raft §5.2, §5.4.1), with pre-vote (dissertation §9.6) and leader stickiness (§4.2.3):
 * a node that heard a leader within the minimum election timeout ignores requests for votes, so a
 * removed or partitioned node cannot disturb the others. The exceptions are a transfer, which the
 * leader itself asked for, and a request from that very leader, which shows it is one no longer.
 *
 * A node votes although it believes itself a learner or no member at all: the candidate may know of
 * a later membership than the voter, and that membership could not elect anybody otherwise.
 */
import type {NodeId} from './ids.ts';
import {termAfter} from './ids.ts';
import type {Membership} from './membership.ts';
import {isVoterOn} from './membership.ts';
import {otherVoters} from './membership-change.ts';
import type {PreVoteMessage, VoteMessage} from './message.ts';
import {respond, sendAfterPersist, sendNow} from './outbox.ts';
import {voteOutcome} from './quorum.ts';
import type {RaftState} from './raft-state.ts';
import {currentMembership, currentMembershipRecord, isHardStateDurable} from './raft-state.ts';
import {appendOwn} from './replication.ts';
import {
  becomeCandidate,
  becomeFollower,
  becomeLeader,
  becomePreCandidate,
  setVote,
} from './transitions.ts';

/** So long who was to ask first is given, in ticks: a question and its answer take less. */
const deferenceTicks = 3;
/** Terms above this come from no cluster that ever lived; refusing them leaves room to count. */
export const termMax = 2 ** 52;

/**
 * One tick of a node that does not lead. Also whoever may not campaign notices that its leader is
 * silent: it would refuse its vote to everybody else for ever.
 */
export function tickElection(state: RaftState, options: {readonly mayCampaign: boolean}): void {
  state.electionElapsed++;
  state.leaderSilence++;
  if (!options.mayCampaign || state.electionElapsed < state.randomizedTimeout) return;
  campaign(state);
}

/** Begins with a pre-vote; does nothing on a leader, a learner, a stranger. */
export function campaign(state: RaftState): void {
  if (!canCampaign(state)) return;
  becomePreCandidate(state);
  state.votes.set(state.id, true);
  for (const to of otherVoters(state)) askForPreVote(state, to);
  countPreVotes(state);
}

/**
 * `to` can be reached again: what it was asked before may be lost (Raft §5.1: requests are
 * repeated). When a whole cluster starts, whoever is first asks members that are not there yet, and
 * would wait for another timeout before it asked again.
 *
 * Both ends see a connection come up, and two that ask each other at one moment both win the
 * pre-vote and split the vote. So one of them leaves the other a moment before its next campaign.
 */
export function repeatPreVote(state: RaftState, to: NodeId): void {
  if (state.role !== 'pre-candidate' || state.votes.has(to) || !canCampaign(state)) return;
  if (!otherVoters(state).includes(to)) return;
  if (state.id < to) {
    askForPreVote(state, to);
  } else {
    const elapsed = state.randomizedTimeout - deferenceTicks;
    state.electionElapsed = Math.max(state.electionElapsed, elapsed);
  }
}

/** The question changes nothing there, however often it is asked. */
function askForPreVote(state: RaftState, to: NodeId): void {
  const {id: from, term} = state;
  const last = state.log.lastId();
  sendNow(state, {type: 'pre-vote', from, to, term: termAfter(term), last});
}

/** Without pre-vote: after one was won, or because the leader said so. */
export function campaignForReal(state: RaftState, options: {readonly isTransfer: boolean}): void {
  if (!canCampaign(state)) return;
  becomeCandidate(state);
  const {id: from, term} = state;
  const {isTransfer} = options;
  const last = state.log.lastId();
  for (const to of otherVoters(state)) {
    sendAfterPersist(state, {type: 'vote', from, to, term, last, isTransfer});
  }
}

/** The own vote is a vote like any other: it counts when it is durable. */
export function noteOwnVotePersisted(state: RaftState): void {
  if (state.role !== 'candidate' || !isHardStateDurable(state)) return;
  if (state.votes.has(state.id)) return;
  state.votes.set(state.id, true);
  countVotes(state);
}

export function countPreVotes(state: RaftState): void {
  switch (voteOutcome(currentMembership(state), state.votes)) {
    case 'won':
      campaignForReal(state, {isTransfer: false});
      break;
    case 'lost':
      becomeFollower(state, state.term, null);
      break;
    case 'pending':
      break;
  }
}

export function countVotes(state: RaftState): void {
  switch (voteOutcome(currentMembership(state), state.votes)) {
    case 'won': {
      // The others may be quicker than the own disk; `noteOwnVotePersisted` counts again.
      if (!isHardStateDurable(state)) return;
      const leadership = becomeLeader(state);
      // Raft §8: nothing of earlier terms commits before an entry of the own term does.
      appendOwn(state, leadership, {type: 'noop', proposedAtMs: state.lastProposedAtMs});
      break;
    }
    case 'lost':
      becomeFollower(state, state.term, null);
      break;
    case 'pending':
      break;
  }
}

/** Changes nothing on this node, whatever the answer. */
export function answerPreVote(state: RaftState, message: PreVoteMessage): void {
  if (message.term > state.term && isSticky(state, message.from)) return;
  const isOpen =
    message.term > state.term || (message.term === state.term && canVoteFor(state, message.from));
  const granted = isOpen && state.log.isUpToDate(message.last);
  const term = granted ? message.term : state.term;
  respond(state, {type: 'pre-vote-response', from: state.id, to: message.from, term, granted});
}

/** `message.term` is this node's term. */
export function answerVote(state: RaftState, message: VoteMessage): void {
  const {id: from, term} = state;
  const to = message.from;
  if (canVoteFor(state, to) && state.log.isUpToDate(message.last)) {
    setVote(state, to);
    state.electionElapsed = 0;
    sendAfterPersist(state, {type: 'vote-response', from, to, term, granted: true});
    return;
  }
  respond(state, {type: 'vote-response', from, to, term, granted: false});
}

/** Whether a leader was heard recently enough to ignore `from`'s wish for an election. */
export function isSticky(state: RaftState, from: NodeId): boolean {
  if (state.leaderId === null || state.leaderId === from) return false;
  return state.electionElapsed < state.options.electionTimeoutTicks;
}

function canVoteFor(state: RaftState, candidate: NodeId): boolean {
  return state.vote === candidate || (state.vote === null && state.leaderId === null);
}

function canCampaign(state: RaftState): boolean {
  if (state.role === 'leader' || state.term >= termMax) return false;
  // The log in front of an unfinished snapshot is gone and what follows is not there yet.
  if (state.log.unstable.snapshot !== null) return false;
  const {index, membership} = currentMembershipRecord(state);
  if (isVoterHere(state, membership)) return true;
  // Dissertation §4.2.2: until its removal is committed a voter must still stand for election. It
  // may be the only one with the entry, and the others, who lack it, need its vote and cannot get
  // it. It then leads without counting itself, commits the entry and steps down.
  if (index <= state.commitIndex) return false;
  const previous = state.memberships[state.memberships.length - 2];
  return previous !== undefined && isVoterHere(state, previous.membership);
}

/**
 * Whoever was removed and let in again with an empty disk reads, on its way through the log, of the
 * time when its former disk was a voter, perhaps the only one.
 */
function isVoterHere({id, options}: RaftState, membership: Membership): boolean {
  return isVoterOn(membership, id, options.incarnation);
}
