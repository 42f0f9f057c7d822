/**
 * Reads of the state at one moment. All methods are synchronous and short; a long range is read
 * slice by slice, pinned to a revision, with other work in between.
 */
import type {KeyRange} from './command.ts';
import type {LeaseTable} from './lease-table.ts';
import type {KeyRecord} from './result.ts';

export type LeaseReader = Pick<LeaseTable, 'get' | 'keys' | 'list'>;

export interface RangeSliceRequest {
  readonly range: KeyRange;
  /** Of the state to read; 0: the current one. */
  readonly revision: number;
  readonly isReverse: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /** Records (or counted keys) this slice may hold. */
  readonly countMax: number;
  /** Bytes of keys and values after which the slice ends; it holds at least one record. */
  readonly sizeBytesMax: number;
  /**
   * Rows looked at (also deleted or newer ones, and those of the history) after which the slice
   * ends. Every 8 KiB of a row's value count as another row.
   */
  readonly rowCountMax: number;
}

export interface RangeSlice {
  /** Copies, safe to keep. Empty with countOnly. */
  readonly records: readonly KeyRecord[];
  readonly count: number;
  /**
   * The range that has not been looked at yet, null when everything has been. It may turn out to
   * hold no key, and it may be all of it: the rows are not in order yet, ask again in another turn.
   */
  readonly rest: KeyRange | null;
}

export interface StateReader {
  /**
   * Of this node now. `keys` and `list` are those of `revision`; `get` may be ahead of it by a
   * command that is being executed.
   */
  readonly leases: LeaseReader;
  /** 1 for an empty store. */
  revision(): number;
  /** 0: nothing has been compacted. */
  compactedRevision(): number;
  /** Keys that exist at the current revision. */
  keyCount(): number;
  /**
   * The record of `key` at `revision` (0: current), a copy; null when absent. Throws RosettaError
   * REVISION_COMPACTED (revision < compactedRevision) or REVISION_IN_FUTURE.
   */
  get(key: Uint8Array, revision: number): KeyRecord | null;
  /** Throws as `get` does. */
  rangeSlice(request: RangeSliceRequest): RangeSlice;
}
