/**
 * Leases: keys that live as long as their lease, by id, and the keys of each. Nothing here knows a
 * time; the leader decides when a lease has expired and logs that it is revoked. A private lease
 * belongs to the one key that was put with a lifetime of its own, and is gone with it.
 *
 * Each grant has a number of its own: a revocation that was decided for one grant does not touch a
 * later one of the same id. Bytes: docs/formats.md, "Store rows".
 */
import {assert, must} from '../base/assert.ts';
import {ByteReader, ByteWriter} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {RowStore} from './rows.ts';
import {leaseIdOf, leaseKeyEnd, leaseKeyOf, leaseKeyRow, leaseMetaKey, leaseRow} from './tables.ts';
import {tables} from './tables.ts';

export interface Lease {
  readonly id: number;
  /** Of this grant; no other has the same. At least 1. */
  readonly grant: number;
  readonly ttlMs: number;
  /** Of one key, and gone with it. */
  readonly isPrivate: boolean;
  /** At most limits.leaseKeyCountMax. Of a private one always 1. */
  readonly keyCount: number;
}

interface LeaseRow {
  readonly lease: Lease;
  /** Of a private lease; null: it is not, or of the time when its key had a row as any other. */
  readonly key: Uint8Array | null;
}

/** Who measures time: told of every grant and of every lease that is gone, when it is applied. */
export interface LeaseListener {
  onGranted(lease: Lease): void;
  onGone(lease: Lease): void;
  /** A revocation named it and left it to a later one: it had too many keys for this revision. */
  onPassedOver(lease: Lease): void;
  /** All of them are others: a snapshot took the place of the state. */
  onReplaced(): void;
}

/** Ids drawn here begin there, out of the way of those that clients choose. */
const drawnIdMin = 2 ** 48;
/** Clients may choose ids there too: one command passes over so many that are taken. */
const takenIdCountMax = 1024;
export const noFreeIdDetail =
  'Many leases have ids that clients chose among those to draw; try again.';
const privateFlag = 1;

export class LeaseTable {
  readonly #rows: RowStore;
  readonly #writer = new ByteWriter(40);
  #nextGrant = 1;
  #nextId = drawnIdMin;
  /** In order, from #nextId on; of the command being executed. */
  readonly #foundIds: number[] = [];
  #takenIdCount = 0;
  #count = 0;
  #listener: LeaseListener | null = null;
  /** The row that was read last, as long as nobody wrote it: one command asks for it repeatedly. */
  #found: LeaseRow | null = null;
  readonly #isInCommand: () => boolean;

  /** `isInCommand`: what the rows say is not yet, or no longer, a state that anybody may see. */
  constructor(rows: RowStore, isInCommand: () => boolean = () => false) {
    this.#rows = rows;
    this.#isInCommand = isInCommand;
  }

  get count(): number {
    return this.#count;
  }

  observe(listener: LeaseListener): void {
    this.#listener = listener;
  }

  /** After the rows were replaced. */
  load(): void {
    const bytes = this.#rows.get(leaseMetaKey);
    const reader = bytes === undefined ? null : new ByteReader(bytes);
    this.#nextGrant = reader?.u64() ?? 1;
    this.#nextId = reader?.u64() ?? drawnIdMin;
    this.#count = reader?.u64() ?? 0;
    reader?.end();
    this.#found = null;
    this.#listener?.onReplaced();
  }

  /** Right before the rows are frozen for a checkpoint. */
  save(): void {
    if (this.#nextGrant === 1) return;
    const writer = this.#writer;
    writer.reset();
    writer.u64(this.#nextGrant);
    writer.u64(this.#nextId);
    writer.u64(this.#count);
    this.#rows.put(leaseMetaKey, writer.contentView());
  }

  get(id: number): Lease | null {
    return this.#find(id)?.lease ?? null;
  }

  #find(id: number): LeaseRow | null {
    if (this.#count === 0) return null;
    if (this.#found?.lease.id === id) return this.#found;
    const bytes = this.#rows.get(leaseRow(id));
    if (bytes === undefined) return null;
    this.#found = {lease: decodeLease(id, bytes), key: privateKeyOf(bytes)};
    return this.#found;
  }

  /** A command begins. */
  forgetFoundIds(): void {
    if (this.#foundIds.length > 0) this.#foundIds.length = 0;
    this.#takenIdCount = 0;
  }

  /**
   * Before anything is written: finds another id that no lease has, for `drawId`. False: so many in
   * the way are taken that the command is to be refused; a later one goes on behind them.
   */
  findId(): boolean {
    let id = (this.#foundIds.at(-1) ?? this.#nextId - 1) + 1;
    while (this.get(id) !== null) {
      id++;
      if (++this.#takenIdCount < takenIdCountMax) continue;
      this.#nextId = id;
      return false;
    }
    this.#foundIds.push(id);
    return true;
  }

  /** One that was found, and that no other command will draw. */
  drawId(): number {
    const id = must(this.#foundIds.shift(), 'an id was found');
    this.#nextId = id + 1;
    return id;
  }

  /** `id` must be free. `key`: of a private lease, which the key has next; null: it has no keys. */
  grant(id: number, ttlMs: number, key: Uint8Array | null): Lease {
    assert(ttlMs > 0, 'a lease of % ms', ttlMs);
    const isPrivate = key !== null;
    const keyCount = isPrivate ? 1 : 0;
    const lease: Lease = {id, grant: this.#nextGrant++, ttlMs, isPrivate, keyCount};
    this.#write(lease, key);
    this.#count++;
    this.#listener?.onGranted(lease);
    return lease;
  }

  /** A key changes its lease; 0: none. The new one must exist, and have room for it. */
  move(key: Uint8Array, from: number, to: number): void {
    if (from !== 0) {
      const {lease, key: named} = must(this.#find(from), 'lease % of a key exists', from);
      if (named === null) this.#rows.delete(leaseKeyRow(from, key));
      if (lease.isPrivate) this.remove(lease);
      else this.#addKeys(lease, -1);
    }
    if (to === 0) return;
    const lease = must(this.get(to), 'lease % exists', to);
    // Its row names its key.
    if (lease.isPrivate) return;
    this.#rows.put(leaseKeyRow(to, key), emptyRow);
    this.#addKeys(lease, 1);
  }

  #addKeys(lease: Lease, change: 1 | -1): void {
    const keyCount = lease.keyCount + change;
    assert(keyCount >= 0, 'the keys of lease % are counted', lease.id);
    assert(keyCount <= limits.leaseKeyCountMax, 'lease % has % keys', lease.id, keyCount);
    this.#write({...lease, keyCount}, null);
  }

  #write(lease: Lease, key: Uint8Array | null): void {
    const writer = this.#writer;
    writer.reset();
    writer.u64(lease.grant);
    writer.u64(lease.ttlMs);
    writer.u8(lease.isPrivate ? privateFlag : 0);
    writer.u64(lease.keyCount);
    if (key !== null) writer.raw(key);
    this.#found = null;
    this.#rows.put(leaseRow(lease.id), writer.contentView());
  }

  /** Its keys are gone already. */
  remove(lease: Lease): void {
    this.#found = null;
    this.#rows.delete(leaseRow(lease.id));
    this.#count--;
    assert(this.#count >= 0, 'leases are counted');
    this.#listener?.onGone(lease);
  }

  /** Not revoked with the others of its command. */
  passOver(lease: Lease): void {
    this.#listener?.onPassedOver(lease);
  }

  /** As `keysInCommand`; null also while a command is being executed. */
  keys(id: number, after: Uint8Array | null, countMax: number): readonly Uint8Array[] | null {
    return this.#isInCommand() ? null : this.keysInCommand(id, after, countMax);
  }

  /**
   * Copies of the next keys behind `after`, as the command that is being executed has left them;
   * null: the rows are not in order yet.
   */
  keysInCommand(
    id: number,
    after: Uint8Array | null,
    countMax: number,
  ): readonly Uint8Array[] | null {
    const own = this.#find(id)?.key ?? null;
    if (own !== null) return after === null ? [own] : [];
    if (!this.#rows.isReadyToScan(tables.leaseKeys)) return null;
    const keys: Uint8Array[] = [];
    const first = after === null ? leaseKeyRow(id, new Uint8Array(0)) : leaseKeyRow(id, after);
    const start = after === null ? first : successor(first);
    this.#rows.scan({start, end: leaseKeyEnd(id), isReverse: false}, rowKeyView => {
      keys.push(leaseKeyOf(rowKeyView));
      return keys.length < countMax;
    });
    return keys;
  }

  /**
   * The next leases behind `after`, by id; null: the rows are not in order yet, or a command is
   * being executed.
   */
  list(after: number, countMax: number): readonly Lease[] | null {
    if (this.#isInCommand() || !this.#rows.isReadyToScan(tables.leases)) return null;
    const leases: Lease[] = [];
    const range = {start: leaseRow(after + 1), end: leaseTableEnd, isReverse: false};
    this.#rows.scan(range, (rowKeyView, valueView) => {
      leases.push(decodeLease(leaseIdOf(rowKeyView), valueView));
      return leases.length < countMax;
    });
    return leases;
  }
}

/** Rows are not empty: their store tells those from none. */
const emptyRow = Uint8Array.of(1);
const leaseTableEnd = Uint8Array.of(tables.leases + 1);

function decodeLease(id: number, bytes: Uint8Array): Lease {
  const reader = new ByteReader(bytes);
  const grant = reader.u64();
  const ttlMs = reader.u64();
  const flags = reader.u8();
  const keyCount = reader.u64();
  const isPrivate = (flags & privateFlag) !== 0;
  if (!isPrivate) reader.end();
  return {id, grant, ttlMs, isPrivate, keyCount};
}

const flagsOffset = 16;
const keyOffset = 25;

/** A copy; null: the lease is not private, or of the time when its key had a row as any other. */
function privateKeyOf(row: Uint8Array): Uint8Array | null {
  const isPrivate = ((row[flagsOffset] ?? 0) & privateFlag) !== 0;
  return isPrivate && row.length > keyOffset ? new Uint8Array(row.subarray(keyOffset)) : null;
}

function successor(rowKey: Uint8Array): Uint8Array {
  const next = new Uint8Array(rowKey.length + 1);
  next.set(rowKey);
  return next;
}
