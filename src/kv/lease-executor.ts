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

/** Keys that one step deletes, of one lease or of several. */
const stepKeyCountMax = 16;

export class LeaseExecutor {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #events: EventWriter;
  readonly #leases: LeaseTable;
  /** Changes of the command when its newest step began. */
  #changeCountBefore = 0;

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
    const [first] = leases;
    if (leases.length === 1 && first?.grant === 0 && this.#named(first) === null) {
      return notFound(first.id, this.#meta.revision);
    }
    this.#events.begin();
    this.#beginStep();
    let deletedCount = 0;
    let isFull = false;
    for (const name of leases) {
      // Each is looked up when its turn comes: one that is named twice is gone by then.
      const lease = this.#named(name);
      if (lease === null) continue;
      isFull ||= deletedCount > 0 && deletedCount + lease.keyCount > limits.leaseKeyCountMax;
      if (isFull) this.#leases.passOver(lease);
      else deletedCount += yield* this.#revokeOne(lease);
    }
    this.#events.finish();
    return {type: 'lease-revoke', revision: this.#meta.revision, deletedCount};
  }

  /** Null: there is none of this id, or it is of another grant. Grant 0: whichever it is. */
  #named({id, grant}: LeaseRevokeCommand['leases'][number]): Lease | null {
    const lease = this.#leases.get(id);
    return lease !== null && (grant === 0 || grant === lease.grant) ? lease : null;
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
        if (this.#isStepFull()) yield* this.#pause();
        this.#events.delete(key, must(this.#events.latestHead(key), 'a leased key exists'));
      }
      deletedCount += keys.length;
      if (keys.length < stepChangeCountMax) break;
      after = must(keys.at(-1), 'a key');
      yield* this.#pause();
    }
    assert(deletedCount === lease.keyCount, 'lease % has % keys', lease.id, deletedCount);
    // A private one went with its key.
    if (!lease.isPrivate) this.#leases.remove(lease);
    return deletedCount;
  }

  #isStepFull(): boolean {
    const changeCount = this.#events.changeCount() - this.#changeCountBefore;
    return changeCount >= stepKeyCountMax || this.#events.readSizeBytes() >= stepSizeBytesMax;
  }

  *#pause(): Steps<void> {
    yield;
    this.#beginStep();
  }

  #beginStep(): void {
    this.#events.beginStep();
    this.#changeCountBefore = this.#events.changeCount();
  }
}

function notFound(id: number, revision: number): CommandResult {
  return {type: 'refused', revision, code: 'LEASE_NOT_FOUND', detail: `There is no lease ${id}.`};
}
