/**
 * Applies committed entries to the state machine, in order and in slices short enough that sockets
 * and heartbeats never wait long behind them. A command that walks over many keys may take several
 * slices; it counts as applied, and is answered, after the last. Everything applied is already
 * durable on this disk.
 */
import {assert, must} from '../base/assert.ts';
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
/** Steps of one command in a slice, however fast they are. */
const stepCountMax = 16;

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
  /** Waits for the end of the command that is suspended. */
  #afterCommand: (() => void) | null = null;

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

  /**
   * Calls back between two commands: at once, or when the suspended one is applied. Replaces a
   * callback that still waits.
   */
  betweenCommands(callback: () => void): void {
    if (this.#parts.machine.isSuspended()) this.#afterCommand = callback;
    else callback();
  }

  /** Applies one slice; returns whether anything was done. */
  run(): boolean {
    const {machine, clock, hasRoom} = this.#parts;
    machine.prepareScans();
    if (!this.hasWork) return false;
    const startedAtMs = clock.monotonicMs();
    // What has begun goes on without room too: only between two commands room can be made.
    const wasSuspended = machine.isSuspended();
    if (wasSuspended && !this.#resume(startedAtMs)) return true;
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
      count++;
      unseenCount++;
      unseenSizeBytes += entry.data.length;
      if (this.#apply(entry)) {
        // A small entry may read large rows.
        unseenSizeBytes += machine.readSizeBytes();
        continue;
      }
      if (!this.#resume(startedAtMs)) break;
      unseenCount = entriesPerLook;
    }
    return count > 0 || wasSuspended;
  }

  /** A snapshot replaced the state. */
  reset(meta: SnapshotMeta): void {
    assert(meta.index >= this.#applied.index, 'snapshot % is older than the state', meta.index);
    assert(!this.#parts.machine.isSuspended(), 'the state machine was reloaded before');
    this.#afterCommand = null;
    this.#queue.length = 0;
    this.#offset = 0;
    this.#applied = meta;
  }

  /** False: the entry's command has begun, and `#resume` ends it. */
  #apply(entry: Entry): boolean {
    const {index} = this.#applied;
    assert(entry.index === index + 1, 'entry % cannot be applied after %', entry.index, index);
    const {membership} = this.#applied;
    if (entry.type === 'command') {
      const result = this.#parts.machine.begin(entry);
      if (result === null) return false;
      this.#noteApplied(entry, membership, result);
    } else {
      const isMembership = entry.type === 'membership';
      this.#noteApplied(entry, isMembership ? decodeMembership(entry.data) : membership, null);
    }
    return true;
  }

  /** Goes on with the suspended command as far as the slice allows; true when it is applied. */
  #resume(startedAtMs: number): boolean {
    const {machine, clock} = this.#parts;
    for (let stepCount = 0; stepCount < stepCountMax; stepCount++) {
      const result = machine.resume();
      if (result !== null) {
        const entry = must(this.#queue[0]?.[this.#offset], 'a suspended entry stays in the queue');
        this.#noteApplied(entry, this.#applied.membership, result);
        return true;
      }
      if (clock.monotonicMs() - startedAtMs > sliceMs) break;
    }
    return false;
  }

  #noteApplied(entry: Entry, membership: Membership, result: CommandResult | null): void {
    this.#offset++;
    this.#appliedCount++;
    this.#applied = {index: entry.index, term: entry.term, membership};
    this.#parts.onApplied(entry, result);
    const callback = this.#afterCommand;
    if (callback === null) return;
    this.#afterCommand = null;
    callback();
  }
}
