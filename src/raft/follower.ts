/**
 * What a node does that has a leader or waits for one: takes entries, heartbeats and snapshots.
 * Every message here is of the node's own term; `step.ts` saw to that.
 */
import {assert, unreachable} from '../base/assert.ts';
import {answerVote, campaignForReal} from './election.ts';
import type {Entry} from './entry.ts';
import type {LogIndex} from './ids.ts';
import {indexAfter, logIndex, maxIndex, minIndex} from './ids.ts';
import {
  enterMemberships,
  isWellFormed,
  membershipOfEntry,
  rollBackMemberships,
} from './membership-change.ts';
import type {AppendMessage, HeartbeatMessage, Message, SnapshotMessage} from './message.ts';
import {acceptAppend, respond, withdrawAccepts} from './outbox.ts';
import type {RaftState} from './raft-state.ts';
import type {SnapshotMeta} from './snapshot.ts';

export function stepFollower(state: RaftState, message: Message): void {
  switch (message.type) {
    case 'append':
      if (followLeader(state, message)) handleAppend(state, message);
      break;
    case 'heartbeat':
      if (followLeader(state, message)) handleHeartbeat(state, message);
      break;
    case 'snapshot':
      if (followLeader(state, message)) handleSnapshot(state, message);
      break;
    case 'timeout-now':
      if (followLeader(state, message)) campaignForReal(state, {isTransfer: true});
      break;
    case 'read-index-response':
      if (!followLeader(state, message)) break;
      state.readStates.push({context: message.context, index: message.index});
      break;
    case 'vote':
      answerVote(state, message);
      break;
    case 'pre-vote':
    case 'pre-vote-response':
    case 'vote-response':
    case 'append-accepted':
    case 'append-rejected':
    case 'heartbeat-response':
    case 'read-index':
      // Answers to questions of an earlier role, or a question for a leader.
      break;
    default:
      unreachable(message);
  }
}

/** Notes contact with the leader; false when the term already has another one. */
function followLeader(state: RaftState, message: Message): boolean {
  assert(state.role === 'follower', '% follows', state.role);
  if (state.leaderId !== null && state.leaderId !== message.from) {
    state.ignoredCount++;
    return false;
  }
  state.leaderId = message.from;
  state.electionElapsed = 0;
  state.leaderSilence = 0;
  return true;
}

function handleAppend(state: RaftState, message: AppendMessage): void {
  if (!isConsistent(message)) {
    state.ignoredCount++;
    return;
  }
  const {previous, entries} = message;
  // Committed entries are the leader's too (Leader Completeness): nothing to compare.
  if (previous.index < state.commitIndex) {
    acceptAppend(state, message.from, state.commitIndex);
    return;
  }
  if (!state.log.holds(previous)) {
    rejectAppend(state, message);
    return;
  }
  appendMissing(state, entries);
  const matchIndex = logIndex(previous.index + entries.length);
  commitTo(state, minIndex(message.commit, matchIndex));
  acceptAppend(state, message.from, matchIndex);
}

/** Raft §5.3: a conflicting entry and all that follow it go; matching ones stay untouched. */
function appendMissing(state: RaftState, entries: readonly Entry[]): void {
  const {log} = state;
  let known = 0;
  for (const entry of entries) {
    if (!log.holds(entry)) break;
    known++;
  }
  const first = entries[known];
  if (first === undefined) return;
  if (first.index <= log.lastIndex) {
    assert(
      first.index > state.commitIndex,
      'leader % overwrites committed entry %',
      state.leaderId ?? '?',
      first.index,
    );
    log.truncateFrom(first.index);
    withdrawAccepts(state, first.index);
    rollBackMemberships(state, first.index);
  }
  const missing = known === 0 ? entries : entries.slice(known);
  log.append(missing);
  enterMemberships(state, missing);
  const last = missing[missing.length - 1];
  state.lastProposedAtMs = Math.max(state.lastProposedAtMs, last?.proposedAtMs ?? 0);
}

function rejectAppend(state: RaftState, message: AppendMessage): void {
  const {id: from, term} = state;
  const hint = state.log.lastAtOrBelow(message.previous, state.commitIndex);
  const rejected = message.previous.index;
  respond(state, {type: 'append-rejected', from, to: message.from, term, rejected, hint});
}

function handleHeartbeat(state: RaftState, message: HeartbeatMessage): void {
  // A leader names only what this node acknowledged; more than the log holds means a lost disk.
  if (message.commit > state.log.lastIndex) state.ignoredCount++;
  else commitTo(state, message.commit);
  const {id: from, term} = state;
  const {from: to, readRound} = message;
  respond(state, {type: 'heartbeat-response', from, to, term, readRound});
}

function handleSnapshot(state: RaftState, message: SnapshotMessage): void {
  const {meta} = message;
  if (meta === null || meta.term > message.term || !isWellFormed(meta.membership)) {
    state.ignoredCount++;
    return;
  }
  if (meta.index <= state.commitIndex) {
    acceptAppend(state, message.from, state.commitIndex);
    return;
  }
  // The log already agrees up to there: keep it, it may reach further.
  if (state.log.holds(meta)) commitTo(state, meta.index);
  else restore(state, meta);
  acceptAppend(state, message.from, meta.index);
}

function restore(state: RaftState, meta: SnapshotMeta): void {
  state.log.restore(meta);
  state.commitIndex = meta.index;
  state.applyingIndex = meta.index;
  state.applyingBatches.length = 0;
  state.applyingSizeBytes = 0;
  state.memberships = [{index: meta.index, membership: meta.membership}];
}

function commitTo(state: RaftState, index: LogIndex): void {
  assert(index <= state.log.lastIndex, 'commit % beyond %', index, state.log.lastIndex);
  state.commitIndex = maxIndex(state.commitIndex, index);
}

/** What a correct leader always sends; anything else must not touch the log. */
function isConsistent(message: AppendMessage): boolean {
  let {index, term} = message.previous;
  if (term > message.term) return false;
  for (const entry of message.entries) {
    if (entry.index !== indexAfter(index) || entry.term < term) return false;
    if (entry.type === 'membership' && membershipOfEntry(entry) === undefined) return false;
    index = entry.index;
    term = entry.term;
  }
  return term <= message.term;
}
