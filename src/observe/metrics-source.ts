/** What the metrics are made of. */

/** The part of a running member that is read at every scrape. */
export interface MetricsSource {
  status(): {
    readonly state: string;
    readonly term: number;
    readonly ready: boolean;
    readonly diverged: boolean;
    readonly commitIndex: number;
    readonly appliedIndex: number;
    readonly lastLogIndex: number;
    readonly log: {readonly entries: number; readonly bytes: number};
    readonly revision: number;
    readonly compactedRevision: number;
    readonly keys: number;
    readonly checkpointIndex: number;
  };
  /** Since the start of the process. */
  counts(): {readonly proposed: number; readonly applied: number};
  /** Other members as the leader follows them; matchIndex is null where it is not known. */
  members(): readonly {readonly id: string; readonly matchIndex: number | null}[];
  /** The connections with the other members. */
  peers(): readonly {
    readonly id: string;
    readonly isConnected: boolean;
    readonly bufferedSizeBytes: number;
    readonly droppedCount: number;
  }[];
  /** Bytes handed to the write-ahead log and not yet durable. */
  walPendingSizeBytes(): number;
  checkpointSpace(): {readonly sizeBytes: number; readonly usedSizeBytes: number};
  /** What the Raft address turned away, by reason; also those that never occurred. */
  refusedConnectionCounts(): Readonly<Record<string, number>>;
}

/** Events since the start of the process. */
export interface EventCounts {
  readonly committed: number;
  readonly elections: number;
  readonly leaderChanges: number;
  readonly snapshotsSent: number;
  readonly snapshotsInstalled: number;
}
