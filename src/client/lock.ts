/** A lock: one holder at a time as far as clocks and leases go, and beyond that a fencing token. */
import type {Caller} from './call.ts';
import type {CallOptions} from './client-options.ts';
import {Contender, type ContendOptions} from './contender.ts';
import {Holding} from './holding.ts';

export class Lock extends Holding {
  readonly name: string;

  private constructor(name: string, place: Contender) {
    super(place);
    this.name = name;
  }

  static async acquire(caller: Caller, name: string, options: ContendOptions): Promise<Lock> {
    return new Lock(name, await Contender.first(caller, name, '', options));
  }

  /** Lets the next one in. Idempotent. */
  release(options: CallOptions = {}): Promise<void> {
    return this.leave(options);
  }
}
