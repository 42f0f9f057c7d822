/** A lock: one holder at a time as far as clocks and leases go, and beyond that a fencing token. */
import type {Caller} from './call.ts';
import type {CallOptions} from './client-options.ts';
import {Contender, type ContendOptions} from './contender.ts';
import type {Compare} from './transaction.ts';

export class Lock {
  readonly name: string;
  readonly #place: Contender;

  private constructor(name: string, place: Contender) {
    this.name = name;
    this.#place = place;
  }

  static async acquire(caller: Caller, name: string, options: ContendOptions): Promise<Lock> {
    return new Lock(name, await Contender.first(caller, name, '', options));
  }

  /** The key that stands for this holder. */
  get key(): string {
    return this.#place.key;
  }

  /**
   * Fencing token: larger than that of every holder before. Hand it to what the lock protects, and
   * let that refuse smaller ones; or guard transactions of the store with `guard()`.
   */
  get token(): number {
    return this.#place.token;
  }

  /** Fires with a LEASE_LOST before anybody else can get the lock. Stop working then. */
  get signal(): AbortSignal {
    return this.#place.lease.signal;
  }

  /** Whether it is certainly still held. */
  get isHeld(): boolean {
    return this.#place.lease.isHeld;
  }

  /** A compare that holds while the lock is held: writes under it are safe, however late. */
  guard(): Compare {
    return this.#place.guard();
  }

  /** Lets the next one in. Idempotent. */
  release(options: CallOptions = {}): Promise<void> {
    return this.#place.leave(options);
  }
}
