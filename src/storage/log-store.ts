/** The durable log as node uses it. Implemented over the WAL by storage/wal-log-store.ts. */
import type {Entry} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import type {LogReader} from '../raft/log-reader.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {LogRelease} from './log-retention.ts';

export interface LogWrite {
  readonly hardState: HardState;
  /** Consecutive; the first may supersede existing entries. May be empty. */
  readonly entries: readonly Entry[];
}

/** Who still needs entries, and from where on. */
export interface LogNeeds {
  /** Applied on this node, inclusive. */
  readonly applied: LogIndex;
  /** On a leader: up to where each other member was sent the log, inclusive. */
  readonly sent: readonly LogIndex[];
}

export interface LogStore extends LogReader {
  /**
   * Takes effect for reads at once and is durable when `callback` runs without error. Callbacks run
   * in order; writes that wait for the disk are merged into one batch and one fdatasync. After an
   * error nothing more is written and every waiting callback gets the error. The one error that
   * leaves the log usable is ENOSPC while preparing a segment: see `isFull`.
   */
  append(write: LogWrite, callback: (error: Error | null) => void): void;
  /** Why nothing more is written; null while the log works. It may fail with no write waiting. */
  failure(): Error | null;
  /** True while no segment can be prepared for lack of space; it tries again by itself. */
  isFull(): boolean;
  /** Bytes handed to `append` and not yet durable. */
  pendingSizeBytes(): number;
  /** Milliseconds the oldest write has been waiting for the disk; 0 when none waits. */
  pendingForMs(): number;
  /** Commit index to put into the next batch or sync mark. */
  noteCommit(commit: LogIndex): void;
  /** What memory need not hold any longer leaves it; reading it again costs a read of the file. */
  noteNeeds(needs: LogNeeds): void;
  /** Old segments are recycled as log-retention.ts says. Cheap. */
  release(release: LogRelease): void;
  /**
   * Drops the whole log: it continues after `meta.index`. Takes effect at once; durable together
   * with `hardState` before any later append. The checkpoint at `meta` must be durable already.
   */
  reset(meta: SnapshotMeta, hardState: HardState): void;
  /** Entries and bytes on disk, for /status. */
  size(): {readonly entryCount: number; readonly sizeBytes: number};
  /** Waits for the write in flight, writes a sync mark, closes. */
  close(callback: () => void): void;
}
