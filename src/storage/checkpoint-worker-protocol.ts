/**
 * What the main thread and the checkpoint's thread say to each other. Requests are answered in any
 * order, each exactly once; requests of one kind are performed in the order they were sent.
 */
import type {PruneRange} from '../kv/rows.ts';
import type {SharedRecords} from './packed-records.ts';

export type CheckpointRequest =
  /** From now on writes go to this environment; the one before is closed and `remove`d. */
  | {readonly type: 'open'; readonly path: string; readonly remove: string | null}
  /** `meta` as encodeMeta returns it. */
  | {
      readonly type: 'write';
      readonly records: SharedRecords;
      readonly meta: Uint8Array;
      /** Answered with the row key from which to go on. */
      readonly prune: PruneRange | null;
      readonly pruneRowCountMax: number;
    }
  /**
   * Copies what is in use to `path`, durably and prepared to be put in force, in a new directory
   * that an error removes again.
   */
  | {readonly type: 'compact'; readonly path: string; readonly reserveSizeBytes: number}
  /** Removes such a copy, or another file or directory that nobody wants. */
  | {readonly type: 'discard'; readonly path: string}
  /** Copies the environment to `directory`; answered with the meta and the size of the copy. */
  | {
      readonly type: 'export';
      readonly copyId: number;
      readonly directory: string;
      readonly reserveSizeBytes: number;
    }
  /** Closes and removes the copy; its readers are closed before. */
  | {readonly type: 'closeExport'; readonly copyId: number}
  /** `after` as encodePosition returns it. */
  | {
      readonly type: 'openReader';
      readonly copyId: number;
      readonly streamId: number;
      readonly after: Uint8Array;
    }
  /**
   * Answered with the next block, null after the last. `memory`, of the size of the largest block,
   * moves to the thread, and back with a block of rows in it.
   */
  | {readonly type: 'readBlock'; readonly streamId: number; readonly memory: ArrayBuffer}
  | {readonly type: 'closeReader'; readonly streamId: number}
  | {
      readonly type: 'beginImport';
      readonly streamId: number;
      readonly path: string;
      readonly meta: Uint8Array;
      /** Free space without which nothing is begun. */
      readonly sizeBytes: number;
    }
  /** Answered with the position that the stream is to go on from. */
  | {readonly type: 'beginStream'; readonly streamId: number}
  /** A block that has memory of its own moves to the thread. */
  | {readonly type: 'importBlock'; readonly streamId: number; readonly block: Uint8Array}
  /** What was imported is durable then, and prepared to be put in force. */
  | {readonly type: 'finishImport'; readonly streamId: number}
  /** Removes what was written, `directory` included. */
  | {readonly type: 'abortImport'; readonly streamId: number; readonly directory: string}
  /** Closes everything; the thread ends after its answer. */
  | {readonly type: 'close'};

export type CheckpointRequestOf<Type extends CheckpointRequest['type']> = Extract<
  CheckpointRequest,
  {readonly type: Type}
>;

export interface CheckpointRequestMessage {
  readonly id: number;
  readonly request: CheckpointRequest;
}

export interface CheckpointError {
  readonly message: string;
  /** `ENOSPC`, `EIO` or what else the system said; null for everything else. */
  readonly code: string | null;
  /** The file that is damaged, null if none is. */
  readonly damagedPath: string | null;
}

export interface CheckpointReply {
  readonly id: number;
  readonly error: CheckpointError | null;
  /** A block, a meta, a position or a row key, depending on the request. */
  readonly bytes: Uint8Array | null;
  readonly sizeBytes: number;
}
