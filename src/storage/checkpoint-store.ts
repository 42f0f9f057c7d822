/**
 * The state machine's rows at one applied index, on disk. LMDB in production
 * (lmdb-checkpoint-store.ts), a fake in tests and in the simulator; one contract suite runs on
 * both. Everything is durable or gone after a crash: rows and meta change in one transaction.
 */
import type {PruneRange, RowReader} from '../kv/rows.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointSpace} from './checkpoint-space.ts';
import type {FrozenOverlay} from './overlay.ts';
import type {SnapshotPosition} from './snapshot-position.ts';

/** The log position the rows stand for, and the membership in force there. */
export type CheckpointMeta = SnapshotMeta;

/** A copy of the checkpoint, from which any number of streams may be read at once. */
export interface SnapshotExport {
  readonly meta: CheckpointMeta;
  /** Estimated bytes of all blocks. */
  readonly sizeBytes: number;
  /** The blocks for a receiver that holds what `after` says, of this very copy; null: nothing. */
  open(after: SnapshotPosition | null): SnapshotReader;
  /** Closes every reader and removes the copy. Safe at any time. */
  close(): void;
}

export interface SnapshotReader {
  /**
   * The next block (≤ limits.snapshotBlockSizeBytesMax, checksummed), null after the last. A view,
   * valid until the next call: its memory is for a later block then.
   */
  next(callback: (error: Error | null, block: Uint8Array | null) => void): void;
  /** Nothing is called back afterwards, nor after the copy was closed. Safe at any time. */
  close(): void;
}

export interface SnapshotImport {
  /**
   * Before the first block, and again after a stream broke off: says what is held. The next block
   * is the first of a reader opened there, on the same copy. Not while a call waits for its answer.
   */
  begin(callback: (error: Error | null, after: SnapshotPosition | null) => void): void;
  /**
   * One block as `next` returned it, in order. Its memory is the import's from now on. Several may
   * wait for their answers, which come in order too. An error ends the import, whatever was written
   * behind that block.
   */
  write(block: Uint8Array, callback: (error: Error | null) => void): void;
  /** All blocks are in: verifies the whole and makes it durable beside the current checkpoint. */
  finish(callback: (error: Error | null) => void): void;
  /**
   * After `finish`: switches the checkpoint to the imported one. When the callback runs without
   * error the switch is durable and reads see it, from the turn of the callback on and not before.
   * No write may begin meanwhile. An error is final.
   */
  install(callback: (error: Error | null) => void): void;
  abort(): void;
}

export interface CheckpointStore extends RowReader {
  /** index 0 and an empty membership for a store nothing was written to. */
  meta(): CheckpointMeta;
  /**
   * Writes the frozen rows and `meta` in one durable transaction. When the callback runs without
   * error, reads see them. One write at a time. ENOSPC leaves the store as it was; any other error
   * is final.
   *
   * Behind that, in a transaction of its own, it looks at pruneRowCountBehind(…) rows of `prune`,
   * removes what is to go, and tells the row key from which to go on; null: nothing could be
   * removed, for want of space. `frozen` or the store holds all rows of `prune` and the meta that
   * says so: a crash must not take the compaction back when its events are gone.
   */
  write(
    frozen: FrozenOverlay,
    meta: CheckpointMeta,
    callback: (error: Error | null, prunedTo: Uint8Array | null) => void,
    prune?: PruneRange | null,
  ): void;
  /** A consistent copy of the last durable checkpoint; the live store is not pinned meanwhile. */
  exportSnapshot(callback: (error: Error | null, snapshot: SnapshotExport | null) => void): void;
  /**
   * `sizeBytes`: what the rows will take, about. Without so much free space its `begin` says ENOSPC
   * and nothing is written; 0: whether there is enough shows as it goes.
   */
  beginImport(meta: CheckpointMeta, sizeBytes?: number): SnapshotImport;
  /** Cheap enough for every checkpoint. */
  space(): CheckpointSpace;
  /**
   * Gives free space back: copies what is in use beside the file and switches to the copy, durably;
   * rows and meta stay what they are. Reads and writes go on meanwhile, but a write or an installed
   * snapshot makes the copy worthless: it is thrown away, and `hasShrunk` is false. So it is after
   * an error, which leaves the store as it was. One at a time, and not during a write.
   */
  shrink(callback: (error: Error | null, hasShrunk: boolean) => void): void;
  close(callback: () => void): void;
}
