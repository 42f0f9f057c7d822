/**
 * The rows written since the last checkpoint, deletions included, in memory. A hash table of record
 * numbers leads to packed records; the order of keys is kept for tables that somebody scans.
 * Freezing an overlay makes it immutable, and the checkpoint's thread reads its memory directly.
 */
import {assert} from '../base/assert.ts';
import type {RowRange} from '../kv/rows.ts';
import type {SharedRecords} from './packed-records.ts';
import {PackedRecords} from './packed-records.ts';
import {RecordMemory} from './record-memory.ts';
import {RecordOrder} from './record-order.ts';

const rowKeySizeBytesMax = 1100;
/** Table 0 belongs to the checkpoint itself. */
const reservedTable = 0;

/** An overlay that nobody writes any more. */
export interface FrozenOverlay {
  readonly recordCount: number;
  /** For a reader in another thread. */
  share(): SharedRecords;
  /** All records in key order; null: the row is deleted. The arguments are views. */
  visit(visitRecord: (rowKeyView: Uint8Array, valueView: Uint8Array | null) => void): void;
}

/** Walks the records of a range in order, without an object per record. */
export interface OverlayCursor {
  /** Steps to the next record; false when there is none. Call it before the first access. */
  next(): boolean;
  isDeleted(): boolean;
  keyView(): Uint8Array;
  valueView(): Uint8Array;
  /** Byte order of the record's key against `rowKey`. */
  compareTo(rowKey: Uint8Array): number;
}

/** A table that was scanned is kept in order for so many overlays more. */
const orderedOverlayCount = 16;

const slotCountMin = 1024;
/** What an overlay begins with at most: enough for one that is written out in time. */
const firstSlotCountMax = 64 * 1024;
/** More than one, so that a table has moved before it is outgrown again. */
const movedCountPerPut = 8;

/** The records of one table, which share the first byte of their keys. */
interface TableOrder {
  readonly order: RecordOrder;
  /** Overlays for which scans are expected: records are sorted in as they come. 0: none. */
  expectedCount: number;
}

export class Overlay implements FrozenOverlay {
  readonly #records: PackedRecords;
  /** By table. */
  readonly #tables: (TableOrder | undefined)[] = [];
  /** Record number plus one; 0: free. Open addressing; the length is a power of two. */
  #slots: Int32Array;
  /**
   * While the table grows: the one before, which leads to the records up to `#outgrownCount`. The
   * first `#movedCount` of them, and all later records, are in `#slots`.
   */
  #outgrown: Int32Array | null = null;
  #outgrownCount = 0;
  #movedCount = 0;
  #isFrozen = false;

  /** `previous`: the overlay this one follows; what was scanned there will be scanned here. */
  constructor(previous: Overlay | null = null, memory: RecordMemory = new RecordMemory()) {
    this.#records = PackedRecords.empty(memory);
    this.#slots = new Int32Array(slotCountFor(previous?.recordCount ?? 0));
    const tables = previous === null ? [] : previous.#tables;
    for (const [index, table] of tables.entries()) {
      const expectedCount = (table?.expectedCount ?? 0) - 1;
      if (expectedCount > 0) this.#tableOrder(index).expectedCount = expectedCount;
    }
  }

  get recordCount(): number {
    return this.#records.recordCount;
  }

  sizeBytes(): number {
    const slotCount = this.#slots.length + (this.#outgrown?.length ?? 0);
    return this.#records.sizeBytes() + slotCount * Int32Array.BYTES_PER_ELEMENT;
  }

  /** A view, valid until the next write; null: deleted here; undefined: nothing known. */
  get(rowKey: Uint8Array): Uint8Array | null | undefined {
    const id = this.#find(rowKey, hashOf(rowKey));
    if (id < 0) return undefined;
    return this.#records.isDeleted(id) ? null : this.#records.valueView(id);
  }

  put(rowKey: Uint8Array, value: Uint8Array): void {
    this.#write(rowKey, value);
  }

  delete(rowKey: Uint8Array): void {
    this.#write(rowKey, null);
  }

  /** After the checkpoint has it all: nobody reads this overlay any more. */
  release(): void {
    assert(this.#isFrozen, 'an overlay in use is not released');
    this.#slots = new Int32Array(slotCountMin);
    this.#outgrown = null;
    this.#tables.length = 0;
    this.#records.release();
  }

  freeze(): FrozenOverlay {
    assert(!this.#isFrozen, 'an overlay is frozen once');
    this.#isFrozen = true;
    return this;
  }

  share(): SharedRecords {
    assert(this.#isFrozen, 'an overlay in use is not shared');
    return this.#records.share();
  }

  /**
   * Whether a cursor in this table would be had at once; whoever asks is expected to scan, and from
   * now on the table is brought into order and kept in it.
   */
  isReadyToScan(table: number): boolean {
    const found = this.#tables[table];
    if (found === undefined) return true;
    found.expectedCount = orderedOverlayCount;
    return found.order.isNearlySorted();
  }

  /** Sorts for a moment where a scan is expected; false when nothing was left to do. */
  prepareScans(): boolean {
    for (const table of this.#tables) {
      if (table === undefined || table.expectedCount === 0) continue;
      if (table.order.isNearlySorted()) continue;
      table.order.tend();
      return true;
    }
    return false;
  }

  /** Nothing may be written while the cursor is in use. */
  cursor(range: RowRange): OverlayCursor {
    const first = range.start[0] ?? 0;
    // A range that ends with its table usually says so by the bare number of the next one.
    const endTable = range.end[0] ?? 0;
    const last = range.end.length === 1 ? endTable - 1 : endTable;
    const parts: Uint32Array[] = [];
    for (let table = first; table <= last; table++) {
      const part = this.#tables[table];
      if (part !== undefined) parts.push(idsInRange(part, range));
    }
    const [only = new Uint32Array(0)] = parts;
    const ids = parts.length <= 1 ? only : concatenate(parts);
    return new Cursor(this.#records, ids, range.isReverse);
  }

  visit(visitRecord: (rowKeyView: Uint8Array, valueView: Uint8Array | null) => void): void {
    const records = this.#records;
    for (const table of this.#tables) {
      if (table === undefined) continue;
      table.order.update();
      for (const id of table.order.sortedView()) {
        visitRecord(records.keyView(id), records.isDeleted(id) ? null : records.valueView(id));
      }
    }
  }

  #write(rowKey: Uint8Array, value: Uint8Array | null): void {
    assert(!this.#isFrozen, 'a frozen overlay is not written');
    const keySize = rowKey.length;
    assert(keySize > 0 && keySize <= rowKeySizeBytesMax, 'row key of % bytes', keySize);
    assert(rowKey[0] !== reservedTable, 'table 0 belongs to the checkpoint');
    const hash = hashOf(rowKey);
    const id = this.#find(rowKey, hash);
    if (id >= 0) {
      this.#records.replace(id, value);
      return;
    }
    if (this.#outgrown !== null) this.#moveSome();
    else if ((this.#records.recordCount + 1) * 2 > this.#slots.length) this.#growSlots();
    const added = this.#records.append(rowKey, value, hash);
    this.#insert(added, hash);
    const table = this.#tableOrder(rowKey[0] ?? 0);
    if (table.order.add(added) && table.expectedCount > 0) table.order.tend();
  }

  #tableOrder(table: number): TableOrder {
    const known = this.#tables[table];
    if (known !== undefined) return known;
    const created: TableOrder = {order: new RecordOrder(this.#records), expectedCount: 0};
    this.#tables[table] = created;
    return created;
  }

  /** The record with this key, -1 if there is none. */
  #find(rowKey: Uint8Array, hash: number): number {
    const id = this.#findIn(this.#slots, rowKey, hash);
    if (id >= 0 || this.#outgrown === null) return id;
    return this.#findIn(this.#outgrown, rowKey, hash);
  }

  #findIn(slots: Int32Array, rowKey: Uint8Array, hash: number): number {
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = (slots[slot] as number) - 1;
      if (id < 0) return -1;
      if (this.#records.hash(id) === hash && this.#records.hasKey(id, rowKey)) return id;
    }
  }

  #insert(id: number, hash: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = id + 1;
  }

  #growSlots(): void {
    this.#outgrown = this.#slots;
    this.#outgrownCount = this.#records.recordCount;
    this.#movedCount = 0;
    this.#slots = new Int32Array(this.#slots.length * 2);
  }

  /** All at one stretch would take tens of milliseconds in a large table. */
  #moveSome(): void {
    const end = Math.min(this.#movedCount + movedCountPerPut, this.#outgrownCount);
    for (let id = this.#movedCount; id < end; id++) this.#insert(id, this.#records.hash(id));
    this.#movedCount = end;
    if (end === this.#outgrownCount) this.#outgrown = null;
  }
}

class Cursor implements OverlayCursor {
  readonly #records: PackedRecords;
  readonly #ids: Uint32Array;
  readonly #step: number;
  #position: number;
  #id = -1;

  constructor(records: PackedRecords, ids: Uint32Array, isReverse: boolean) {
    this.#records = records;
    this.#ids = ids;
    this.#step = isReverse ? -1 : 1;
    this.#position = isReverse ? ids.length - 1 : 0;
  }

  next(): boolean {
    const id = this.#ids[this.#position];
    if (id === undefined) return false;
    this.#position += this.#step;
    this.#id = id;
    return true;
  }

  isDeleted(): boolean {
    return this.#records.isDeleted(this.#id);
  }

  keyView(): Uint8Array {
    return this.#records.keyView(this.#id);
  }

  valueView(): Uint8Array {
    return this.#records.valueView(this.#id);
  }

  compareTo(rowKey: Uint8Array): number {
    return this.#records.compareToKey(this.#id, rowKey);
  }
}

/** The numbers of a table's records in the range, in key order. */
function idsInRange(table: TableOrder, range: RowRange): Uint32Array {
  table.expectedCount = orderedOverlayCount;
  const {order} = table;
  order.update();
  const first = order.lowerBound(range.start);
  return order.sortedView().subarray(first, Math.max(first, order.lowerBound(range.end)));
}

function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const joined = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Of a table that need not grow for so many records, nor hold much more. */
function slotCountFor(recordCount: number): number {
  let slotCount = slotCountMin;
  while (slotCount < recordCount * 2 && slotCount < firstSlotCountMax) slotCount *= 2;
  return slotCount;
}

/** FNV-1a with a final mix, so that neighbouring keys spread over the table. Unsigned. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
