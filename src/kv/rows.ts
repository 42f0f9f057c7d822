/**
 * Ordered rows of bytes: all that the state machine knows of storage. The first byte of every row
 * key is its table (kv/tables.ts). Storage implements it as an overlay over the checkpoint, tests
 * as a sorted array. Synchronous; one writer.
 */

export interface RowRange {
  /** Inclusive. */
  readonly start: Uint8Array;
  /** Exclusive. */
  readonly end: Uint8Array;
  readonly isReverse: boolean;
}

/** A part of the history, of which nothing is read any more: kv/history-pruner.ts. */
export interface PruneRange {
  /** Row keys of the history. Inclusive. */
  readonly start: Uint8Array;
  /** Exclusive: before it events go as they come, behind it those that others leave behind. */
  readonly wholeEnd: Uint8Array;
  /** Exclusive. */
  readonly end: Uint8Array;
  /** As StateMeta. */
  readonly imagesFromRevision: number;
}

export interface RowReader {
  /** A view that is valid until the next call of any method; undefined: no such row. */
  get(rowKey: Uint8Array): Uint8Array | undefined;
  /**
   * Visits the rows of the range in byte order (or its reverse) until `visit` returns false. Both
   * arguments are views, valid during the visit only. `visit` must not write rows. The caller keeps
   * one scan short (a few hundred rows) and continues with another from where it stopped.
   */
  scan(range: RowRange, visit: (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean): void;
}

export interface RowStore extends RowReader {
  /** Copies both arguments. Row keys: 1 to 1100 bytes. */
  put(rowKey: Uint8Array, value: Uint8Array): void;
  /** Deleting an absent row is allowed. */
  delete(rowKey: Uint8Array): void;
  /**
   * This part of the history may go: some of it with each checkpoint, until all has. What was said
   * before is forgotten.
   */
  prune(range: PruneRange): void;
  /** The row key, at most `wholeEnd`, up to which it has gone, durably; null: nothing has so far. */
  prunedTo(): Uint8Array | null;
  /**
   * Whether a scan in this table would be short. False: the order of many new rows has to be found
   * first; `prepareScans` does that piece by piece, a scan would do it at one stretch.
   */
  isReadyToScan(table: number): boolean;
  /** One short piece of work for tables that were not ready; nothing when there are none. */
  prepareScans(): void;
}
