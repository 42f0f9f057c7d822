/**
 * The leader's log and its way to the others (Raft §5.3, §5.4.2). Appends are built when a Ready is
 * taken, not when something is proposed: all proposals of one turn travel as one append to each
 * follower, and a newer commit index rides along.
 */
import {assert} from '../base/assert.ts';
import {emptyBytes} from '../base/bytes.ts';
import {isActive} from './contact.ts';
import type {Entry, EntryId, EntryType} from './entry.ts';
import {entrySizeBytes, makeEntry} from './entry.ts';
import type {LogIndex} from './ids.ts';
import {indexAfter, indexBefore, logIndex, minIndex, noIndex} from './ids.ts';
import {enterMemberships} from './membership-change.ts';
import type {AppendAcceptedMessage, AppendRejectedMessage} from './message.ts';
import {sendNow} from './outbox.ts';
import {Progress} from './progress.ts';
import {quorumValue} from './quorum.ts';
import type {Leadership, RaftState} from './raft-state.ts';
import {currentMembership} from './raft-state.ts';

/** Appends one entry of the own term. `proposedAtMs` is raised to the log's latest time. */
export function appendOwn(
  state: RaftState,
  leadership: Leadership,
  fields: {readonly type: EntryType; readonly data?: Uint8Array; readonly proposedAtMs: number},
): EntryId {
  const index = indexAfter(state.log.lastIndex);
  const proposedAtMs = Math.max(fields.proposedAtMs, state.lastProposedAtMs);
  const {term} = state;
  const {type, data = emptyBytes} = fields;
  const entry = makeEntry({term, index, type, proposedAtMs, data});
  state.lastProposedAtMs = proposedAtMs;
  state.log.append([entry]);
  leadership.openBatchSizeBytes += entrySizeBytes(entry);
  leadership.uncommittedSizeBytes += entrySizeBytes(entry);
  if (type === 'membership') {
    enterMemberships(state, [entry]);
    followMembership(state, leadership);
  }
  return {term, index};
}

/** Makes the progress table match the membership in force. */
export function followMembership(state: RaftState, leadership: Leadership): void {
  const {members} = currentMembership(state);
  for (const {id, incarnation} of leadership.progress.values()) {
    // Another disk under the same name holds nothing of what the former one acknowledged.
    const isKept = members.some(row => row.id === id && row.incarnation === incarnation);
    if (!isKept) leadership.progress.delete(id);
  }
  for (const {id, incarnation} of members) {
    if (id === state.id || leadership.progress.has(id)) continue;
    const {inflightCountMax, inflightSizeBytesMax} = state.options;
    // Not silent yet: a member cannot have answered before it was asked.
    const progress = new Progress({
      id,
      incarnation,
      nextIndex: indexAfter(state.log.lastIndex),
      silenceTicks: 0,
      inflightCountMax,
      inflightSizeBytesMax,
    });
    leadership.progress.set(id, progress);
  }
}

/** Whether `flushAppends` would send something. */
export function hasAppends(state: RaftState, leadership: Leadership): boolean {
  const {commitIndex} = state;
  const lastIndex = state.log.lastIndex;
  for (const progress of leadership.progress.values()) {
    if (progress.needsAppend({lastIndex, commitIndex})) return true;
  }
  return false;
}

/** Queues every append that the followers' windows allow now. */
export function flushAppends(state: RaftState, leadership: Leadership): void {
  const {commitIndex} = state;
  const lastIndex = state.log.lastIndex;
  if (leadership.openBatchSizeBytes > 0) {
    leadership.uncommittedBatches.push({lastIndex, sizeBytes: leadership.openBatchSizeBytes});
    leadership.openBatchSizeBytes = 0;
  }
  for (const progress of leadership.progress.values()) {
    while (progress.needsAppend({lastIndex, commitIndex})) sendAppend(state, progress);
  }
}

/** Moves the commit index to what a quorum has made durable; true when it moved. */
export function maybeCommit(state: RaftState, leadership: Leadership): boolean {
  const {log, id} = state;
  const reached = quorumValue(currentMembership(state), voter => {
    return voter === id ? log.stableIndex : (leadership.progress.get(voter)?.matchIndex ?? noIndex);
  });
  if (reached <= state.commitIndex) return false;
  // Raft §5.4.2, figure 8: an entry of an earlier term is never committed by counting.
  if (log.term(logIndex(reached)) !== state.term) return false;
  state.commitIndex = logIndex(reached);
  freeUncommitted(leadership, state.commitIndex);
  return true;
}

/** True when the follower's match moved. */
export function noteAccepted(
  state: RaftState,
  progress: Progress,
  message: AppendAcceptedMessage,
): boolean {
  if (message.matchIndex > state.log.lastIndex) {
    state.ignoredCount++;
    return false;
  }
  const isNew = progress.noteMatch(message.matchIndex);
  switch (progress.state) {
    case 'probe':
      if (isNew || message.matchIndex === progress.matchIndex) progress.becomeReplicate();
      break;
    case 'replicate':
      progress.inflights.freeTo(message.matchIndex);
      break;
    case 'snapshot':
      // The log reaches it again, whether by the stream or by an earlier checkpoint.
      if (progress.matchIndex >= state.log.firstIndex - 1) progress.becomeReplicate();
      break;
  }
  return isNew;
}

export function noteRejected(
  state: RaftState,
  progress: Progress,
  message: AppendRejectedMessage,
): void {
  if (message.hint.index > message.rejected) {
    state.ignoredCount++;
    return;
  }
  const agreed = state.log.lastAtOrBelow(message.hint, noIndex);
  progress.noteRejection(message.rejected, indexAfter(agreed.index));
}

/** A heartbeat came back: the way is open, so a lost append or probe shows now. */
export function noteHeartbeatResponse(state: RaftState, progress: Progress): void {
  progress.isProbeSent = false;
  if (progress.state === 'replicate' && progress.matchIndex < state.log.lastIndex) {
    progress.mustPing = true;
  }
}

/** Carries the commit index as far as the member acknowledged, and the read round that waits. */
export function broadcastHeartbeats(state: RaftState, leadership: Leadership): void {
  const {id: from, term, commitIndex} = state;
  const readRound = leadership.readRounds.length > 0 ? leadership.lastReadRound : 0;
  leadership.heartbeatElapsed = 0;
  for (const progress of leadership.progress.values()) {
    const commit = minIndex(progress.matchIndex, commitIndex);
    sendNow(state, {type: 'heartbeat', from, to: progress.id, term, commit, readRound});
  }
}

function sendAppend(state: RaftState, progress: Progress): void {
  const {log, commitIndex} = state;
  const previousIndex = indexBefore(progress.nextIndex);
  const previousTerm = log.term(previousIndex);
  if (previousTerm === undefined) {
    sendSnapshot(state, progress);
    return;
  }
  const entries = nextEntries(state, progress);
  sendNow(state, {
    type: 'append',
    from: state.id,
    to: progress.id,
    term: state.term,
    previous: {term: previousTerm, index: previousIndex},
    entries,
    commit: commitIndex,
  });
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entrySizeBytes(entry);
  const lastIndex = logIndex(previousIndex + entries.length);
  const isCut = entries.length > 0 && lastIndex < log.lastIndex;
  progress.noteSent({lastIndex, sizeBytes, commitIndex, isCut});
}

function nextEntries(state: RaftState, progress: Progress): readonly Entry[] {
  const {log, options} = state;
  if (progress.nextIndex > log.lastIndex) return [];
  if (progress.state === 'replicate' && progress.isWindowFull()) return [];
  const sizeBytesMax = options.appendSizeBytesMax;
  return log.entries({from: progress.nextIndex, to: log.lastIndex, sizeBytesMax});
}

function sendSnapshot(state: RaftState, progress: Progress): void {
  if (!isActive(state, progress)) {
    // No stream to a node that does not answer: look again when a heartbeat comes back.
    progress.becomeProbe(progress.nextIndex);
    progress.isProbeSent = true;
    return;
  }
  progress.becomeSnapshot();
  const {id: from, term} = state;
  sendNow(state, {type: 'snapshot', from, to: progress.id, term, meta: null});
}

function freeUncommitted(leadership: Leadership, commitIndex: LogIndex): void {
  const batches = leadership.uncommittedBatches;
  let done = 0;
  for (const batch of batches) {
    if (batch.lastIndex > commitIndex) break;
    leadership.uncommittedSizeBytes -= batch.sizeBytes;
    done++;
  }
  if (done > 0) batches.splice(0, done);
  assert(leadership.uncommittedSizeBytes >= 0, 'more committed than proposed');
}
