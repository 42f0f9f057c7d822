/**
 * A former leader has clients that wait for entries of its own. It must hear that they are
 * committed, and from the moment that its removal is logged it hears nothing more. So its removal
 * waits until it was told, or for a moment: one whose disk is full may never say that it was.
 */
import type {Clock} from '../base/clock.ts';
import type {NodeId} from '../raft/ids.ts';
import type {MemberProgress} from '../raft/raft.ts';

const waitMsMax = 1_000;

export class CommitWait {
  readonly #clock: Clock;
  /** Since when the removal of each waits. */
  readonly #sinceMs = new Map<NodeId, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the removal of `id`, of which this is known, is to be asked for again. */
  mustWait(id: NodeId, isActive: boolean, progress: MemberProgress | undefined): boolean {
    // Undefined: this node does not lead, or it is no member any more.
    const mayHear = isActive && progress?.state !== 'snapshot' && progress?.wasToldCommit === false;
    if (!mayHear) {
      this.#sinceMs.delete(id);
      return false;
    }
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = this.#sinceMs.get(id) ?? nowMs;
    this.#sinceMs.set(id, sinceMs);
    return nowMs - sinceMs < waitMsMax;
  }
}
