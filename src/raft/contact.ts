/**
 * How long a leader believes in a member that says nothing: as long as the most patient follower
 * believes in its leader (Raft §5.2), and no longer.
 */
import type {Progress} from './progress.ts';
import type {RaftState} from './raft-state.ts';
import {electionTimeoutTicksMax} from './raft-state.ts';

export function contactTicksMax(state: RaftState): number {
  return electionTimeoutTicksMax(state.options);
}

export function isActive(state: RaftState, progress: Progress): boolean {
  return progress.silenceTicks < contactTicksMax(state);
}
