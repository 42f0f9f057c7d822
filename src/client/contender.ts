/**
 * The queue behind locks and elections: each contender puts a key under one prefix, bound to its
 * lease, and whoever has the smallest createRevision is first. The others wait for the key right
 * before theirs, so one that goes wakes one. createRevision grows from holder to holder: it is the
 * fencing token.
 */
import {checkObject} from './argument-check.ts';
import {checkText} from './bytes-text.ts';
import type {Caller} from './call.ts';
import {ClientError, isClientError} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import {putValue} from './kv-requests.ts';
import type {Lease} from './lease.ts';
import {grantLease} from './lease.ts';
import {RangeListing} from './range-listing.ts';
import type {KvRecord} from './record.ts';
import type {Compare} from './transaction.ts';
import {Watch} from './watch.ts';

export interface ContendOptions {
  /** Seconds after which a holder that is silent loses its place: 0.1 to 10^9. Default 10. */
  readonly ttl?: number | undefined;
  /** Ends the wait with ABORTED, and leaves the queue. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the wait with LOCK_HELD, and leaves the queue: 1 to 300,000 ms. Default: no limit. */
  readonly timeoutMs?: number | undefined;
}

const optionNames: readonly string[] = ['ttl', 'signal', 'timeoutMs'];

const ttlSecondsDefault = 10;
/** To leave the queue, after a wait that was given up. */
const farewellMsMax = 1_000;

export class Contender {
  readonly key: string;
  /** createRevision of `key`. */
  readonly token: number;
  readonly lease: Lease;
  readonly #caller: Caller;
  readonly #prefix: string;

  private constructor(
    caller: Caller,
    place: {readonly prefix: string; readonly key: string; readonly token: number},
    lease: Lease,
  ) {
    this.#caller = caller;
    this.#prefix = place.prefix;
    this.key = place.key;
    this.token = place.token;
    this.lease = lease;
  }

  /** Resolves when it is first. */
  static async first(
    caller: Caller,
    name: string,
    value: string,
    options: ContendOptions,
  ): Promise<Contender> {
    checkObject(options, 'the options of a lock or a campaign', optionNames);
    const {ttl = ttlSecondsDefault, signal, timeoutMs} = options;
    const prefix = prefixOf(name);
    const deadlineMs = timeoutMs === undefined ? null : caller.nowMs() + timeoutMs;
    const leftMs = (): number | undefined =>
      deadlineMs === null ? undefined : Math.max(1, deadlineMs - caller.nowMs());
    const lease = await grantLease(caller, {ttl, signal, timeoutMs});
    try {
      const key = prefix + lease.id;
      const put = {lease: lease.id, ifAbsent: true, signal, timeoutMs: leftMs()};
      const {revision} = await putValue(caller, key, value, put);
      const contender = new Contender(caller, {prefix, key, token: revision}, lease);
      await contender.#waitUntilFirst(signal, leftMs());
      return contender;
    } catch (error) {
      const cause: unknown = lease.signal.aborted ? lease.signal.reason : error;
      // Also when nobody knows whether the key was put: it goes with its lease, now or by itself.
      // Whoever closes the client next has left the queue, if that takes no longer than this.
      const isLost = lease.signal.aborted;
      const left = lease.revoke({timeoutMs: farewellMsMax}).catch(() => undefined);
      if (!isLost) await left;
      throw cause;
    }
  }

  /** Holds as long as this contender is in its place: to be put into transactions. */
  guard(): Compare {
    return {key: this.key, target: 'createRevision', op: '=', value: this.token};
  }

  /** Gives the place up. Idempotent. */
  async leave(options: CallOptions = {}): Promise<void> {
    await this.lease.revoke(options);
  }

  /** Another value under the same key. Rejects with LEASE_LOST when the place is lost. */
  async setValue(value: string, options: CallOptions): Promise<void> {
    const {key, lease} = this;
    if (lease.signal.aborted) throw lease.signal.reason;
    await putValue(this.#caller, key, value, {...options, lease: lease.id, ifExists: true});
  }

  async #waitUntilFirst(
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<void> {
    const late = new AbortController();
    const given = signal === undefined ? [] : [signal];
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => late.abort(), Math.ceil(timeoutMs));
    try {
      await this.#becomeFirst(AbortSignal.any([this.lease.signal, late.signal, ...given]));
    } catch (error) {
      const isLate = late.signal.aborted && signal?.aborted !== true;
      if (!isLate || !isClientError(error, 'ABORTED')) throw error;
      const detail = `${this.#prefix.slice(0, -1)} was not free in time`;
      throw new ClientError('LOCK_HELD', detail, {cause: error});
    } finally {
      clearTimeout(timer);
    }
  }

  async #becomeFirst(either: AbortSignal): Promise<void> {
    for (;;) {
      const {records, revision} = await contenders(this.#caller, this.#prefix, {
        signal: either,
      });
      if (!records.some(record => record.createRevision === this.token)) {
        throw new ClientError('LEASE_LOST', `${this.key} was deleted`);
      }
      const before = records.filter(record => record.createRevision < this.token).at(-1);
      if (before === undefined) return;
      await this.#gone(before, revision, either);
    }
  }

  /** Resolves when the key of `before` was deleted, or may have been. */
  async #gone(before: KvRecord, revision: number, signal: AbortSignal): Promise<void> {
    const watch = new Watch(this.#caller, {key: before.keyBytes}, {from: revision + 1, signal});
    try {
      for await (const event of watch) if (event.type === 'delete') return;
    } catch (error) {
      if (!isClientError(error, 'REVISION_COMPACTED')) throw error;
    }
  }
}

/** In the order of their places. Names may be paths: those of `a/b` are none of `a`. */
export async function contenders(
  caller: Caller,
  prefix: string,
  options: CallOptions,
): Promise<{readonly records: readonly KvRecord[]; readonly revision: number}> {
  const {records, revision} = await new RangeListing(caller, {prefix}, options).all();
  const own = records.filter(({key}) => !key.includes('/', prefix.length));
  return {records: own.sort((a, b) => a.createRevision - b.createRevision), revision};
}

/** Throws INVALID_ARGUMENT. */
export function prefixOf(name: string): string {
  checkText(name, 'the name');
  return `${name}/`;
}
