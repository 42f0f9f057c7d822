/**
 * A plain model of leases in the order of the log: which there are, whose each key is, how each is
 * named. No time: that is checks/lease-check.ts.
 */
import {must} from '../../../src/base/assert.ts';

export interface ModelLease {
  readonly id: number;
  /** No other grant has the same number. */
  readonly grant: number;
  readonly ttlMs: number;
  /** Of one key, and gone with it. */
  readonly isPrivate: boolean;
  readonly keys: Set<string>;
}

/** Told of every grant and every end as the log has them. */
export interface LeaseObserver {
  onGranted(lease: ModelLease): void;
  onGone(lease: ModelLease): void;
}

/** docs/formats.md: ids that nobody chose begin there. */
const drawnIdMin = 2 ** 48;

export class LeaseModel {
  readonly #leases = new Map<number, ModelLease>();
  #nextGrant = 1;
  #nextId = drawnIdMin;
  observer: LeaseObserver | null = null;

  get(id: number): ModelLease | null {
    return this.#leases.get(id) ?? null;
  }

  all(): ModelLease[] {
    return [...this.#leases.values()].sort((a, b) => a.id - b.id);
  }

  /** `id` 0: one that is free. */
  grant(id: number, ttlMs: number, isPrivate: boolean): ModelLease {
    const lease = {
      id: id === 0 ? this.#drawId() : id,
      grant: this.#nextGrant++,
      ttlMs,
      isPrivate,
      keys: new Set<string>(),
    };
    this.#leases.set(lease.id, lease);
    this.observer?.onGranted(lease);
    return lease;
  }

  /** 0: none. */
  move(key: string, from: number, to: number): void {
    if (from === to) return;
    const before = this.#leases.get(from);
    before?.keys.delete(key);
    if (before?.isPrivate === true) this.remove(before);
    if (to !== 0) must(this.#leases.get(to), 'the lease of a key').keys.add(key);
  }

  remove(lease: ModelLease): void {
    if (this.#leases.delete(lease.id)) this.observer?.onGone(lease);
  }

  #drawId(): number {
    while (this.#leases.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }
}
