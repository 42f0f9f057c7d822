/**
 * Proposals that are in the log of this leader and wait for their entry to be applied. Keyed by
 * index; the term tells whether the entry that got applied there is the one that was proposed.
 */
import {assert} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {CommandResult} from '../kv/result.ts';
import type {EntryId} from '../raft/entry.ts';
import type {ProposeCallback} from './service.ts';

interface PendingProposal {
  readonly term: number;
  readonly sizeBytes: number;
  /** Monotonic clock. */
  readonly deadlineMs: number;
  readonly callback: ProposeCallback;
}

export class ProposalTable {
  readonly #byIndex = new Map<number, PendingProposal>();
  #sizeBytes = 0;

  get count(): number {
    return this.#byIndex.size;
  }

  hasRoom(sizeBytes: number): boolean {
    return (
      this.#byIndex.size < limits.pendingProposalCountMax &&
      this.#sizeBytes + sizeBytes <= limits.pendingProposalSizeBytesMax
    );
  }

  add(id: EntryId, sizeBytes: number, deadlineMs: number, callback: ProposeCallback): void {
    // An older proposal at this index was overwritten: a new leader's log replaced it and this
    // node became leader again before anything was applied there.
    const previous = this.#byIndex.get(id.index);
    if (previous !== undefined) {
      assert(previous.term < id.term, `index ${id.index} proposed twice in term ${id.term}`);
      this.#take(id.index, previous).callback(overwritten(id.index), null);
    }
    this.#byIndex.set(id.index, {term: id.term, sizeBytes, deadlineMs, callback});
    this.#sizeBytes += sizeBytes;
  }

  /** Answers the proposal at the applied entry, if this node made one there. */
  settle(id: EntryId, result: CommandResult | null): void {
    const pending = this.#byIndex.get(id.index);
    if (pending === undefined) return;
    this.#take(id.index, pending);
    if (pending.term === id.term && result !== null) pending.callback(null, result);
    else pending.callback(overwritten(id.index), null);
  }

  /** A snapshot replaced the log up to `index`: what happened to those proposals is not known. */
  settleUpTo(index: number): void {
    for (const [at, pending] of this.#byIndex) {
      if (at <= index) this.#take(at, pending).callback(overwritten(at), null);
    }
  }

  expire(nowMs: number): void {
    for (const [index, pending] of this.#byIndex) {
      if (pending.deadlineMs > nowMs) continue;
      const detail = `entry ${index} was not known committed in time; it may still commit`;
      this.#take(index, pending).callback(new RosettaError('OUTCOME_UNKNOWN', detail), null);
    }
  }

  failAll(error: RosettaError): void {
    for (const [index, pending] of this.#byIndex) this.#take(index, pending).callback(error, null);
  }

  #take(index: number, pending: PendingProposal): PendingProposal {
    this.#byIndex.delete(index);
    this.#sizeBytes -= pending.sizeBytes;
    assert(this.#sizeBytes >= 0, 'pending proposals hold less than nothing');
    return pending;
  }
}

function overwritten(index: number): RosettaError {
  const detail = `another leader took over while entry ${index} was on its way`;
  return new RosettaError('OUTCOME_UNKNOWN', detail);
}
