/**
 * The state machine's rows as one ordered store: the active overlay above the frozen one above the
 * checkpoint. It also decides the moment at which a frozen overlay may be forgotten: when the
 * checkpoint reads back the index the overlay was frozen for, and not before.
 */
import {assert} from '../base/assert.ts';
import {compareBytes} from '../base/bytes.ts';
import type {PruneRange, RowRange, RowStore} from '../kv/rows.ts';
import type {CheckpointSpace} from './checkpoint-space.ts';
import type {CheckpointMeta, CheckpointStore} from './checkpoint-store.ts';
import type {OverlayCursor} from './overlay.ts';
import {Overlay} from './overlay.ts';
import {RecordMemory} from './record-memory.ts';

type Visit = (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean;

interface FrozenPrefix {
  readonly overlay: Overlay;
  /** The last log entry whose rows are in `overlay`. */
  readonly meta: CheckpointMeta;
  /** All rows of it are in `overlay` or below. */
  readonly prune: PruneRange | null;
}

export class StateStore implements RowStore {
  readonly #checkpoint: CheckpointStore;
  readonly #memory = new RecordMemory();
  #active = new Overlay(null, this.#memory);
  /** Set from freezing until the checkpoint holds it; stays over a failure for lack of space. */
  #frozen: FrozenPrefix | null = null;
  #isWriting = false;
  /** What of the history may go and has not. */
  #prune: PruneRange | null = null;
  #prunedTo: Uint8Array | null = null;
  /** Up to where the second part of ranges has been looked at in this life. */
  #lookedTo: Uint8Array | null = null;

  constructor(checkpoint: CheckpointStore) {
    this.#checkpoint = checkpoint;
  }

  get(rowKey: Uint8Array): Uint8Array | undefined {
    let value = this.#active.get(rowKey);
    if (value === undefined) value = this.#frozen?.overlay.get(rowKey);
    if (value === undefined) return this.#checkpoint.get(rowKey);
    return value ?? undefined;
  }

  put(rowKey: Uint8Array, value: Uint8Array): void {
    this.#active.put(rowKey, value);
  }

  delete(rowKey: Uint8Array): void {
    this.#active.delete(rowKey);
  }

  prune(range: PruneRange): void {
    const tailStart = laterOf(range.tailStart, this.#lookedTo ?? range.tailStart);
    this.#prune = {
      ...range,
      tailStart: compareBytes(tailStart, range.end) < 0 ? tailStart : range.end,
    };
  }

  prunedTo(): Uint8Array | null {
    return this.#prunedTo;
  }

  /** A checkpoint would remove some of the history. */
  hasToPrune(): boolean {
    return this.#prune !== null;
  }

  scan(range: RowRange, visit: Visit): void {
    if (compareBytes(range.start, range.end) >= 0) return;
    const layers: Layer[] = [];
    for (const overlay of [this.#active, this.#frozen?.overlay]) {
      if (overlay === undefined || overlay.recordCount === 0) continue;
      const layer = new Layer(overlay.cursor(range));
      if (layer.hasRecord) layers.push(layer);
    }
    const [upper, lower] = layers;
    if (upper === undefined) {
      this.#checkpoint.scan(range, visit);
    } else {
      new Merge(upper, lower ?? null, {visit, isReverse: range.isReverse}).run(body => {
        this.#checkpoint.scan(range, body);
      });
    }
  }

  /** What waits in the checkpoint is in order anyway. */
  isReadyToScan(table: number): boolean {
    const isActiveReady = this.#active.isReadyToScan(table);
    return (this.#frozen?.overlay.isReadyToScan(table) ?? true) && isActiveReady;
  }

  prepareScans(): void {
    if (!this.#active.prepareScans()) this.#frozen?.overlay.prepareScans();
  }

  /** Records in the active overlay. */
  recordCount(): number {
    return this.#active.recordCount;
  }

  /** Bytes of the active overlay. */
  sizeBytes(): number {
    return this.#active.sizeBytes();
  }

  /** Bytes of all rows that are in memory only. */
  totalSizeBytes(): number {
    return this.#active.sizeBytes() + (this.#frozen?.overlay.sizeBytes() ?? 0);
  }

  /**
   * Freezes the active overlay, which holds the log up to and including `meta.index`, and writes
   * it. One at a time. After ENOSPC the frozen overlay stays, reads go on, and the next call writes
   * that one again, with the meta it was frozen for, instead of freezing another: see
   * `checkpointMeta` for what has been reached.
   */
  checkpoint(meta: CheckpointMeta, callback: (error: Error | null) => void): void {
    assert(!this.#isWriting, 'one checkpoint at a time');
    assert(
      meta.index >= this.checkpointMeta().index,
      `checkpoint of ${meta.index} after ${this.checkpointMeta().index}`,
    );
    const prefix = this.#frozen ?? this.#freeze(meta);
    this.#isWriting = true;
    const done = (error: Error | null, prunedTo: Uint8Array | null): void => {
      this.#isWriting = false;
      // A snapshot installed meanwhile has replaced the store this overlay belonged to.
      if (this.#frozen !== prefix) {
        callback(null);
        return;
      }
      if (error === null) this.#dropFrozen(prefix);
      if (prefix.prune !== null && prunedTo !== null) this.#notePruned(prefix.prune, prunedTo);
      callback(error);
    };
    this.#checkpoint.write(prefix.overlay, prefix.meta, done, prefix.prune);
  }

  /** Of `range` everything before `next` has gone. What is to go by now may be more. */
  #notePruned(range: PruneRange, next: Uint8Array): void {
    const {wholeEnd, end} = range;
    const isInTail = compareBytes(next, wholeEnd) >= 0;
    this.#prunedTo = isInTail ? wholeEnd : next;
    if (isInTail) this.#lookedTo = laterOf(next, this.#lookedTo ?? next);
    if (this.#prune === range)
      this.#prune = compareBytes(next, end) < 0 ? restOf(range, next) : null;
    else if (this.#prune !== null) this.prune(this.#prune);
  }

  isCheckpointing(): boolean {
    return this.#isWriting;
  }

  /** The last durable checkpoint. */
  checkpointMeta(): CheckpointMeta {
    return this.#checkpoint.meta();
  }

  checkpointSpace(): CheckpointSpace {
    return this.#checkpoint.space();
  }

  /** As CheckpointStore.shrink; what is read stays the same. */
  shrinkCheckpoint(callback: (error: Error | null, hasShrunk: boolean) => void): void {
    assert(!this.#isWriting, 'no shrink during a checkpoint');
    this.#checkpoint.shrink(callback);
  }

  /** After SnapshotImport.install(): forgets the overlays; reads come from the new checkpoint. */
  resetToCheckpoint(): void {
    this.#active = new Overlay(this.#active, this.#memory);
    this.#frozen = null;
    this.#prune = null;
    this.#prunedTo = null;
    this.#lookedTo = null;
  }

  #freeze(meta: CheckpointMeta): FrozenPrefix {
    const overlay = this.#active;
    overlay.freeze();
    this.#active = new Overlay(overlay, this.#memory);
    this.#frozen = {overlay, meta, prune: this.#prune};
    return this.#frozen;
  }

  #dropFrozen(prefix: FrozenPrefix): void {
    const reached = this.#checkpoint.meta().index;
    assert(reached === prefix.meta.index, 'checkpoint % reads back %', prefix.meta.index, reached);
    this.#frozen = null;
    prefix.overlay.release();
  }
}

function restOf(range: PruneRange, next: Uint8Array): PruneRange {
  const {wholeEnd} = range;
  if (compareBytes(next, wholeEnd) < 0) return {...range, start: next};
  return {...range, start: wholeEnd, tailStart: laterOf(range.tailStart, next)};
}

function laterOf(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareBytes(a, b) < 0 ? b : a;
}

/** A cursor that stands on its next record. */
class Layer {
  readonly cursor: OverlayCursor;
  hasRecord: boolean;

  constructor(cursor: OverlayCursor) {
    this.cursor = cursor;
    this.hasRecord = cursor.next();
  }

  advance(): void {
    this.hasRecord = this.cursor.next();
  }
}

/** Merges up to two layers into the rows that the checkpoint pushes; the uppermost row wins. */
class Merge {
  readonly #upper: Layer;
  readonly #lower: Layer | null;
  readonly #visit: Visit;
  readonly #sign: number;
  #isStopped = false;

  constructor(
    upper: Layer,
    lower: Layer | null,
    options: {readonly visit: Visit; readonly isReverse: boolean},
  ) {
    this.#upper = upper;
    this.#lower = lower;
    this.#visit = options.visit;
    this.#sign = options.isReverse ? -1 : 1;
  }

  run(scanBelow: (visit: Visit) => void): void {
    scanBelow((rowKey, value) => {
      if (this.#visitUpTo(rowKey)) return !this.#isStopped;
      if (!this.#isStopped) this.#isStopped = !this.#visit(rowKey, value);
      return !this.#isStopped;
    });
    if (!this.#isStopped) this.#visitUpTo(null);
  }

  /**
   * Visits the layers' records up to and including `rowKey` (null: all of them). True when one of
   * them has this very key and so hides the row below.
   */
  #visitUpTo(rowKey: Uint8Array | null): boolean {
    while (!this.#isStopped) {
      const layer = this.#nextLayer();
      if (layer === null) return false;
      const {cursor} = layer;
      const order = rowKey === null ? -1 : cursor.compareTo(rowKey) * this.#sign;
      if (order > 0) return false;
      if (!cursor.isDeleted()) {
        this.#isStopped = !this.#visit(cursor.keyView(), cursor.valueView());
      }
      layer.advance();
      if (order === 0) return true;
    }
    return false;
  }

  /** The layer with the next record; equal keys: the upper one, and the lower one skips its own. */
  #nextLayer(): Layer | null {
    const upper = this.#upper;
    const lower = this.#lower;
    if (!lower?.hasRecord) return upper.hasRecord ? upper : null;
    if (!upper.hasRecord) return lower;
    const order = upper.cursor.compareTo(lower.cursor.keyView()) * this.#sign;
    if (order === 0) lower.advance();
    return order <= 0 ? upper : lower;
  }
}
