/**
 * A running member as the front doors see it. Every door (HTTP today) is built on this interface
 * alone. Callbacks run exactly once, never inside the call itself.
 */
import type {RosettaError} from '../base/errors.ts';
import type {CommandResult} from '../kv/result.ts';
import type {StateReader} from '../kv/state-reader.ts';
import type {NodeId} from '../raft/ids.ts';
import {isNodeId} from '../raft/ids.ts';

export type Consistency = 'linearizable' | 'local';

export type NodeState = 'leader' | 'follower' | 'candidate' | 'learner';

/** The body of GET /status. */
export interface NodeStatus {
  readonly id: string;
  readonly clusterId: string | null;
  readonly version: string;
  readonly state: NodeState;
  readonly term: number;
  readonly leader: string | null;
  readonly ready: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastLogIndex: number;
  readonly log: {readonly entries: number; readonly bytes: number};
  readonly revision: number;
  readonly compactedRevision: number;
  readonly keys: number;
  readonly checkpointIndex: number;
  readonly uptimeSeconds: number;
  readonly stateHash: string;
  readonly diverged: boolean;
}

export interface LeaderStatus {
  readonly id: string;
  readonly listen: string;
  readonly http: string;
  readonly term: number;
}

export interface MemberStatus {
  readonly id: string;
  readonly listen: string;
  readonly http: string;
  readonly role: 'voter' | 'learner';
  readonly state: 'leader' | 'follower' | 'unreachable' | 'unknown';
  readonly matchIndex: number | null;
}

/** 1 to 64 of A-Z a-z 0-9 _ - */
export type MemberId = NodeId;

export function isMemberId(text: string): text is MemberId {
  return isNodeId(text);
}

/** What an operator asks of the cluster as a whole. Addresses are `host:port`. */
export type ClusterChange =
  /** Always as a learner, promoted by itself once it has caught up. */
  | {readonly type: 'add'; readonly id: MemberId; readonly listen: string}
  | {readonly type: 'remove'; readonly id: MemberId}
  /** Hands leadership to a voter. */
  | {readonly type: 'lead'; readonly id: MemberId};

export type ClusterChangeCallback = (error: RosettaError | null) => void;

export type ProposeCallback = (error: RosettaError | null, result: CommandResult | null) => void;
export type ReadCallback = (error: RosettaError | null, reader: StateReader | null) => void;

export type BackupCallback = (error: RosettaError | null, backup: Backup | null) => void;

export interface ReadOptions {
  readonly consistency: Consistency;
  readonly timeoutMs: number;
}

/** A consistent copy of the state, as the bytes of a backup file. */
export interface Backup {
  readonly clusterId: string;
  readonly revision: number;
  /**
   * The next piece, at most limits.snapshotBlockSizeBytesMax; null after the last. A view, valid
   * until the next call. One at a time. After an error there is nothing but `close`.
   */
  next(callback: (error: Error | null, piece: Uint8Array | null) => void): void;
  /** Must be called, also after the last piece. Safe at any time. */
  close(): void;
}

export interface Service {
  /**
   * Replicates an encoded command, from any node. Exactly one of error and result is null. The
   * error's `outcome` says whether the command may have happened.
   */
  propose(
    command: Uint8Array,
    options: {readonly timeoutMs: number},
    callback: ProposeCallback,
  ): void;
  /**
   * Linearizable: the reader sees every write acknowledged anywhere before this call. Local: the
   * state of this node as it is. The reader is valid during the callback; a slice read later sees
   * the state of that moment, so long reads pin the revision.
   */
  read(options: ReadOptions, callback: ReadCallback): void;
  /**
   * Holds what a read with these options would see. The timeout bounds that read, not the copying.
   * Exactly one of error and backup is null.
   */
  backup(options: ReadOptions, callback: BackupCallback): void;
  /**
   * From any node. Without an error the change is committed and in force on this node; what is
   * refused was not logged.
   */
  changeCluster(
    change: ClusterChange,
    options: {readonly timeoutMs: number},
    callback: ClusterChangeCallback,
  ): void;
  status(): NodeStatus;
  /** Null: this node knows no leader. */
  leader(): LeaderStatus | null;
  members(): readonly MemberStatus[];
  /** Null when ready to serve; otherwise why not, with the code to answer. */
  notReady(): RosettaError | null;
}
