/**
 * The parts of a transaction that are about one key: compares, puts, gets and deletes. All that it
 * will do is checked before any of it runs; what was checked cannot fail any more.
 */
import {Buffer} from 'node:buffer';
import {must, unreachable} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {CommandBudget} from './command-budget.ts';
import {compareHolds} from './compare.ts';
import type {Compare, DeleteOperation, GetOperation, PutOperation} from './command.ts';
import type {EventWriter} from './event-writer.ts';
import {noFreeIdDetail} from './lease-table.ts';
import type {LeaseTable} from './lease-table.ts';
import {toKeyRecord} from './record-row.ts';
import type {RecordRow} from './record-row.ts';
import type {KeyRecord, OperationResult} from './result.ts';

export type KeyOperation = PutOperation | GetOperation | DeleteOperation;

export class KeyExecutor {
  readonly #events: EventWriter;
  readonly #leases: LeaseTable;
  readonly #budget: CommandBudget;
  /** Of the command being executed, by lease: the keys it would have with those attached so far. */
  readonly #leaseKeyCounts = new Map<number, number>();
  /** Of the command being executed, by key: bytes of the value that it puts. */
  readonly #putSizes = new Map<string, number>();

  constructor(parts: {
    readonly events: EventWriter;
    readonly leases: LeaseTable;
    readonly budget: CommandBudget;
  }) {
    this.#events = parts.events;
    this.#leases = parts.leases;
    this.#budget = parts.budget;
  }

  /** A command begins. Clearing a Map makes a new table for it, also where there is nothing. */
  begin(): void {
    if (this.#leaseKeyCounts.size > 0) this.#leaseKeyCounts.clear();
    if (this.#putSizes.size > 0) this.#putSizes.clear();
    this.#leases.forgetFoundIds();
  }

  holds(compare: Compare, key: Uint8Array): boolean {
    return compareHolds(compare, this.#live(key));
  }

  /** Before the checks, when there is a get to check: it may answer with what the put writes. */
  expectPut(put: PutOperation): void {
    this.#putSizes.set(keyText(put.key), put.value.length);
  }

  /** Throws the reason to refuse the command. */
  check(operation: KeyOperation): void {
    switch (operation.type) {
      case 'put':
        this.#checkPut(operation);
        break;
      case 'get': {
        const size = this.#live(operation.key)?.value.length ?? 0;
        const {size: putCount} = this.#putSizes;
        const putSize = putCount === 0 ? 0 : (this.#putSizes.get(keyText(operation.key)) ?? 0);
        this.#budget.spendResult(Math.max(size, putSize));
        break;
      }
      case 'delete':
        if (operation.wantsPrevious) {
          this.#budget.spendResult(this.#live(operation.key)?.value.length ?? 0);
        }
        break;
      default:
        unreachable(operation);
    }
  }

  run(operation: KeyOperation): OperationResult {
    switch (operation.type) {
      case 'put': {
        const {key, value, leaseId, ttlMs, ignoreValue, ignoreLease, wantsPrevious} = operation;
        const isPlain = ttlMs === 0 && !ignoreValue && !ignoreLease && !wantsPrevious;
        return isPlain ? this.put(key, {value, leaseId}) : this.#runPut(operation);
      }
      case 'get': {
        const live = this.#live(operation.key);
        const record = live && toKeyRecord(operation.key, live, {keysOnly: false});
        return {type: 'get', record};
      }
      case 'delete': {
        const previous: KeyRecord[] = [];
        const isGone = this.delete(operation.key, operation, previous) !== null;
        return {type: 'delete', deletedCount: isGone ? 1 : 0, previous};
      }
      default:
        return unreachable(operation);
    }
  }

  /** A put without options, checked as far as it has a lease. */
  put(
    key: Uint8Array,
    record: {readonly value: Uint8Array; readonly leaseId: number},
  ): OperationResult {
    const version = this.#events.put(key, this.#events.latestHead(key), record);
    return {type: 'put', version, previous: null};
  }

  /** Bytes of the value that was there; null: there was none. */
  delete(
    key: Uint8Array,
    options: {readonly wantsPrevious: boolean},
    previous: KeyRecord[],
  ): number | null {
    const live = this.#live(key);
    if (live === null) return null;
    if (options.wantsPrevious) previous.push(toKeyRecord(key, live, {keysOnly: false}));
    const sizeBytes = live.value.length;
    this.#events.delete(key, live);
    return sizeBytes;
  }

  #checkPut(put: PutOperation): void {
    if (put.leaseId !== 0) this.#checkLease(put.leaseId, put.key);
    if (put.ttlMs !== 0) this.#checkGrant(put.key);
    if (!put.ignoreValue && !put.ignoreLease && !put.wantsPrevious) return;
    const live = this.#live(put.key);
    if (live === null && (put.ignoreValue || put.ignoreLease)) {
      throw new RosettaError('KEY_NOT_FOUND', 'A put that keeps value or lease needs the key.');
    }
    if (put.wantsPrevious) this.#budget.spendResult(live?.value.length ?? 0);
  }

  #checkGrant(key: Uint8Array): void {
    const {count} = this.#leases;
    if (count >= limits.leaseCountMax && !this.#hasPrivateLease(key)) {
      throw new RosettaError('OVERLOADED', `There are ${count} leases already.`);
    }
    if (!this.#leases.findId()) throw new RosettaError('OVERLOADED', noFreeIdDetail);
  }

  /** Which goes when the key gets another. */
  #hasPrivateLease(key: Uint8Array): boolean {
    const id = this.#events.latestHead(key)?.leaseId ?? 0;
    return id !== 0 && this.#leases.get(id)?.isPrivate === true;
  }

  /** The lease of a key with a lifetime of its own is nobody else's. */
  #checkLease(id: number, key: Uint8Array): void {
    // Also where it is the key's own.
    if (this.#events.latestHead(key)?.leaseId === id) return;
    const lease = this.#leases.get(id);
    if (lease === null || lease.isPrivate) {
      throw new RosettaError('LEASE_NOT_FOUND', `There is no lease ${id} to attach a key to.`);
    }
    // What the command itself detaches or deletes is not subtracted.
    const keyCount = (this.#leaseKeyCounts.get(id) ?? lease.keyCount) + 1;
    const max = limits.leaseKeyCountMax;
    if (keyCount > max) {
      const detail = `A lease has at most ${max} keys; attach this one to another lease.`;
      throw new RosettaError('TOO_MANY_KEYS', detail);
    }
    this.#leaseKeyCounts.set(id, keyCount);
  }

  #runPut(put: PutOperation): OperationResult {
    const latest = this.#events.latest(put.key);
    const live = latest === null || latest.isTombstone ? null : latest;
    const previous =
      put.wantsPrevious && live !== null ? toKeyRecord(put.key, live, {keysOnly: false}) : null;
    // Writing may read another row, which ends the life of a view: hence the copy.
    const value = put.ignoreValue
      ? new Uint8Array(must(live, 'checked: the key exists').value)
      : put.value;
    const leaseId = this.#leaseOf(put, live);
    const version = this.#events.put(put.key, latest, {value, leaseId});
    return {type: 'put', version, previous};
  }

  #leaseOf(put: PutOperation, live: RecordRow | null): number {
    if (put.ignoreLease) return must(live, 'checked: the key exists').leaseId;
    if (put.ttlMs === 0) return put.leaseId;
    return this.#leases.grant(this.#leases.drawId(), put.ttlMs, put.key).id;
  }

  /** The row of a key that exists, its value a view. */
  #live(key: Uint8Array): RecordRow | null {
    const latest = this.#events.latest(key);
    return latest === null || latest.isTombstone ? null : latest;
  }
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
