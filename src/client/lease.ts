/**
 * Leases, kept alive while the program lives. A node counts a lease's time from when it handled the
 * grant or the keepalive, which is after the client sent it: so this side counts from the sending,
 * less a tenth for clocks that run apart, and gives the lease up before any node can.
 */
import type {Bytes} from './bytes-text.ts';
import type {Caller} from './call.ts';
import {ClientError, invalidArgument, isClientError} from './client-error.ts';
import type {CallOptions} from './client-options.ts';
import {asObject, keyOf, listField, numberField, parseObject, textField} from './record.ts';

export interface LeaseOptions extends CallOptions {
  /** Seconds without a keepalive after which the lease and its keys go: 0.1 to 10^9. */
  readonly ttl: number;
  /** Default true. Otherwise call `keepAlive` in time. */
  readonly keepAlive?: boolean | undefined;
}

export interface LeaseStatus {
  readonly id: string;
  /** Seconds, as granted. */
  readonly ttl: number;
  /** Seconds left; a leader that is new has given full time again. */
  readonly remaining: number;
  /** Text, or the bytes of what is no UTF-8; at most 10,000. */
  readonly keys: readonly Bytes[];
  /** There are other keys. */
  readonly more: boolean;
}

/** Of the time that a node promises, what this side believes in. */
const believedShare = 0.9;
/** Keepalives go out so often within the lifetime. */
const keepAlivesPerTtl = 3;
/** So much sooner after one that failed. */
const hurry = 10;
const ttlSecondsMin = 0.1;
const ttlSecondsMax = 1e9;
/** The longest that timers can count. */
const timerMsMax = 2 ** 31 - 1;

export class Lease {
  readonly id: string;
  /** Seconds. */
  readonly ttl: number;
  readonly #caller: Caller;
  readonly #lost = new AbortController();
  /** Ends the keepalives. */
  readonly #ended = new AbortController();
  /** Of the client's clock: until then no node can have ended the lease. */
  #believedUntilMs = 0;

  /** Use `grantLease`. `sentAtMs`: when the request for it left, at the earliest. */
  constructor(
    caller: Caller,
    lease: {readonly id: string; readonly ttl: number},
    sentAtMs: number,
  ) {
    this.#caller = caller;
    this.id = lease.id;
    this.ttl = lease.ttl;
    this.#renewed(sentAtMs);
    void this.#watchExpiry();
  }

  /**
   * Fires, with a LEASE_LOST, when the lease may have expired, before any node lets it expire; not
   * when it is revoked here. Stop then what the lease stands for. A program that was stopped longer
   * than the lease lasts hears of it late: only a fencing token protects from that.
   */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether the lease certainly lasts, by the clock and not by a timer that may be late. */
  get isHeld(): boolean {
    if (this.#ended.signal.aborted) return false;
    if (this.#caller.nowMs() < this.#believedUntilMs) return true;
    this.#lose('no keepalive was answered in time');
    return false;
  }

  /** Gives the lease its full time again. Rejects with LEASE_NOT_FOUND when it has expired. */
  async keepAlive(options: CallOptions = {}): Promise<void> {
    const sentAtMs = this.#caller.nowMs();
    const target = `/lease/${this.id}/keepalive`;
    try {
      await this.#caller.call({method: 'POST', target, repeat: 'freely'}, options);
    } catch (error) {
      if (isClientError(error, 'LEASE_NOT_FOUND')) this.#lose('the lease has expired');
      throw error;
    }
    if (!this.#ended.signal.aborted) this.#renewed(sentAtMs);
  }

  /** Ends the lease; its keys go, at one revision. Idempotent. */
  async revoke(options: CallOptions = {}): Promise<void> {
    this.#stop();
    const target = `/lease/${this.id}`;
    await this.#caller.call(
      {method: 'DELETE', target, repeat: 'with-key', accepts: 'LEASE_NOT_FOUND'},
      options,
    );
  }

  /** Until the lease is lost, revoked, or the client closed. Never rejects. */
  async keepAliveForever(): Promise<void> {
    const intervalMs = (this.ttl * 1000) / keepAlivesPerTtl;
    const {signal} = this.#ended;
    let isAnswered = true;
    for (;;) {
      const pauseMs = isAnswered ? intervalMs : intervalMs / hurry;
      await this.#caller.sleep(Math.min(pauseMs, timerMsMax), signal);
      if (signal.aborted) return;
      if (this.#caller.isClosed) {
        this.#lose('the client was closed');
        return;
      }
      const leftMs = this.#believedUntilMs - this.#caller.nowMs();
      // The next one goes out anyway; the deadline of the lease is the expiry timer's business.
      const timeoutMs = Math.min(Math.max(leftMs, 1), clampedMs(intervalMs));
      isAnswered = await this.keepAlive({signal, timeoutMs}).then(
        () => true,
        () => false,
      );
    }
  }

  #renewed(sentAtMs: number): void {
    this.#believedUntilMs = sentAtMs + this.ttl * 1000 * believedShare;
  }

  /** Until the lease is lost, revoked, or the client closed. */
  async #watchExpiry(): Promise<void> {
    while (this.isHeld) {
      if (this.#caller.isClosed) {
        this.#lose('the client was closed');
        return;
      }
      const leftMs = this.#believedUntilMs - this.#caller.nowMs();
      await this.#caller.sleep(Math.min(Math.max(leftMs, 0), timerMsMax), this.#ended.signal);
    }
  }

  #lose(why: string): void {
    if (this.#ended.signal.aborted) return;
    this.#stop();
    this.#lost.abort(new ClientError('LEASE_LOST', `lease ${this.id}: ${why}`));
  }

  #stop(): void {
    this.#ended.abort();
  }
}

export async function grantLease(caller: Caller, options: LeaseOptions): Promise<Lease> {
  const {ttl, keepAlive = true} = options;
  if (!(ttl >= ttlSecondsMin && ttl <= ttlSecondsMax)) {
    throw invalidArgument(`ttl must be ${ttlSecondsMin} to ${ttlSecondsMax} seconds`);
  }
  const sentAtMs = caller.nowMs();
  const body = JSON.stringify({ttl});
  const call = {method: 'POST', target: '/lease', body, repeat: 'with-key'} as const;
  const fields = parseObject((await caller.call(call, options)).body);
  const granted = {id: textField(fields, 'id'), ttl: numberField(fields, 'ttl')};
  const lease = new Lease(caller, granted, sentAtMs);
  if (keepAlive) void lease.keepAliveForever();
  return lease;
}

/** Null: there is no such lease. */
export async function leaseStatus(
  caller: Caller,
  id: string,
  options: CallOptions,
): Promise<LeaseStatus | null> {
  const target = `/lease/${encodeURIComponent(id)}`;
  const call = {method: 'GET', target, repeat: 'freely', accepts: 'LEASE_NOT_FOUND'} as const;
  const answer = await caller.call(call, options);
  if (answer.status === 404) return null;
  const fields = asObject(parseObject(answer.body), 'a lease');
  return {
    id: textField(fields, 'id'),
    ttl: numberField(fields, 'ttl'),
    remaining: numberField(fields, 'remaining'),
    keys: listField(fields, 'keys').map(keyOf),
    more: fields['more'] === true,
  };
}

function clampedMs(ms: number): number {
  return Math.min(Math.max(ms, 1), 60_000);
}
