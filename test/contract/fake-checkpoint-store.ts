/**
 * A checkpoint store in memory that crashes on request, for tests and the simulator. The disk
 * outlives the store: after a crash a new store on the same disk sees what was durable, and only
 * that. Calls back through `schedule`, so the caller decides when things happen.
 */
import {assert} from '../../src/base/assert.ts';
import {compareBytes} from '../../src/base/bytes.ts';
import {pruneHistory, pruneRowCountBehind} from '../../src/kv/history-pruner.ts';
import type {PrunedRows} from '../../src/kv/history-pruner.ts';
import type {PruneRange, RowRange} from '../../src/kv/rows.ts';
import {noIndex, noTerm} from '../../src/raft/ids.ts';
import {emptyMembership} from '../../src/raft/membership.ts';
import type {CheckpointSpace} from '../../src/storage/checkpoint-space.ts';
import type {
  CheckpointMeta,
  CheckpointStore,
  SnapshotExport,
  SnapshotImport,
  SnapshotReader,
} from '../../src/storage/checkpoint-store.ts';
import type {FrozenOverlay} from '../../src/storage/overlay.ts';
import type {SnapshotPosition} from '../../src/storage/snapshot-position.ts';
import {SnapshotDecoder, SnapshotEncoder, visitViews} from '../../src/storage/snapshot-stream.ts';
import type {RowChange} from './sorted-rows.ts';
import {SortedRows, keyText} from './sorted-rows.ts';

interface Checkpoint {
  readonly meta: CheckpointMeta;
  readonly rows: SortedRows;
}

export class FakeCheckpointDisk {
  durable: Checkpoint = {
    meta: {index: noIndex, term: noTerm, membership: emptyMembership},
    rows: SortedRows.none,
  };
  /** The error code of the next write, import or shrink: `ENOSPC` leaves the store usable. */
  nextFailure: string | null = null;
  /** There is space for the rows of a write, and none to remove others. */
  cannotPrune = false;
  /** A commit is visible to reads some time before it is durable, as in LMDB. */
  isVisibleEarly = true;
  /** Size of the file: it grows with what is written, and nothing but a shrink makes it smaller. */
  sizeBytes = 0;
  /** Times a shrink has succeeded. */
  shrinkCount = 0;
  /** CURRENT names it, and the directory that says so is not synced. */
  #unsynced: Checkpoint | null = null;
  /** Crashes between the switch to an installed snapshot and the sync behind it. */
  cutSwitchCount = 0;
  /** Times a part of the history was removed, and those of them after which more was to go. */
  pruneCount = 0;
  partialPruneCount = 0;

  /** As durable, without what is to fail. */
  copy(): FakeCheckpointDisk {
    const copy = new FakeCheckpointDisk();
    copy.durable = this.durable;
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }

  /** The process ends, and perhaps the machine: then `isKept` says what became of the switch. */
  end(isKept: () => boolean): void {
    if (this.#unsynced === null) return;
    this.cutSwitchCount += 1;
    if (isKept()) this.syncSwitch();
    this.#unsynced = null;
  }

  beginSwitch(next: Checkpoint): void {
    this.#unsynced = next;
  }

  syncSwitch(): void {
    this.durable = this.#unsynced ?? this.durable;
    this.#unsynced = null;
  }

  takeFailure(): Error | null {
    const code = this.nextFailure;
    this.nextFailure = null;
    return code === null ? null : Object.assign(new Error(`fake ${code}`), {code});
  }
}

export type Schedule = (callback: () => void) => void;

export class FakeCheckpointStore implements CheckpointStore {
  readonly #disk: FakeCheckpointDisk;
  readonly #schedule: Schedule;
  #visible: Checkpoint;
  #meta: CheckpointMeta;
  #isWriting = false;
  #isCrashed = false;
  #failure: Error | null = null;
  #installCount = 0;
  #isShrinking = false;
  /** Writes begun and snapshots installed. */
  #changeCount = 0;

  constructor(disk: FakeCheckpointDisk, schedule: Schedule) {
    this.#disk = disk;
    this.#schedule = schedule;
    // What a killed process has renamed stays renamed.
    disk.end(() => true);
    this.#visible = disk.durable;
    this.#meta = disk.durable.meta;
  }

  /** From here on nothing happens: no callback runs, nothing becomes durable. */
  crash(): void {
    this.#isCrashed = true;
  }

  meta(): CheckpointMeta {
    return this.#meta;
  }

  get(rowKey: Uint8Array): Uint8Array | undefined {
    return this.#visible.rows.get(keyText(rowKey));
  }

  scan(range: RowRange, visit: Visit): void {
    scanRows(this.#visible.rows, range, visit);
  }

  write(
    frozen: FrozenOverlay,
    meta: CheckpointMeta,
    callback: (error: Error | null, prunedTo: Uint8Array | null) => void,
    prune: PruneRange | null = null,
  ): void {
    assert(!this.#isWriting, 'one write at a time');
    this.#isWriting = true;
    this.#changeCount += 1;
    const failure = this.#failure ?? this.#disk.takeFailure();
    const installCount = this.#installCount;
    const changes: RowChange[] = [];
    frozen.visit((key, value) => {
      changes.push([keyText(key), value === null ? null : new Uint8Array(value)]);
    });
    const next = {meta, rows: this.#visible.rows.with(changes)};
    if (failure === null && this.#disk.isVisibleEarly) this.#visible = next;
    this.#later(() => {
      this.#isWriting = false;
      if (failure !== null) {
        if (!('code' in failure && failure.code === 'ENOSPC')) this.#failure = failure;
        callback(failure, null);
        return;
      }
      if (installCount === this.#installCount) this.#adopt(next);
      this.#isWriting = prune !== null;
      if (prune === null) callback(null, null);
      else this.#prune(prune, pruneRowCountBehind(frozen.recordCount), callback);
    });
  }

  /** In a commit of its own. */
  #prune(
    range: PruneRange,
    rowCountMax: number,
    callback: (error: null, prunedTo: Uint8Array | null) => void,
  ): void {
    const before = this.#visible;
    const {rows, prunedTo} = pruned(before.rows, range, rowCountMax);
    const {cannotPrune} = this.#disk;
    this.#later(() => {
      this.#isWriting = false;
      if (cannotPrune) {
        callback(null, null);
        return;
      }
      // Unless a snapshot has taken their place.
      if (this.#visible === before) this.#adopt({meta: before.meta, rows});
      if (rows !== before.rows) this.#disk.pruneCount += 1;
      if (compareBytes(prunedTo, range.end) < 0) this.#disk.partialPruneCount += 1;
      callback(null, prunedTo);
    });
  }

  exportSnapshot(callback: (error: Error | null, snapshot: SnapshotExport | null) => void): void {
    const copy = this.#disk.durable;
    this.#later(() => {
      callback(null, new FakeSnapshotExport(copy, action => this.#later(action)));
    });
  }

  beginImport(meta: CheckpointMeta): SnapshotImport {
    return new FakeSnapshotImport(meta, {
      later: action => this.#later(action),
      takeFailure: () => this.#disk.takeFailure(),
      install: (rows, callback) => {
        assert(meta.index > this.#meta.index, 'an older snapshot');
        this.#changeCount += 1;
        const next = {meta, rows};
        this.#later(() => {
          this.#disk.beginSwitch(next);
          this.#later(() => {
            this.#disk.syncSwitch();
            this.#installCount += 1;
            this.#disk.sizeBytes = 0;
            this.#adopt(next);
            callback(null);
          });
        });
      },
    });
  }

  space(): CheckpointSpace {
    const {sizeBytes, durable} = this.#disk;
    return {sizeBytes, usedSizeBytes: durable.rows.sizeBytes};
  }

  shrink(callback: (error: Error | null, hasShrunk: boolean) => void): void {
    assert(!this.#isShrinking, 'one shrink at a time');
    assert(!this.#isWriting, 'no shrink during a write');
    this.#isShrinking = true;
    const changeCount = this.#changeCount;
    const copy = this.#disk.durable;
    const failure = this.#failure ?? this.#disk.takeFailure();
    this.#later(() => {
      this.#isShrinking = false;
      const hasShrunk = failure === null && changeCount === this.#changeCount;
      if (hasShrunk) {
        // What the copy does not hold is gone, as it would be with the file.
        this.#adopt(copy);
        this.#disk.sizeBytes = copy.rows.sizeBytes;
        this.#disk.shrinkCount += 1;
      }
      callback(failure, hasShrunk);
    });
  }

  close(callback: () => void): void {
    this.#later(callback);
  }

  #adopt(next: Checkpoint): void {
    if (!this.#isCrashed) {
      this.#disk.durable = next;
      this.#disk.sizeBytes = Math.max(this.#disk.sizeBytes, next.rows.sizeBytes);
    }
    this.#visible = next;
    this.#meta = next.meta;
  }

  #later(action: () => void): void {
    this.#schedule(() => {
      if (!this.#isCrashed) action();
    });
  }
}

type Visit = (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean;

function scanRows(rows: SortedRows, range: RowRange, visit: Visit): void {
  const first = rows.placeOf(keyText(range.start));
  const end = rows.placeOf(keyText(range.end));
  for (let i = 0; i < end - first; i++) {
    const place = range.isReverse ? end - 1 - i : first + i;
    const key = Buffer.from(rows.keys[place] as string, 'latin1');
    if (!visit(key, rows.values[place] as Uint8Array)) return;
  }
}

function pruned(
  from: SortedRows,
  range: PruneRange,
  rowCountMax: number,
): {rows: SortedRows; prunedTo: Uint8Array} {
  const gone = new Set<string>();
  const view: PrunedRows = {
    get: rowKey => from.get(keyText(rowKey)),
    scan: (part, visit) => scanRows(from, part, visit),
    delete: rowKey => {
      gone.add(keyText(rowKey));
    },
  };
  const prunedTo = pruneHistory(view, range, rowCountMax);
  const changes = [...gone].sort().map((key): RowChange => [key, null]);
  return {rows: changes.length === 0 ? from : from.with(changes), prunedTo};
}

class FakeSnapshotExport implements SnapshotExport {
  readonly meta: CheckpointMeta;
  readonly sizeBytes: number;
  readonly #copy: Checkpoint;
  readonly #later: Schedule;
  readonly #readers: FakeSnapshotReader[] = [];
  #isClosed = false;

  constructor(copy: Checkpoint, later: Schedule) {
    this.meta = copy.meta;
    this.sizeBytes = copy.rows.sizeBytes;
    this.#copy = copy;
    this.#later = later;
  }

  open(after: SnapshotPosition | null): SnapshotReader {
    const reader = new FakeSnapshotReader(blocksOf(this.#copy, after), this.#later);
    this.#readers.push(reader);
    if (this.#isClosed) reader.close();
    return reader;
  }

  close(): void {
    this.#isClosed = true;
    for (const reader of this.#readers) reader.close();
  }
}

class FakeSnapshotReader implements SnapshotReader {
  readonly #blocks: Uint8Array[];
  readonly #later: Schedule;
  #lent: Uint8Array | null = null;
  #isClosed = false;

  constructor(blocks: Uint8Array[], later: Schedule) {
    this.#blocks = blocks;
    this.#later = later;
  }

  next(callback: (error: Error | null, block: Uint8Array | null) => void): void {
    // Whoever still holds the last one is to notice.
    this.#lent?.fill(0xdb);
    this.#lent = null;
    this.#later(() => {
      if (this.#isClosed) return;
      this.#lent = this.#blocks.shift() ?? null;
      callback(null, this.#lent);
    });
  }

  close(): void {
    this.#isClosed = true;
  }
}

function blocksOf(copy: Checkpoint, after: SnapshotPosition | null): Uint8Array[] {
  const encoder = new SnapshotEncoder(after);
  const blocks = [encoder.header(copy.meta)];
  const takeRows = (): boolean => {
    const block = encoder.takeRows();
    if (block !== null) blocks.push(block);
    return block !== null;
  };
  const held = after === null ? null : keyText(after.lastKey);
  const {keys, values} = copy.rows;
  for (const [place, key] of keys.entries()) {
    if (held !== null && key <= held) continue;
    const rowKey = Buffer.from(key, 'latin1');
    const value = values[place] as Uint8Array;
    encoder.addRow(Buffer.concat([rowKey, value]), rowKey.length);
    while (encoder.isFull()) takeRows();
  }
  while (takeRows());
  blocks.push(encoder.end());
  return blocks;
}

interface FakeImportParts {
  readonly later: Schedule;
  readonly takeFailure: () => Error | null;
  readonly install: (rows: SortedRows, callback: (error: Error | null) => void) => void;
}

class FakeSnapshotImport implements SnapshotImport {
  readonly #parts: FakeImportParts;
  #changes: RowChange[] = [];
  readonly #decoder: SnapshotDecoder;
  #failure: Error | null = null;
  #isFinished = false;

  constructor(meta: CheckpointMeta, parts: FakeImportParts) {
    this.#parts = parts;
    const visitRow = visitViews((key, value) => {
      this.#changes.push([keyText(key), new Uint8Array(value)]);
    });
    this.#decoder = new SnapshotDecoder(meta, visitRow);
  }

  begin(callback: (error: Error | null, after: SnapshotPosition | null) => void): void {
    const failure = this.#failure;
    const after = failure === null ? this.#decoder.begin() : null;
    this.#parts.later(() => callback(failure, after));
  }

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    this.#failure ??= this.#parts.takeFailure();
    try {
      if (this.#failure === null) this.#decoder.takeBlock(block);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    }
    // Whoever still holds it is to notice.
    block.fill(0xdb);
    const failure = this.#failure;
    this.#parts.later(() => callback(failure));
  }

  finish(callback: (error: Error | null) => void): void {
    if (!this.#decoder.isComplete) this.#failure ??= new Error('the snapshot ends early');
    this.#isFinished = this.#failure === null;
    const failure = this.#failure;
    this.#parts.later(() => callback(failure));
  }

  install(callback: (error: Error | null) => void): void {
    assert(this.#isFinished, 'only a finished import is installed');
    this.#parts.install(SortedRows.none.with(this.#changes), callback);
  }

  abort(): void {
    this.#changes = [];
    this.#isFinished = false;
  }
}
