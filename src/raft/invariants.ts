/**
 * Statements that hold between any two calls, too costly to assert in production. Tests and the
 * simulator call this after every event.
 */
import {assert} from '../base/assert.ts';
import type {Membership} from './membership.ts';
import {isWellFormed} from './membership-change.ts';
import type {Raft} from './raft.ts';
import type {Leadership, RaftState} from './raft-state.ts';
import {currentMembership, isHardStateDurable} from './raft-state.ts';

export function checkInvariants(raft: Raft): void {
  const state = raft.inspect();
  checkIndexes(state);
  checkTerms(state);
  checkMemberships(state);
  assert((state.role === 'leader') === (state.leadership !== null), 'leadership without the role');
  assert(
    (state.role === 'leader') === (state.leaderId === state.id),
    '% misnames itself',
    state.id,
  );
  if (state.leadership !== null) checkLeadership(state, state.leadership);
  if (state.role === 'candidate') assert(state.vote === state.id, 'a candidate votes for itself');
}

function checkIndexes(state: RaftState): void {
  const {log, appliedIndex, applyingIndex, commitIndex} = state;
  assert(appliedIndex <= applyingIndex, 'applied % > applying %', appliedIndex, applyingIndex);
  assert(applyingIndex <= commitIndex, 'applying % > commit %', applyingIndex, commitIndex);
  assert(commitIndex <= log.lastIndex, 'commit % > last %', commitIndex, log.lastIndex);
  assert(log.firstIndex <= log.lastIndex + 1, 'first % > last %', log.firstIndex, log.lastIndex);
  assert(log.stableIndex < log.unstable.firstIndex, 'stable % is unstable', log.stableIndex);
  if (log.unstable.snapshot === null) {
    assert(applyingIndex <= log.stableIndex, 'applying % before it is durable', applyingIndex);
    assert(log.stableIndex + 1 === log.unstable.firstIndex, 'a gap after the durable log');
  }
  let sizeBytes = 0;
  for (const batch of state.applyingBatches) sizeBytes += batch.sizeBytes;
  assert(sizeBytes === state.applyingSizeBytes, 'applying % bytes', state.applyingSizeBytes);
}

function checkTerms(state: RaftState): void {
  const {log} = state;
  const last = log.lastId();
  assert(last.term <= state.term, 'log of term % in term %', last.term, state.term);
  const inMemory = log.unstable;
  let previous = last.term;
  for (let index = last.index; index >= inMemory.firstIndex; index--) {
    const term = log.term(index);
    assert(term !== undefined && term <= previous, 'terms decrease at %', index);
    previous = term;
  }
  assert(state.sequence >= state.persistedSequence, 'a write is durable before it was made');
}

function checkMemberships(state: RaftState): void {
  let previousIndex = -1;
  for (const {index, membership} of state.memberships) {
    assert(index > previousIndex, 'memberships out of order at %', index);
    assert(index <= state.log.lastIndex, 'membership % beyond the log', index);
    assert(isFit(membership), 'membership % is malformed', index);
    previousIndex = index;
  }
  const uncommitted = state.memberships.filter(record => record.index > state.commitIndex);
  // A leader makes one change at a time; a follower may see the commit of the first late.
  if (state.leadership !== null && state.commitIndex >= state.leadership.termStartIndex) {
    assert(uncommitted.length <= 1, '% uncommitted changes', uncommitted.length);
  }
}

/** Each of them is looked at once: there are few, and none is ever changed. */
const fitMemberships = new WeakSet<Membership>();

function isFit(membership: Membership): boolean {
  if (fitMemberships.has(membership)) return true;
  const isGood = membership.members.length === 0 || isWellFormed(membership);
  if (isGood) fitMemberships.add(membership);
  return isGood;
}

function checkLeadership(state: RaftState, leadership: Leadership): void {
  const {log} = state;
  assert(isHardStateDurable(state), 'a leader whose term is not durable');
  assert(leadership.termStartIndex <= log.lastIndex, 'a leader without its no-op');
  const ids = currentMembership(state).members.map(member => member.id);
  for (const progress of leadership.progress.values()) {
    const {id, matchIndex, nextIndex, inflights} = progress;
    assert(ids.includes(id) && id !== state.id, 'progress of a stranger %', id);
    assert(matchIndex < nextIndex, '%: match %, next %', id, matchIndex, nextIndex);
    assert(matchIndex <= log.lastIndex, '%: match % beyond %', id, matchIndex, log.lastIndex);
    assert(inflights.count === 0 || progress.state === 'replicate', '%: a useless window', id);
    assert(progress.confirmedRound <= leadership.lastReadRound, '%: a round from nowhere', id);
  }
  let previousRound = 0;
  for (const {round} of leadership.readRounds) {
    assert(round > previousRound, 'read round % after %', round, previousRound);
    previousRound = round;
  }
}
