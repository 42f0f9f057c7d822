/** What a lock and a leadership are alike: the first place of a queue, held by a lease. */
import {ClientError} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import type {Contender} from './contender.ts';
import type {Compare} from './transaction.ts';

export class Holding {
  protected readonly place: Contender;
  readonly #over = new AbortController();

  constructor(place: Contender) {
    this.place = place;
    const {signal} = place.lease;
    const onLost = (): void => this.#over.abort(signal.reason);
    if (signal.aborted) onLost();
    else signal.addEventListener('abort', onLost, {once: true});
  }

  /** The key that stands for this holder. */
  get key(): string {
    return this.place.key;
  }

  /**
   * Fencing token: larger than that of every holder before. Hand it to what is protected, and let
   * that refuse smaller ones; or guard transactions of the store with `guard()`.
   */
  get token(): number {
    return this.place.token;
  }

  /**
   * Fires with a LEASE_LOST before anybody else can come first, also when this program gives the
   * place up. Stop working then.
   */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Whether it is certainly still held. */
  get isHeld(): boolean {
    return this.place.lease.isHeld;
  }

  /** A compare that holds while the place is held: writes under it are safe, however late. */
  guard(): Compare {
    return this.place.guard();
  }

  protected leave(options: CallOptions): Promise<void> {
    this.#over.abort(new ClientError('LEASE_LOST', `${this.key} was given up here`));
    return this.place.leave(options);
  }
}
