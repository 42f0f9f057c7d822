/** What a running member reports as it happens; counters it keeps itself are in its status. */

export interface NodeObserver {
  onCommitted(entryCount: number): void;
  onElectionStarted(): void;
  onLeaderChange(): void;
  onCheckpoint(durationMs: number): void;
  onSnapshotSent(): void;
  onSnapshotInstalled(): void;
}
