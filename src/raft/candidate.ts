/**
 * What a node does that asks for votes, really or beforehand. Every message here is of the node's
 * own term, except a granted pre-vote, which carries the term asked about.
 */
import {unreachable} from '../base/assert.ts';
import {answerVote, countPreVotes, countVotes} from './election.ts';
import {stepFollower} from './follower.ts';
import {termAfter} from './ids.ts';
import type {Message, PreVoteResponseMessage, VoteResponseMessage} from './message.ts';
import type {RaftState} from './raft-state.ts';
import {becomeFollower} from './transitions.ts';

export function stepCandidate(state: RaftState, message: Message): void {
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      // Somebody else leads this term (Raft §5.2).
      becomeFollower(state, state.term, message.from);
      stepFollower(state, message);
      break;
    case 'vote-response':
      if (state.role === 'candidate') noteVote(state, message);
      break;
    case 'pre-vote-response':
      if (state.role === 'pre-candidate') notePreVote(state, message);
      break;
    case 'vote':
      answerVote(state, message);
      break;
    case 'pre-vote':
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

/** The first answer of a voter counts; a duplicate changes nothing. */
function noteVote(state: RaftState, message: VoteResponseMessage): void {
  if (state.votes.has(message.from)) return;
  state.votes.set(message.from, message.granted);
  countVotes(state);
}

function notePreVote(state: RaftState, message: PreVoteResponseMessage): void {
  // A grant for another term answers an earlier question.
  if (message.granted && message.term !== termAfter(state.term)) return;
  if (state.votes.has(message.from)) return;
  state.votes.set(message.from, message.granted);
  countPreVotes(state);
}
