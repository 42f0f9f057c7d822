/** What a Raft instance needs to start. Sizes in bytes, times in ticks. */
import type {Prng} from '../base/prng.ts';
import type {HardState} from './hard-state.ts';
import type {LogIndex, NodeId} from './ids.ts';
import type {LogReader} from './log-reader.ts';
import type {Membership} from './membership.ts';

/** A membership and the index of the entry (or snapshot) that brought it into force. */
export interface MembershipRecord {
  readonly index: LogIndex;
  readonly membership: Membership;
}

export interface RaftOptions {
  readonly id: NodeId;
  /**
   * Of the disk that holds the log, as the membership names it: under a membership that has another
   * one it never stands for election. Whether what others promise comes from the disks that the
   * membership names is for the shell to see to. Left out: no id ever comes back with another disk.
   */
  readonly incarnation?: string;
  /** Minimum silence before a campaign; each timeout is drawn from 1 to 2 times this. */
  readonly electionTimeoutTicks: number;
  readonly heartbeatIntervalTicks: number;
  /** Bytes of entries in one append. */
  readonly appendSizeBytesMax: number;
  /** Bytes and messages sent to one follower and not acknowledged. */
  readonly inflightSizeBytesMax: number;
  readonly inflightCountMax: number;
  /** Bytes proposed and not committed; beyond it proposals are dropped. */
  readonly uncommittedSizeBytesMax: number;
  /** Bytes of committed entries in one Ready. */
  readonly committedSizeBytesMax: number;
  readonly prng: Prng;
  /** All it holds counts as durable, and so does `hardState`: to be synced before. */
  readonly log: LogReader;
  /** As recovered; commit ≤ log.lastIndex(). */
  readonly hardState: HardState;
  /**
   * Memberships of the recovered log, oldest first: the one in force at the start of the log (or
   * of the checkpoint), then every membership entry after it. Never empty.
   */
  readonly memberships: readonly MembershipRecord[];
  /** Applied by the state machine; applied ≤ commit. */
  readonly appliedIndex: LogIndex;
}
