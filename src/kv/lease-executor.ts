/** Executes what commands do with leases. */
import {assert, must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import type {LeaseGrantCommand, LeaseQuery, LeaseRevokeCommand} from './command.ts';
import type {EventWriter} from './event-writer.ts';
import {noFreeIdDetail} from './lease-table.ts';
import type {Lease, LeaseTable} from './lease-table.ts';
import type {CommandResult} from './result.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import type {Steps} from './steps.ts';
import {stepChangeCountMax, stepSizeBytesMax} from './steps.ts';

export class LeaseExecutor {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #events: EventWriter;
  readonly #leases: LeaseTable;

  constructor(parts: {
    readonly rows: RowStore;
    readonly meta: StateMeta;
    readonly events: EventWriter;
    readonly leases: LeaseTable;
  }) {
    this.#rows = parts.rows;
    this.#meta = parts.meta;
    this.#events = parts.events;
    this.#leases = parts.leases;
  }

  grant(command: LeaseGrantCommand): CommandResult {
    const {revision} = this.#meta;
    const leases = this.#leases;
    if (command.id !== 0 && leases.get(command.id) !== null) {
      const detail = `There is a lease ${command.id} already.`;
      return {type: 'refused', revision, code: 'LEASE_EXISTS', detail};
    }
    if (leases.count >= limits.leaseCountMax) {
      const detail = `There are ${leases.count} leases already.`;
      return {type: 'refused', revision, code: 'OVERLOADED', detail};
    }
    leases.forgetFoundIds();
    if (command.id === 0 && !leases.findId()) {
      return {type: 'refused', revision, code: 'OVERLOADED', detail: noFreeIdDetail};
    }
    const id = command.id === 0 ? leases.drawId() : command.id;
    const {ttlMs} = leases.grant(id, command.ttlMs, null);
    return {type: 'lease', revision, id, ttlMs, remainingMs: ttlMs};
  }

  *revoke({leases}: LeaseRevokeCommand): Steps<CommandResult> {
    const chosen = leases.flatMap(({id, grant}) => {
      const lease = this.#leases.get(id);
      return lease !== null && (grant === 0 || grant === lease.grant) ? [lease] : [];
    });
    const [first] = leases;
    if (chosen.length === 0 && leases.length === 1 && first?.grant === 0) {
      return notFound(first.id, this.#meta.revision);
    }
    this.#events.begin();
    this.#events.beginStep();
    let deletedCount = 0;
    let isFull = false;
    // A lease that is named twice is gone after the first time.
    for (const lease of new Map(chosen.map(each => [each.id, each])).values()) {
      isFull ||= deletedCount > 0 && deletedCount + lease.keyCount > limits.leaseKeyCountMax;
      if (isFull) this.#leases.passOver(lease);
      else deletedCount += yield* this.#revokeOne(lease);
    }
    this.#events.finish();
    return {type: 'lease-revoke', revision: this.#meta.revision, deletedCount};
  }

  /** Never logged by a leader; see LeaseQuery. */
  query({id}: LeaseQuery): CommandResult {
    const {revision} = this.#meta;
    const lease = this.#leases.get(id);
    if (lease === null) return notFound(id, revision);
    return {type: 'lease', revision, id, ttlMs: lease.ttlMs, remainingMs: 0};
  }

  *#revokeOne(lease: Lease): Steps<number> {
    let deletedCount = 0;
    // Behind the last one: a scan from the beginning would walk over all that are deleted.
    let after: Uint8Array | null = null;
    for (;;) {
      const keys = this.#leases.keysInCommand(lease.id, after, stepChangeCountMax);
      if (keys === null) {
        this.#rows.prepareScans();
        yield;
        continue;
      }
      for (const key of keys) {
        if (this.#events.readSizeBytes() >= stepSizeBytesMax) yield* this.#pause();
        this.#events.delete(key, must(this.#events.latestHead(key), 'a leased key exists'));
      }
      deletedCount += keys.length;
      if (keys.length < stepChangeCountMax) break;
      after = must(keys.at(-1), 'a key');
      yield* this.#pause();
    }
    assert(deletedCount === lease.keyCount, 'lease % has % keys', lease.id, deletedCount);
    if (deletedCount > 0) yield* this.#pause();
    // A private one went with its key.
    if (!lease.isPrivate) this.#leases.remove(lease);
    return deletedCount;
  }

  *#pause(): Steps<void> {
    yield;
    this.#events.beginStep();
  }
}

function notFound(id: number, revision: number): CommandResult {
  return {type: 'refused', revision, code: 'LEASE_NOT_FOUND', detail: `There is no lease ${id}.`};
}
