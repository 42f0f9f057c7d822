/**
 * Every change of role (Raft §5.1, figure 4; pre-candidate: dissertation §9.6). A transition sets
 * the state and nothing else; what follows from it (requests for votes, the no-op) is the caller's.
 */
import {assert} from '../base/assert.ts';
import {contactTicksMax} from './contact.ts';
import type {NodeId, Term} from './ids.ts';
import {indexAfter, termAfter} from './ids.ts';
import type {Leadership, RaftState} from './raft-state.ts';
import {drawElectionTimeout, isHardStateDurable} from './raft-state.ts';
import {followMembership} from './replication.ts';

export function becomeFollower(state: RaftState, term: Term, leaderId: NodeId | null): void {
  assert(term >= state.term, 'term % after %', term, state.term);
  assert(leaderId !== state.id, 'a follower of itself');
  setTerm(state, term);
  state.role = 'follower';
  state.leaderId = leaderId;
  state.leadership = null;
  startWaiting(state);
}

/** Asks around without touching term or vote. */
export function becomePreCandidate(state: RaftState): void {
  assert(state.role !== 'leader', 'a leader does not campaign');
  state.role = 'pre-candidate';
  state.leaderId = null;
  startWaiting(state);
}

/** A new term and a vote for itself; both must be durable before anybody hears of it. */
export function becomeCandidate(state: RaftState): void {
  assert(state.role !== 'leader', 'a leader does not campaign');
  setTerm(state, termAfter(state.term));
  setVote(state, state.id);
  state.role = 'candidate';
  state.leaderId = null;
  startWaiting(state);
}

export function becomeLeader(state: RaftState): Leadership {
  assert(state.role === 'candidate', '% wins an election', state.role);
  assert(state.vote === state.id, 'a winner has voted for itself');
  assert(isHardStateDurable(state), 'the own vote counts only once it is durable');
  const leadership: Leadership = {
    progress: new Map(),
    termStartIndex: indexAfter(state.log.lastIndex),
    heartbeatElapsed: 0,
    transfer: null,
    waitingReads: [],
    readRounds: [],
    lastReadRound: 0,
    uncommittedSizeBytes: 0,
    openBatchSizeBytes: 0,
    uncommittedBatches: [],
  };
  followMembership(state, leadership);
  for (const progress of leadership.progress.values()) {
    // Who did not vote for it was not heard in this term.
    if (state.votes.get(progress.id) !== true) progress.silenceTicks = contactTicksMax(state);
  }
  state.role = 'leader';
  state.leaderId = state.id;
  state.leadership = leadership;
  startWaiting(state);
  return leadership;
}

export function setVote(state: RaftState, vote: NodeId): void {
  assert(state.vote === null || state.vote === vote, 'second vote in term %', state.term);
  if (state.vote === vote) return;
  state.vote = vote;
  state.hardStateSequence = null;
}

function setTerm(state: RaftState, term: Term): void {
  if (term === state.term) return;
  state.term = term;
  state.vote = null;
  state.hardStateSequence = null;
}

function startWaiting(state: RaftState): void {
  state.votes.clear();
  state.electionElapsed = 0;
  state.randomizedTimeout = drawElectionTimeout(state.options);
}
