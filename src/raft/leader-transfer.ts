/**
 * Handing leadership over (dissertation §3.10): the leader stops accepting proposals, brings the
 * target's log up to its own, and tells it to campaign at once. It resumes when nothing has come of
 * it within an election timeout.
 */
import type {NodeId} from './ids.ts';
import {sendNow} from './outbox.ts';
import type {Progress} from './progress.ts';
import type {Leadership, RaftState} from './raft-state.ts';
import {currentMembership} from './raft-state.ts';

/** False when this node does not lead or `to` cannot be elected. */
export function beginTransfer(state: RaftState, to: NodeId): boolean {
  const {leadership} = state;
  if (leadership === null || to === state.id) return false;
  const progress = leadership.progress.get(to);
  if (progress === undefined || !currentMembership(state).voters.includes(to)) return false;
  if (leadership.transfer?.to === to) return true;
  leadership.transfer = {to, elapsed: 0};
  maybeFinishTransfer(state, leadership, progress);
  return true;
}

/** Call when `progress` may have caught up. */
export function maybeFinishTransfer(
  state: RaftState,
  leadership: Leadership,
  progress: Progress,
): void {
  if (leadership.transfer?.to !== progress.id) return;
  if (progress.matchIndex !== state.log.lastIndex) return;
  const {id: from, term} = state;
  sendNow(state, {type: 'timeout-now', from, to: progress.id, term});
}

/** A leader that leaves tells the voter that has most of its log to campaign at once. */
export function tellSuccessor(state: RaftState, leadership: Leadership): void {
  let best: Progress | null = null;
  for (const progress of leadership.progress.values()) {
    if (!currentMembership(state).voters.includes(progress.id)) continue;
    if (best === null || progress.matchIndex > best.matchIndex) best = progress;
  }
  if (best === null) return;
  const {id: from, term} = state;
  sendNow(state, {type: 'timeout-now', from, to: best.id, term});
}

export function tickTransfer(state: RaftState, leadership: Leadership): void {
  const {transfer} = leadership;
  if (transfer === null) return;
  transfer.elapsed++;
  if (transfer.elapsed >= state.options.electionTimeoutTicks) leadership.transfer = null;
}
