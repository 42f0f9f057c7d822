/**
 * Turns what has gathered into one Ready. The only place that numbers writes and that decides how
 * far the state machine may go: no further than the commit index and the local disk.
 */
import {assert} from '../base/assert.ts';
import type {Entry} from './entry.ts';
import {entrySizeBytes} from './entry.ts';
import type {HardState} from './hard-state.ts';
import type {LogIndex} from './ids.ts';
import {indexAfter, indexBefore, logIndex, maxIndex, minIndex} from './ids.ts';
import {trimMemberships} from './membership-change.ts';
import type {RaftState} from './raft-state.ts';
import {beginReadRound, canBeginReadRound} from './read-index.ts';
import type {Ready} from './ready.ts';
import {flushAppends, hasAppends} from './replication.ts';

/** Batches handed out and not yet applied may hold this many times committedSizeBytesMax. */
const applyingBatchFactor = 4;

export function hasReady(state: RaftState): boolean {
  const {leadership} = state;
  return (
    state.messages.length > 0 ||
    state.messagesAfterPersist.length > 0 ||
    state.readStates.length > 0 ||
    state.hardStateSequence === null ||
    state.log.unstable.hasUnhanded() ||
    hasCommitted(state) ||
    hasNewSoftState(state) ||
    (leadership !== null && (canBeginReadRound(state, leadership) || hasAppends(state, leadership)))
  );
}

export function takeReady(state: RaftState): Ready {
  if (state.leadership !== null) {
    beginReadRound(state, state.leadership);
    flushAppends(state, state.leadership);
  }
  const softState = takeSoftState(state);
  const {entries, snapshot} = state.log.unstable.takeUnhanded();
  const isHardStateNew = state.hardStateSequence === null;
  const mustPersist = isHardStateNew || entries.length > 0 || snapshot !== null;
  if (mustPersist) {
    state.sequence++;
    state.log.unstable.noteWrite(state.sequence);
    if (isHardStateNew) state.hardStateSequence = state.sequence;
  }
  const {messages, messagesAfterPersist, readStates} = state;
  state.messages = [];
  state.messagesAfterPersist = [];
  state.readStates = [];
  return {
    softState,
    sequence: state.sequence,
    mustPersist,
    hardState: mustPersist ? hardStateToWrite(state) : null,
    entries,
    snapshot,
    messages,
    messagesAfterPersist,
    committed: takeCommitted(state),
    readStates,
  };
}

/** The state machine has everything up to `index`. */
export function noteApplied(state: RaftState, index: LogIndex): void {
  // A batch handed out before a snapshot replaced it may still report.
  if (index <= state.appliedIndex) return;
  assert(index <= state.applyingIndex, 'applied %, handed out %', index, state.applyingIndex);
  state.appliedIndex = index;
  let done = 0;
  for (const batch of state.applyingBatches) {
    if (batch.lastIndex > index) break;
    state.applyingSizeBytes -= batch.sizeBytes;
    done++;
  }
  if (done > 0) state.applyingBatches.splice(0, done);
  trimMemberships(state);
}

/**
 * The commit index on disk never exceeds the entries on disk: a write torn by a crash would else
 * leave a log that ends before its own commit index.
 */
function hardStateToWrite(state: RaftState): HardState {
  const {term, vote, log, commitIndex} = state;
  const known = maxIndex(log.stableIndex, indexBefore(log.firstIndex));
  return {term, vote, commit: minIndex(commitIndex, known)};
}

function applicableIndex(state: RaftState): LogIndex {
  return minIndex(state.commitIndex, state.log.stableIndex);
}

function hasCommitted(state: RaftState): boolean {
  if (state.applyingIndex >= applicableIndex(state)) return false;
  return state.applyingSizeBytes < state.options.committedSizeBytesMax * applyingBatchFactor;
}

function takeCommitted(state: RaftState): readonly Entry[] {
  if (!hasCommitted(state)) return [];
  const from = indexAfter(state.applyingIndex);
  const to = applicableIndex(state);
  const sizeBytesMax = state.options.committedSizeBytesMax;
  const committed = state.log.entries({from, to, sizeBytesMax});
  let sizeBytes = 0;
  for (const entry of committed) sizeBytes += entrySizeBytes(entry);
  const lastIndex = logIndex(state.applyingIndex + committed.length);
  assert(lastIndex <= to, 'handing out % beyond %', lastIndex, to);
  state.applyingIndex = lastIndex;
  state.applyingBatches.push({lastIndex, sizeBytes});
  state.applyingSizeBytes += sizeBytes;
  return committed;
}

function hasNewSoftState(state: RaftState): boolean {
  const {role, leaderId, term} = state.softState;
  return role !== state.role || leaderId !== state.leaderId || term !== state.term;
}

function takeSoftState(state: RaftState): Ready['softState'] {
  if (!hasNewSoftState(state)) return null;
  const {role, leaderId, term} = state;
  state.softState = {role, leaderId, term};
  return state.softState;
}
