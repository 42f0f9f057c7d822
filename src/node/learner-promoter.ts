/**
 * Makes voters of learners, by itself and on the leader alone: when one has caught up with the log
 * and was heard of without a break for a while. A learner that never comes, or comes and goes,
 * stays one and costs the cluster nothing. Voters that are there must be a quorum afterwards too.
 */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import {findMember, isJoint} from '../raft/membership.ts';
import type {Raft} from '../raft/raft.ts';
import {hasCaughtUp} from './cluster-grower.ts';
import type {IsActive} from './membership-rules.ts';
import {withPromoted} from './membership-rules.ts';

/** So long, and so many election timeouts, a learner must have been close to the log. */
const healthyMsMin = 1_000;
const healthyElectionTimeouts = 3;

export interface LearnerPromoterParts {
  readonly raft: Raft;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly electionTimeoutMs: number;
  readonly isActive: IsActive;
  /** Somebody else sees to these. */
  readonly isExcepted: (id: NodeId) => boolean;
  readonly onProposed: () => void;
}

export class LearnerPromoter {
  readonly #parts: LearnerPromoterParts;
  /** Since when each learner has been healthy, monotonic clock. */
  readonly #healthySinceMs = new Map<NodeId, number>();

  constructor(parts: LearnerPromoterParts) {
    this.#parts = parts;
  }

  /** Called several times in the time that a learner must be healthy. */
  tick(): void {
    const {raft, clock, logger, isActive, onProposed} = this.#parts;
    const {membership} = raft;
    if (raft.role !== 'leader' || isJoint(membership)) {
      this.#healthySinceMs.clear();
      return;
    }
    this.#look();
    const sinceMs = clock.monotonicMs() - this.#healthyMs();
    const ready = [...this.#healthySinceMs].filter(([, ms]) => ms <= sinceMs).map(([id]) => id);
    if (ready.length === 0) return;
    const next = withPromoted(membership, ready, isActive);
    if (next === null) return;
    if (raft.proposeMembership(next, raft.lastProposedAtMs).type !== 'accepted') return;
    logger.info({voters: next.voters}, `${ready.join(', ')} becomes a voter`);
    this.#healthySinceMs.clear();
    onProposed();
  }

  #look(): void {
    const {raft, clock, isActive, isExcepted} = this.#parts;
    const {membership} = raft;
    const nowMs = clock.monotonicMs();
    for (const id of this.#healthySinceMs.keys()) {
      if (!membership.learners.includes(id)) this.#healthySinceMs.delete(id);
    }
    for (const id of membership.learners) {
      const hasCome = findMember(membership, id)?.incarnation !== '';
      const isHealthy = hasCome && !isExcepted(id) && isActive(id) && hasCaughtUp(raft, id);
      if (!isHealthy) this.#healthySinceMs.delete(id);
      else if (!this.#healthySinceMs.has(id)) this.#healthySinceMs.set(id, nowMs);
    }
  }

  #healthyMs(): number {
    return Math.max(healthyMsMin, healthyElectionTimeouts * this.#parts.electionTimeoutMs);
  }
}
