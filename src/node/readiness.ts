/** Whether a node serves, by where it is in its life, and what it answers when it does not. */
import {RosettaError} from '../base/errors.ts';
import type {Replica} from './replica.ts';

export interface NodePhase {
  readonly replica: Replica | null;
  /** Why there is none yet: the first members have not met, or the cluster has not let it in. */
  readonly waitsFor: 'formation' | 'joining' | null;
  /** It stops, has failed, or was removed. */
  readonly isLeaving: boolean;
}

/** Null: ready. */
export function whyNotReady(phase: NodePhase): RosettaError | null {
  const refused = whyRefused(phase);
  const {replica} = phase;
  if (refused !== null || replica === null) return refused;
  if (!replica.hasReplayed()) {
    return new RosettaError('STARTING', 'this node is replaying its log');
  }
  if (replica.raft.leaderId === null) {
    return new RosettaError('NO_LEADER', 'this node knows no leader at the moment');
  }
  // Not STARTING: requests that wait for the leader's confirmation are served correctly already.
  if (replica.isCaughtUp()) return null;
  return new RosettaError('NO_LEADER', 'this node has not caught up with its leader yet');
}

/** Null: a request is taken, though it may have to wait. */
export function whyRefused({replica, waitsFor, isLeaving}: NodePhase): RosettaError | null {
  if (isLeaving) return new RosettaError('STOPPING', 'the node is stopping; ask another one');
  if (replica === null) return new RosettaError('STARTING', startingDetails[waitsFor ?? 'none']);
  return replica.refusal();
}

const startingDetails = {
  formation: 'the first members of the cluster have not all met yet',
  joining: 'the node has not been let into its cluster yet',
  none: 'the node is starting',
} as const;
