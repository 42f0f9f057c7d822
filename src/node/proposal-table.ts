/**
 * Proposals that are in the log of this leader and wait for their entry to be applied. Keyed by
 * index; the term tells whether the entry that got applied there is the one that was proposed.
 *
 * A queue and not a Map: proposals come and go in the order of their indexes, and a Map through
 * which entries only pass replaces its table every few dozen of them. Each dead table holds on to
 * its successor, so once one is in the old generation all later ones follow it there, with every
 * request they ever held: 4 KB promoted a write, and half of all collection work.
 */
import {assert} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {CommandResult} from '../kv/result.ts';
import type {EntryId} from '../raft/entry.ts';
import type {ProposeCallback} from './service.ts';

interface PendingProposal {
  readonly index: number;
  readonly term: number;
  readonly sizeBytes: number;
  /** Monotonic clock. */
  readonly deadlineMs: number;
  readonly callback: ProposeCallback;
}

/** A power of two: a place in the ring is a number of the queue, masked. */
const placeCountMin = 64;

const nothing = {count: 0, sizeBytes: 0};

export class ProposalTable {
  /** A ring of the proposals [#front, #end), by index; undefined once one is answered. */
  #ring = emptyRing(placeCountMin);
  #front = 0;
  #end = 0;
  #count = 0;
  #sizeBytes = 0;
  readonly #onRoom: () => void;

  /** `onRoom`: a proposal has left the table. Nothing may be added while it runs. */
  constructor(onRoom: () => void = () => undefined) {
    this.#onRoom = onRoom;
  }

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** `others`: what waits elsewhere and counts as well. */
  hasRoom(
    sizeBytes: number,
    others: {readonly count: number; readonly sizeBytes: number} = nothing,
  ): boolean {
    return (
      this.#count + others.count < limits.pendingProposalCountMax &&
      this.#sizeBytes + others.sizeBytes + sizeBytes <= limits.pendingProposalSizeBytesMax
    );
  }

  add(id: EntryId, sizeBytes: number, deadlineMs: number, callback: ProposeCallback): void {
    this.#answerOverwritten(id);
    const {index, term} = id;
    if (this.#end - this.#front === this.#ring.length) this.#widen();
    this.#ring[this.#end & (this.#ring.length - 1)] = {
      index,
      term,
      sizeBytes,
      deadlineMs,
      callback,
    };
    this.#end += 1;
    this.#count += 1;
    this.#sizeBytes += sizeBytes;
  }

  /** Answers the proposal at the applied entry, if this node made one there. */
  settle(id: EntryId, result: CommandResult | null): void {
    this.settleUpTo(id.index - 1);
    const pending = this.#at(this.#front);
    if (pending?.index !== id.index) return;
    this.#take(this.#front);
    if (pending.term === id.term && result !== null) pending.callback(null, result);
    else pending.callback(overwritten(id.index), null);
  }

  /** A snapshot replaced the log up to `index`: what happened to those proposals is not known. */
  settleUpTo(index: number): void {
    for (;;) {
      this.#skipAnswered();
      const pending = this.#at(this.#front);
      if (pending === undefined || pending.index > index) return;
      this.#take(this.#front);
      pending.callback(overwritten(pending.index), null);
    }
  }

  expire(nowMs: number): void {
    this.#answerAll(pending => {
      if (pending.deadlineMs > nowMs) return null;
      const detail = `entry ${pending.index} was not known committed in time; it may still commit`;
      return new RosettaError('OUTCOME_UNKNOWN', detail);
    });
  }

  failAll(error: RosettaError): void {
    this.#answerAll(() => error);
  }

  /**
   * Older proposals from this index on were overwritten: a new leader's log replaced them, and this
   * node became leader again before anything was applied there.
   */
  #answerOverwritten({index, term}: EntryId): void {
    for (let place = this.#end - 1; place >= this.#front; place--) {
      const older = this.#at(place);
      if (older === undefined) continue;
      if (older.index < index) return;
      assert(older.term < term, 'index % proposed twice in term %', index, term);
      this.#take(place);
      older.callback(overwritten(older.index), null);
    }
  }

  #answerAll(errorFor: (pending: PendingProposal) => RosettaError | null): void {
    for (let place = this.#front; place < this.#end; place++) {
      const pending = this.#at(place);
      const error = pending === undefined ? null : errorFor(pending);
      if (pending === undefined || error === null) continue;
      this.#take(place);
      pending.callback(error, null);
    }
    this.#skipAnswered();
  }

  #at(place: number): PendingProposal | undefined {
    return this.#ring[place & (this.#ring.length - 1)];
  }

  #take(place: number): void {
    const pending = this.#at(place);
    assert(pending !== undefined, 'a proposal is answered once');
    this.#ring[place & (this.#ring.length - 1)] = undefined;
    this.#count -= 1;
    this.#sizeBytes -= pending.sizeBytes;
    assert(this.#sizeBytes >= 0, 'pending proposals hold less than nothing');
    this.#onRoom();
  }

  #skipAnswered(): void {
    while (this.#front < this.#end && this.#at(this.#front) === undefined) this.#front += 1;
  }

  #widen(): void {
    const ring = emptyRing(this.#ring.length * 2);
    for (let place = this.#front; place < this.#end; place++) {
      ring[place & (ring.length - 1)] = this.#at(place);
    }
    this.#ring = ring;
  }
}

function emptyRing(placeCount: number): (PendingProposal | undefined)[] {
  return new Array<PendingProposal | undefined>(placeCount).fill(undefined);
}

function overwritten(index: number): RosettaError {
  const detail = `another leader took over while entry ${index} was on its way`;
  return new RosettaError('OUTCOME_UNKNOWN', detail);
}
