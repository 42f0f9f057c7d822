/**
 * The way in for messages: refuses what no peer sends, settles the term (Raft §5.1), and passes the
 * message to the role. Decisions are the roles'; this file only dispatches.
 */
import {assert, unreachable} from '../base/assert.ts';
import {stepCandidate} from './candidate.ts';
import {answerPreVote, isSticky, termMax} from './election.ts';
import {stepFollower} from './follower.ts';
import {stepLeader} from './leader.ts';
import type {Message} from './message.ts';
import {respond} from './outbox.ts';
import type {RaftState} from './raft-state.ts';
import {becomeFollower} from './transitions.ts';

export function step(state: RaftState, message: Message): void {
  if (!isAddressed(state, message)) {
    state.ignoredCount++;
    return;
  }
  // A pre-vote is a question about a term that may never be; it never moves this node's.
  if (message.type === 'pre-vote') {
    answerPreVote(state, message);
    return;
  }
  if (message.type === 'pre-vote-response' && message.granted) {
    stepRole(state, message);
    return;
  }
  if (message.term < state.term) {
    answerStale(state, message);
    return;
  }
  if (message.term > state.term && !adoptTerm(state, message)) return;
  assert(message.term === state.term, 'term % at %', message.term, state.term);
  stepRole(state, message);
}

function isAddressed(state: RaftState, message: Message): boolean {
  if (message.to !== state.id || message.from === state.id) return false;
  return Number.isSafeInteger(message.term) && message.term > 0 && message.term <= termMax;
}

/** False when the message must be ignored and its term with it. */
function adoptTerm(state: RaftState, message: Message): boolean {
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
    case 'timeout-now':
    case 'read-index-response':
      becomeFollower(state, message.term, message.from);
      return true;
    case 'vote':
      if (!message.isTransfer && isSticky(state, message.from)) return false;
      becomeFollower(state, message.term, null);
      return true;
    case 'pre-vote':
    case 'pre-vote-response':
    case 'vote-response':
    case 'append-accepted':
    case 'append-rejected':
    case 'heartbeat-response':
    case 'read-index':
      becomeFollower(state, message.term, null);
      return true;
    default:
      return unreachable(message);
  }
}

/**
 * Tells a sender of an earlier term about the present one. Without it a node with a higher term,
 * which ignores the leader's messages, and a leader, which ignores its requests for votes, would
 * stay apart for ever.
 */
function answerStale(state: RaftState, message: Message): void {
  const {id: from, term} = state;
  const to = message.from;
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      respond(state, {type: 'heartbeat-response', from, to, term, readRound: 0});
      break;
    case 'vote':
      respond(state, {type: 'vote-response', from, to, term, granted: false});
      break;
    case 'pre-vote':
    case 'pre-vote-response':
    case 'vote-response':
    case 'append-accepted':
    case 'append-rejected':
    case 'heartbeat-response':
    case 'timeout-now':
    case 'read-index':
    case 'read-index-response':
      break;
    default:
      unreachable(message);
  }
}

function stepRole(state: RaftState, message: Message): void {
  switch (state.role) {
    case 'follower':
      stepFollower(state, message);
      break;
    case 'pre-candidate':
    case 'candidate':
      stepCandidate(state, message);
      break;
    case 'leader':
      assert(state.leadership !== null, 'a leader without leadership');
      stepLeader(state, state.leadership, message);
      break;
    default:
      unreachable(state.role);
  }
}
