/**
 * The client: one object for a whole program. It keeps to the node that works, tries the others in
 * turn when it does not, and sends requests again as their outcome allows (call.ts).
 *
 * Keys and values are text, which means its UTF-8 bytes, or bytes. Every promise rejects with
 * ClientError alone; docs/client.md says what each call guarantees.
 */
import type {Bytes} from './bytes-text.ts';
import {Caller, checkedTimeout} from './call.ts';
import {clientLimits, type CallOptions} from './client-options.ts';
import type {ConnectOptions, Surroundings} from './client-options.ts';
import {
  clusterMembers,
  nodeStatus,
  type MemberStatus,
  type NodeStatus,
  type StatusOptions,
} from './cluster-requests.ts';
import type {ContendOptions} from './contender.ts';
import {Election} from './election.ts';
import {Endpoints} from './endpoints.ts';
import {
  compactTo,
  countKeys,
  deleteKey,
  deleteRange,
  getRecord,
  putValue,
  type DeleteOptions,
  type DeleteResult,
  type GetOptions,
  type KeyRange,
  type PutOptions,
  type PutResult,
} from './kv-requests.ts';
import {grantLease, leaseStatus, type Lease, type LeaseOptions, type LeaseStatus} from './lease.ts';
import {keepLeaseAlive, listLeases, revokeLease, type LeaseSummary} from './lease-requests.ts';
import {Lock} from './lock.ts';
import {RangeListing, type ListOptions} from './range-listing.ts';
import type {KvRecord} from './record.ts';
import {SessionKeys} from './session.ts';
import {runTransaction, type Transaction, type TransactionResult} from './transaction.ts';
import {Watch, type WatchOptions, type WatchRange} from './watch.ts';

export class Client {
  readonly #caller: Caller;
  readonly #keys: SessionKeys;
  readonly #signal: AbortSignal | undefined;
  #closing: Promise<void> | null = null;

  /** Use `connect`. Throws INVALID_ARGUMENT. */
  constructor(options: ConnectOptions, surroundings: Surroundings) {
    const {timeoutMs, attemptTimeoutMs, signal} = options;
    const {timeoutMsDefault, timeoutMsMax} = clientLimits;
    const {attemptTimeoutMsDefault, attemptTimeoutMsMax} = clientLimits;
    this.#caller = new Caller({
      endpoints: new Endpoints(options.endpoints, surroundings),
      surroundings,
      timeoutMs: checkedTimeout(timeoutMs ?? timeoutMsDefault, 'timeoutMs', timeoutMsMax),
      attemptTimeoutMs: checkedTimeout(
        attemptTimeoutMs ?? attemptTimeoutMsDefault,
        'attemptTimeoutMs',
        attemptTimeoutMsMax,
      ),
    });
    this.#keys = new SessionKeys(this.#caller);
    this.#caller.useKeys(this.#keys);
    this.#signal = signal;
    if (signal?.aborted === true) this.#onSignal();
    else signal?.addEventListener('abort', this.#onSignal, {once: true});
  }

  /**
   * The record of a key, null when there is none. Linearizable: it shows every write that was
   * acknowledged, to anybody, before the call. Always definite, sent again freely.
   *
   * With `revision`: the record then; rejects with REVISION_COMPACTED or REVISION_IN_FUTURE.
   */
  get(key: Bytes, options: GetOptions = {}): Promise<KvRecord | null> {
    return getRecord(this.#caller, key, options);
  }

  /**
   * Sets a key. When it resolves, the write is on the disks of a majority and happened once,
   * however often it had to be sent. When it rejects with outcome `definite`, it never happened and
   * never will.
   *
   * Rejects with PRECONDITION_FAILED when a condition does not hold, LEASE_NOT_FOUND.
   */
  put(key: Bytes, value: Bytes, options: PutOptions = {}): Promise<PutResult> {
    return putValue(this.#caller, key, value, options);
  }

  /** Deletes a key; of none, it changes nothing. Guarantees and errors are those of `put`. */
  delete(key: Bytes, options: DeleteOptions = {}): Promise<DeleteResult> {
    return deleteKey(this.#caller, key, options);
  }

  /** Deletes a range at one revision, all of it or nothing. More than 10,000: TOO_MANY_KEYS. */
  deleteRange(range: KeyRange, options: CallOptions = {}): Promise<DeleteResult> {
    return deleteRange(this.#caller, range, options);
  }

  /**
   * The records of a range, in byte order and of one moment: `for await (const record of
   * client.list({prefix: 'a/'}))`, or `await client.list({prefix: 'a/'}).all()`.
   */
  list(range: KeyRange = {}, options: ListOptions = {}): RangeListing {
    return new RangeListing(this.#caller, range, options);
  }

  /** The number of keys in a range. */
  count(
    range: KeyRange = {},
    options: GetOptions = {},
  ): Promise<{readonly count: number; readonly revision: number}> {
    return countKeys(this.#caller, range, options);
  }

  /**
   * Compares, then `success` or `failure`: atomic, at one revision, seen by everybody as a whole.
   * Guarantees and errors are those of `put`; two writes of one key: DUPLICATE_KEY.
   */
  txn(transaction: Transaction, options: CallOptions = {}): Promise<TransactionResult> {
    return runTransaction(this.#caller, transaction, options);
  }

  /**
   * Every change of a key or range from now or from a revision on: in order, each once, none left
   * out, whichever node tells it and however often the connection is cut. `for await (const event
   * of client.watch({prefix: 'a/'}))`.
   */
  watch(range: WatchRange = {}, options: WatchOptions = {}): Watch {
    return new Watch(this.#caller, range, options);
  }

  /** A lease, kept alive by itself until it is revoked; its `signal` tells of its loss. */
  lease(options: LeaseOptions): Promise<Lease> {
    return grantLease(this.#caller, options);
  }

  /** What is known of any lease; null: it does not exist. */
  leaseStatus(id: string, options: CallOptions = {}): Promise<LeaseStatus | null> {
    return leaseStatus(this.#caller, id, options);
  }

  /** All leases there are, by id, a page at a time: `for await (const page of client.leases())`. */
  leases(options: CallOptions = {}): AsyncIterable<readonly LeaseSummary[]> {
    return listLeases(this.#caller, options);
  }

  /** Gives any lease its full time again. Rejects with LEASE_NOT_FOUND when it has expired. */
  keepLeaseAlive(id: string, options: CallOptions = {}): Promise<LeaseSummary> {
    return keepLeaseAlive(this.#caller, id, options);
  }

  /** Ends any lease; its keys go, at one revision. Rejects with LEASE_NOT_FOUND. */
  revokeLease(id: string, options: CallOptions = {}): Promise<DeleteResult> {
    return revokeLease(this.#caller, id, options);
  }

  /** Waits for the lock `name` (keys under `name/`) and resolves holding it. First come first. */
  lock(name: string, options: ContendOptions = {}): Promise<Lock> {
    return Lock.acquire(this.#caller, name, options);
  }

  /** The election `name`, with keys under `name/`. */
  election(name: string): Election {
    return new Election(this.#caller, name);
  }

  /** Makes revisions before `revision` unreadable. Rejects with REVISION_IN_FUTURE. */
  compact(
    revision: number,
    options: CallOptions = {},
  ): Promise<{readonly compactedRevision: number}> {
    return compactTo(this.#caller, revision, options);
  }

  /** What one node says of itself. */
  status(options: StatusOptions = {}): Promise<NodeStatus> {
    return nodeStatus(this.#caller, options);
  }

  /** The members as one node sees them, also without a leader. */
  members(options: StatusOptions = {}): Promise<readonly MemberStatus[]> {
    return clusterMembers(this.#caller, options);
  }

  /** Such as `http://localhost:9080`, in the order they were given. */
  get endpoints(): readonly string[] {
    return this.#caller.endpoints.origins;
  }

  /**
   * Ends everything under way with CLIENT_CLOSED, and later calls too. Resolves when the nodes have
   * been told to forget the client's session, or were not reached at once; never rejects.
   */
  close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onSignal);
    const {sessionId} = this.#keys;
    this.#closing ??= this.#caller.close(
      sessionId === null ? null : {method: 'DELETE', target: `/session/${sessionId}`},
    );
    return this.#closing;
  }

  readonly #onSignal = (): void => void this.close();
}
