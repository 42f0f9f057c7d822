/**
 * Linearizable reads that wait. All reads that arrived before a ReadIndex round starts share it;
 * those that arrive meanwhile share the next one. A round always starts after the reads it serves
 * arrived, so what it returns is at least as new as anything acknowledged before (dissertation
 * §6.4). Lost rounds are repeated under a new context: reads may be repeated freely.
 */
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {StateReader} from '../kv/state-reader.ts';

import type {ReadState} from '../raft/ready.ts';
import type {ReadCallback} from './service.ts';

/** The part of Raft that reads need. */
export interface ReadIndexSource {
  readIndex(context: number): boolean;
}

interface PendingRead {
  /** Monotonic clock. */
  readonly deadlineMs: number;
  readonly callback: ReadCallback;
}

interface Round {
  readonly context: number;
  readonly startedAtMs: number;
  readonly reads: PendingRead[];
}

interface ConfirmedReads {
  readonly index: number;
  readonly reads: PendingRead[];
}

export class ReadTable {
  readonly #raft: ReadIndexSource;
  readonly #reader: StateReader;
  readonly #retryAfterMs: number;
  #gathering: PendingRead[] = [];
  #local: PendingRead[] = [];
  #round: Round | null = null;
  #confirmed: ConfirmedReads[] = [];
  #count = 0;
  #lastContext: number;

  constructor(parts: {
    readonly raft: ReadIndexSource;
    readonly reader: StateReader;
    /** An unanswered round is repeated after this. */
    readonly retryAfterMs: number;
    /** Above those of every earlier life of this member (see Replica). */
    readonly firstContext: number;
  }) {
    this.#raft = parts.raft;
    this.#reader = parts.reader;
    this.#retryAfterMs = parts.retryAfterMs;
    this.#lastContext = parts.firstContext - 1;
  }

  get count(): number {
    return this.#count;
  }

  /** False when too many reads wait. */
  add(deadlineMs: number, callback: ReadCallback): boolean {
    if (this.#count >= limits.pendingReadCountMax) return false;
    this.#count++;
    this.#gathering.push({deadlineMs, callback});
    return true;
  }

  /** A read of this node's state as it is; answered in the next turn of the ready loop. */
  addLocal(callback: ReadCallback): boolean {
    if (this.#count >= limits.pendingReadCountMax) return false;
    this.#count++;
    this.#local.push({deadlineMs: Infinity, callback});
    return true;
  }

  hasLocal(): boolean {
    return this.#local.length > 0;
  }

  /** Starts a round for what has gathered, unless one is under way and not overdue. */
  begin(nowMs: number): void {
    const round = this.#round;
    if (round !== null) {
      if (nowMs - round.startedAtMs < this.#retryAfterMs) return;
      this.#gathering = round.reads.concat(this.#gathering);
      this.#round = null;
    }
    if (this.#gathering.length === 0) return;
    const context = ++this.#lastContext;
    if (!this.#raft.readIndex(context)) return;
    this.#round = {context, startedAtMs: nowMs, reads: this.#gathering};
    this.#gathering = [];
  }

  /** The leader changed: a round it was to answer starts again with the next `begin`. */
  onLeaderChange(): void {
    if (this.#round === null) return;
    this.#gathering = this.#round.reads.concat(this.#gathering);
    this.#round = null;
  }

  onReadStates(readStates: readonly ReadState[]): void {
    for (const {context, index} of readStates) {
      if (this.#round?.context !== context) continue;
      this.#confirmed.push({index, reads: this.#round.reads});
      this.#round = null;
    }
  }

  /** Answers every local read, and every confirmed one whose index has been applied. */
  serve(appliedIndex: number): void {
    if (this.#local.length > 0) {
      const local = this.#local;
      this.#local = [];
      this.#answer(local);
    }
    while (this.#confirmed.length > 0) {
      const first = this.#confirmed[0];
      if (first === undefined || first.index > appliedIndex) return;
      this.#confirmed.shift();
      this.#answer(first.reads);
    }
  }

  expire(nowMs: number): void {
    if (this.#count === 0) return;
    this.#gathering = this.#expired(this.#gathering, nowMs, unconfirmed);
    const round = this.#round;
    if (round !== null) {
      this.#round = {...round, reads: this.#expired(round.reads, nowMs, unconfirmed)};
    }
    this.#confirmed = this.#confirmed.map(confirmed => ({
      index: confirmed.index,
      reads: this.#expired(confirmed.reads, nowMs, unapplied),
    }));
  }

  failAll(error: RosettaError): void {
    const round = this.#round === null ? [] : this.#round.reads;
    const reads = this.#gathering.concat(
      this.#local,
      round,
      this.#confirmed.flatMap(confirmed => confirmed.reads),
    );
    this.#gathering = [];
    this.#local = [];
    this.#round = null;
    this.#confirmed = [];
    this.#count = 0;
    for (const read of reads) read.callback(error, null);
  }

  #answer(reads: readonly PendingRead[]): void {
    this.#count -= reads.length;
    for (const read of reads) read.callback(null, this.#reader);
  }

  /** Answers those past their deadline and returns the others. */
  #expired(reads: PendingRead[], nowMs: number, failure: () => RosettaError): PendingRead[] {
    const late = reads.filter(read => read.deadlineMs <= nowMs);
    if (late.length === 0) return reads;
    this.#count -= late.length;
    const error = failure();
    for (const read of late) read.callback(error, null);
    return reads.filter(read => read.deadlineMs > nowMs);
  }
}

function unconfirmed(): RosettaError {
  const detail = 'no leader could confirm in time that this read is current; retry';
  return new RosettaError('NO_LEADER', detail);
}

function unapplied(): RosettaError {
  const detail = 'a leader confirmed this read, but this node did not get as far in time; retry';
  return new RosettaError('READ_TIMEOUT', detail);
}
