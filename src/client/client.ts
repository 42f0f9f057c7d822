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
import {RangeListing, type ListOptions} from './range-listing.ts';
import type {KvRecord} from './record.ts';
import {RandomWriteKeys} from './write-keys.ts';

export class Client {
  readonly #caller: Caller;

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
    this.#caller.useKeys(new RandomWriteKeys(surroundings.randomId));
    if (signal?.aborted === true) this.close();
    else signal?.addEventListener('abort', () => this.close(), {once: true});
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

  /** Ends everything under way with CLIENT_CLOSED. Later calls reject with it. */
  close(): void {
    this.#caller.close();
  }
}
