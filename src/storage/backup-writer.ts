/**
 * A snapshot of the checkpoint as the bytes of a backup file, piece by piece as they are asked for.
 */
import {must} from '../base/assert.ts';
import {checksum, joinChecksums} from '../base/checksum.ts';
import {BackupContentReader} from './backup-content.ts';
import type {BackupHead} from './backup-format.ts';
import {encodeBackupEnd, encodeBackupHead} from './backup-format.ts';
import type {SnapshotExport, SnapshotReader} from './checkpoint-store.ts';
import {checksumOfBlock} from './snapshot-block.ts';
import {SnapshotDecoder, visitViews} from './snapshot-stream.ts';

/** What the snapshot does not say itself. */
export type BackupOrigin = Pick<BackupHead, 'clusterId' | 'nodeId' | 'version' | 'createdAtMs'>;

type PieceCallback = (error: Error | null, piece: Uint8Array | null) => void;

export class BackupWriter {
  readonly head: BackupHead;
  readonly #snapshot: SnapshotExport;
  readonly #reader: SnapshotReader;
  /** Read or made, and not handed out yet. */
  readonly #pieces: Uint8Array[];
  #sizeBytes = 0;
  #checksum = 0;
  #isAtEnd = false;

  /** Use openBackupWriter. `blocks`: what was taken from the reader to know the head. */
  constructor(options: {
    readonly snapshot: SnapshotExport;
    readonly reader: SnapshotReader;
    readonly head: BackupHead;
    readonly blocks: readonly Uint8Array[];
  }) {
    this.#snapshot = options.snapshot;
    this.#reader = options.reader;
    this.head = options.head;
    this.#pieces = [encodeBackupHead(options.head), ...options.blocks];
  }

  /**
   * The next piece of the file, null after the last. A view, valid until the next call. One at a
   * time; never called back at once.
   */
  next(callback: PieceCallback): void {
    const piece = this.#pieces.shift();
    if (piece !== undefined) {
      process.nextTick(() => callback(null, this.#counted(piece)));
      return;
    }
    if (this.#isAtEnd) {
      process.nextTick(() => callback(null, null));
      return;
    }
    this.#reader.next((error, block) => {
      if (error !== null) {
        callback(error, null);
      } else if (block === null) {
        this.#isAtEnd = true;
        callback(null, encodeBackupEnd({sizeBytes: this.#sizeBytes, checksum: this.#checksum}));
      } else {
        callback(null, this.#counted(block, checksumOfBlock(block)));
      }
    });
  }

  /** Removes the copy behind it. Safe at any time. */
  close(): void {
    this.#snapshot.close();
  }

  #counted(piece: Uint8Array, sum = checksum(piece)): Uint8Array {
    this.#sizeBytes += piece.length;
    this.#checksum = joinChecksums(this.#checksum, sum, piece.length);
    return piece;
  }
}

/** Takes over `snapshot`, which is closed when there is an error. */
export function openBackupWriter(
  snapshot: SnapshotExport,
  origin: BackupOrigin,
  callback: (error: Error | null, writer: BackupWriter | null) => void,
): void {
  const fail = (error: unknown): void => {
    snapshot.close();
    callback(error instanceof Error ? error : new Error(String(error)), null);
  };
  const reader = snapshot.open(null);
  reader.next((headerError, header) => {
    if (headerError !== null) {
      fail(headerError);
      return;
    }
    // The next block may come in its memory.
    const kept = new Uint8Array(must(header, 'a header block'));
    reader.next((rowsError, first) => {
      if (rowsError !== null) {
        fail(rowsError);
        return;
      }
      const blocks = [kept, must(first, 'a block of rows or the end')];
      let head: BackupHead;
      try {
        head = headOf(snapshot, origin, blocks);
      } catch (error) {
        fail(error);
        return;
      }
      callback(null, new BackupWriter({snapshot, reader, head, blocks}));
    });
  });
}

/** The meta row is the first of all rows, so the first block of rows has it. */
function headOf(
  snapshot: SnapshotExport,
  origin: BackupOrigin,
  blocks: readonly Uint8Array[],
): BackupHead {
  const reader = new BackupContentReader();
  const visitRow = visitViews((rowKey, value) => reader.takeRow(rowKey, value));
  const decoder = new SnapshotDecoder(snapshot.meta, visitRow);
  for (const block of blocks) decoder.takeBlock(block);
  const {index, term, membership} = snapshot.meta;
  return {
    ...origin,
    ...reader.content(),
    index,
    term,
    estimatedSizeBytes: snapshot.sizeBytes,
    membership,
  };
}
