/**
 * Where messages wait for the next Ready. The rule of which list a message belongs to lives here:
 *
 * - `sendNow`: promises nothing that the disk has not got. Requests of a leader (its term is
 *   durable: it could not have been elected otherwise) and pre-vote traffic.
 * - `sendAfterPersist`: promises something: a vote, a vote request (it follows from the own vote),
 *   an accepted append.
 * - `respond`: promises only the term. At once if term and vote are durable, else after the write.
 */
import type {LogIndex, NodeId} from './ids.ts';
import {maxIndex} from './ids.ts';
import type {Message} from './message.ts';
import type {RaftState} from './raft-state.ts';
import {isHardStateDurable} from './raft-state.ts';

export function sendNow(state: RaftState, message: Message): void {
  state.messages.push(message);
}

export function sendAfterPersist(state: RaftState, message: Message): void {
  state.messagesAfterPersist.push(message);
}

export function respond(state: RaftState, message: Message): void {
  (isHardStateDurable(state) ? state.messages : state.messagesAfterPersist).push(message);
}

/** One acknowledgement for all appends of a turn: it covers them when it covers the last. */
export function acceptAppend(state: RaftState, to: NodeId, matchIndex: LogIndex): void {
  const pending = state.messagesAfterPersist;
  const last = pending[pending.length - 1];
  const {id: from, term} = state;
  if (last?.type === 'append-accepted' && last.to === to && last.term === term) {
    pending[pending.length - 1] = {...last, matchIndex: maxIndex(last.matchIndex, matchIndex)};
    return;
  }
  pending.push({type: 'append-accepted', from, to, term, matchIndex});
}

/**
 * Entries from `index` on are replaced before a former leader was told that they are here, in the
 * same turn: the disk may never have seen them. That leader can do nothing with them any more.
 */
export function withdrawAccepts(state: RaftState, index: LogIndex): void {
  state.messagesAfterPersist = state.messagesAfterPersist.filter(
    message => message.type !== 'append-accepted' || message.matchIndex < index,
  );
}
