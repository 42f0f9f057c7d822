/** An election: one of several programs leads; the others wait, or follow who leads. */
import {checkObject} from './argument-check.ts';
import type {Caller} from './call.ts';
import {isClientError} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import {Contender, contenders, prefixOf, type ContendOptions} from './contender.ts';
import {Holding} from './holding.ts';
import type {KvRecord} from './record.ts';
import {Watch} from './watch.ts';

export class Election {
  readonly name: string;
  readonly #caller: Caller;

  constructor(caller: Caller, name: string) {
    this.#caller = caller;
    this.name = name;
  }

  /** Resolves when elected. `value` tells the others who leads: an address, for instance. */
  async campaign(value: string, options: ContendOptions = {}): Promise<Leadership> {
    return new Leadership(await Contender.first(this.#caller, this.name, value, options));
  }

  /** The key of the leader, with its value; null: nobody leads. */
  async leader(options: CallOptions = {}): Promise<KvRecord | null> {
    const {records} = await contenders(this.#caller, prefixOf(this.name), options);
    return records[0] ?? null;
  }

  /** The leader now, and then each change: of the leader, or of the value it proclaims. */
  async *observe(
    options: {readonly signal?: AbortSignal | undefined} = {},
  ): AsyncGenerator<KvRecord | null, void, undefined> {
    checkObject(options, 'the options of observe', ['signal']);
    const {signal} = options;
    const prefix = prefixOf(this.name);
    let told: KvRecord | null | undefined;
    for (;;) {
      const {records, revision} = await contenders(this.#caller, prefix, {signal});
      const leader = records[0] ?? null;
      if (told === undefined || leader?.modRevision !== told?.modRevision) {
        told = leader;
        yield leader;
      }
      await this.#change(prefix, revision, signal);
    }
  }

  async #change(prefix: string, revision: number, signal: AbortSignal | undefined): Promise<void> {
    const watch = new Watch(this.#caller, {prefix}, {from: revision + 1, signal});
    try {
      for await (const event of watch) if (event.isLast) return;
    } catch (error) {
      if (!isClientError(error, 'REVISION_COMPACTED')) throw error;
    }
  }
}

export class Leadership extends Holding {
  /** Tells the others another value. */
  proclaim(value: string, options: CallOptions = {}): Promise<void> {
    return this.place.setValue(value, options);
  }

  /** Lets the next one lead. Idempotent. */
  resign(options: CallOptions = {}): Promise<void> {
    return this.leave(options);
  }
}
