/**
 * Applies committed entries to the state machine, in order and in slices short enough that sockets
 * and heartbeats never wait long behind them. Everything applied is already durable on this disk.
 */
import {assert} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {CommandResult} from '../kv/result.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Entry} from '../raft/entry.ts';
import type {Membership} from '../raft/membership.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';

/** A slice ends after this long; the clock is looked at every few entries, or bytes, only. */
const sliceMs = 2;
const entriesPerLook = 16;
const sizeBytesPerLook = 64 * 1024;

export interface ApplierParts {
  readonly machine: KvStateMachine;
  readonly clock: Clock;
  /** False while the overlay is full: applying pauses until a checkpoint has emptied it. */
  readonly hasRoom: () => boolean;
  /** `result` is null for entries that are not commands. */
  readonly onApplied: (entry: Entry, result: CommandResult | null) => void;
}

export class Applier {
  readonly #parts: ApplierParts;
  readonly #queue: Entry[][] = [];
  #offset = 0;
  #applied: SnapshotMeta;
  #appliedCount = 0;

  constructor(parts: ApplierParts, applied: SnapshotMeta) {
    this.#parts = parts;
    this.#applied = applied;
  }

  /** Index and term of the last applied entry, and the membership in force there. */
  get applied(): SnapshotMeta {
    return this.#applied;
  }

  /** Entries applied since the node started. */
  get appliedCount(): number {
    return this.#appliedCount;
  }

  get hasWork(): boolean {
    return this.#queue.length > 0;
  }

  enqueue(entries: readonly Entry[]): void {
    if (entries.length > 0) this.#queue.push(entries.slice());
  }

  /** Applies one slice; returns whether anything was applied. */
  run(): boolean {
    const {clock, hasRoom} = this.#parts;
    const startedAtMs = clock.monotonicMs();
    let count = 0;
    // Full, so that the first entry looks too.
    let unseenCount = entriesPerLook;
    let unseenSizeBytes = 0;
    for (;;) {
      const batch = this.#queue[0];
      if (batch === undefined) break;
      const entry = batch[this.#offset];
      if (entry === undefined) {
        this.#queue.shift();
        this.#offset = 0;
        continue;
      }
      if (unseenCount >= entriesPerLook || unseenSizeBytes >= sizeBytesPerLook) {
        unseenCount = 0;
        unseenSizeBytes = 0;
        if (!hasRoom()) break;
        if (count > 0 && clock.monotonicMs() - startedAtMs > sliceMs) break;
      }
      this.#offset++;
      count++;
      unseenCount++;
      unseenSizeBytes += entry.data.length;
      this.#apply(entry);
    }
    this.#appliedCount += count;
    return count > 0;
  }

  /** A snapshot replaced the state. */
  reset(meta: SnapshotMeta): void {
    assert(meta.index >= this.#applied.index, `snapshot ${meta.index} is older than the state`);
    this.#queue.length = 0;
    this.#offset = 0;
    this.#applied = meta;
  }

  #apply(entry: Entry): void {
    const {machine, onApplied} = this.#parts;
    if (entry.index !== this.#applied.index + 1) {
      assert(false, `entry ${entry.index} cannot be applied after ${this.#applied.index}`);
    }
    let membership: Membership = this.#applied.membership;
    let result: CommandResult | null = null;
    if (entry.type === 'command') result = machine.apply(entry);
    else if (entry.type === 'membership') membership = decodeMembership(entry.data);
    this.#applied = {index: entry.index, term: entry.term, membership};
    onApplied(entry, result);
  }
}
