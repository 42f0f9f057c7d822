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

/** Two parts of the history, by row keys, of which events may go: kv/history-pruner.ts. */
export interface PruneRange {
  /** Inclusive. */
  readonly start: Uint8Array;
  /** Exclusive: up to here events go as they come. */
  readonly wholeEnd: Uint8Array;
  /** Inclusive, at least `wholeEnd`: from here on those go that a later one has replaced. */
  readonly tailStart: Uint8Array;
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
   * These parts of the history may go: some of them with each checkpoint, until all have. What was
   * said before is forgotten. What has been looked at of the second part is not looked at again.
   */
  prune(range: PruneRange): void;
  /** The row key, at most `wholeEnd`, up to which it has gone, durably; null: nothing has yet. */
  prunedTo(): Uint8Array | null;
  /**
   * Whether a scan in this table would be short. False: the order of many new rows has to be found
   * first; `prepareScans` does that piece by piece, a scan would do it at one stretch.
   */
  isReadyToScan(table: number): boolean;
  /** One short piece of work for tables that were not ready; nothing when there are none. */
  prepareScans(): void;
}
