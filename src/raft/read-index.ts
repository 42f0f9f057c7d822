/**
 * Linearizable reads without a log entry (dissertation §6.4): the leader notes its commit index,
 * proves by one round of heartbeats that it still leads, and the read may be served by whoever has
 * applied that far. All reads that wait share a round; a round confirms every earlier one. A round
 * always begins after its reads arrived, and never before an entry of the own term is committed:
 * until then the leader may not know how far its predecessors committed.
 */
import {limits} from '../base/limits.ts';
import type {LogIndex} from './ids.ts';
import {sendNow} from './outbox.ts';
import {quorumValue} from './quorum.ts';
import type {Leadership, RaftState, ReadRequest} from './raft-state.ts';
import {currentMembership} from './raft-state.ts';
import {broadcastHeartbeats} from './replication.ts';

/** False: there is nobody to ask, or too much waits; nothing was sent. */
export function requestRead(state: RaftState, context: number): boolean {
  const {id: from, term, leaderId: to, leadership} = state;
  if (leadership !== null) return enqueueRead(leadership, {context, from});
  if (to === null || state.role !== 'follower') return false;
  sendNow(state, {type: 'read-index', from, to, term, context});
  return true;
}

export function enqueueRead(leadership: Leadership, request: ReadRequest): boolean {
  const waiting = leadership.waitingReads.length + leadership.readRounds.length;
  if (waiting >= limits.pendingReadCountMax) return false;
  leadership.waitingReads.push(request);
  return true;
}

export function canBeginReadRound(state: RaftState, leadership: Leadership): boolean {
  return leadership.waitingReads.length > 0 && state.commitIndex >= leadership.termStartIndex;
}

/** Sends out one round for everything that waits. */
export function beginReadRound(state: RaftState, leadership: Leadership): void {
  if (!canBeginReadRound(state, leadership)) return;
  const requests = leadership.waitingReads.splice(0);
  const round = ++leadership.lastReadRound;
  leadership.readRounds.push({round, index: state.commitIndex, requests});
  broadcastHeartbeats(state, leadership);
  confirmReads(state, leadership);
}

/** Answers the reads of every round that a quorum has confirmed. */
export function confirmReads(state: RaftState, leadership: Leadership): void {
  if (leadership.readRounds.length === 0) return;
  const confirmed = quorumValue(currentMembership(state), id => {
    if (id === state.id) return leadership.lastReadRound;
    return leadership.progress.get(id)?.confirmedRound ?? 0;
  });
  let done = 0;
  for (const {round, index, requests} of leadership.readRounds) {
    if (round > confirmed) break;
    for (const request of requests) answerRead(state, leadership, request, index);
    done++;
  }
  leadership.readRounds.splice(0, done);
}

function answerRead(
  state: RaftState,
  leadership: Leadership,
  request: ReadRequest,
  index: LogIndex,
): void {
  const {id: from, term} = state;
  const {context, from: to} = request;
  if (to === from) {
    state.readStates.push({context, index});
    return;
  }
  sendNow(state, {type: 'read-index-response', from, to, term, context, index});
  // The reader waits until it may apply that far.
  const progress = leadership.progress.get(to);
  if (progress !== undefined && progress.sentCommit < index) progress.isDue = true;
}
