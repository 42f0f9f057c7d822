/**
 * What the leader knows of one other member's log.
 *
 * `probe`: the point of agreement is unknown; one append at a time, the next after an answer or
 * after a heartbeat came back. `replicate`: appends are pipelined within the in-flight window, but
 * few entries gather behind those under way. `snapshot`: the entries it needs are compacted, and
 * nothing is sent until the stream has ended.
 *
 * Invariant: 0 ≤ matchIndex < nextIndex; while replicating, every entry below nextIndex was sent.
 */
import {assert} from '../base/assert.ts';
import type {LogIndex, NodeId} from './ids.ts';
import {indexAfter, logIndex, maxIndex, minIndex, noIndex} from './ids.ts';
import {Inflights} from './inflights.ts';

/** So many entries do not wait for the answer to an append that is under way. */
const gatherEntryCount = 128;

/**
 * So many entries under way are enough, however small: what a member missed that was away is read
 * from the log's file, and reading and sending these takes a leader 10 ms, or 20 with the append
 * that goes beyond.
 */
const sentEntryCountMax = 4096;

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export class Progress {
  readonly id: NodeId;
  /** Of the disk that `matchIndex` speaks of. */
  readonly incarnation: string;
  readonly inflights: Inflights;
  /** Durable on the member and equal to the leader's log, inclusive. Never decreases. */
  matchIndex: LogIndex = noIndex;
  /** The next entry to send. */
  nextIndex: LogIndex;
  state: ProgressState = 'probe';
  /** Ticks since anything came from the member; `contactTicksMax` and above: it counts as lost. */
  silenceTicks: number;
  /** While probing: an append is out; another one would be wasted. */
  isProbeSent = false;
  /**
   * While replicating: nothing gathers any longer. Few entries wait for the answer to those under
   * way, and a newer commit index for entries to ride with: an append and its answer cost much the
   * same whatever they carry. A tick ends the wait, so a distant member costs latency only that.
   */
  isDue = false;
  /** While replicating: the last append could not take all that waited, so the rest follows it. */
  #isCut = false;
  /** While replicating: ask, with an empty append, whether the sent entries arrived. */
  mustPing = false;
  /** Largest commit index an append has told it. */
  sentCommit: LogIndex = noIndex;
  /** Largest read round it has confirmed (dissertation §6.4). */
  confirmedRound = 0;

  constructor(fields: {
    readonly id: NodeId;
    readonly incarnation: string;
    readonly nextIndex: LogIndex;
    readonly silenceTicks: number;
    readonly inflightCountMax: number;
    readonly inflightSizeBytesMax: number;
  }) {
    assert(fields.nextIndex > 0, 'the log begins at 1');
    this.id = fields.id;
    this.incarnation = fields.incarnation;
    this.nextIndex = fields.nextIndex;
    this.silenceTicks = fields.silenceTicks;
    this.inflights = new Inflights({
      countMax: fields.inflightCountMax,
      sizeBytesMax: fields.inflightSizeBytesMax,
    });
  }

  becomeProbe(nextIndex: LogIndex): void {
    assert(nextIndex > this.matchIndex, 'probe at %, match %', nextIndex, this.matchIndex);
    this.#enter('probe', nextIndex);
  }

  becomeReplicate(): void {
    this.#enter('replicate', indexAfter(this.matchIndex));
  }

  becomeSnapshot(): void {
    this.#enter('snapshot', this.nextIndex);
  }

  /** Notes an acknowledgement; true when it says something new. */
  noteMatch(index: LogIndex): boolean {
    this.nextIndex = maxIndex(this.nextIndex, indexAfter(index));
    if (index <= this.matchIndex) return false;
    this.matchIndex = index;
    return true;
  }

  /**
   * Goes back after a rejection of the append that followed `rejected`; false when the rejection is
   * stale. `continueAt`: the leader's guess from the hint.
   */
  noteRejection(rejected: LogIndex, continueAt: LogIndex): boolean {
    if (rejected <= this.matchIndex) return false;
    if (this.state === 'replicate') {
      this.becomeProbe(indexAfter(this.matchIndex));
      return true;
    }
    if (this.state === 'snapshot' || rejected !== this.nextIndex - 1) return false;
    this.nextIndex = maxIndex(minIndex(rejected, continueAt), indexAfter(this.matchIndex));
    this.isProbeSent = false;
    return true;
  }

  /** Whether an append would tell the member anything now. */
  needsAppend(log: {readonly lastIndex: LogIndex; readonly commitIndex: LogIndex}): boolean {
    switch (this.state) {
      case 'probe':
        return !this.isProbeSent;
      case 'replicate':
        return (
          this.mustPing ||
          this.#hasEntriesFor(log.lastIndex) ||
          (this.isDue && this.#isCommitNews(log.commitIndex))
        );
      case 'snapshot':
        return false;
    }
  }

  #hasEntriesFor(lastIndex: LogIndex): boolean {
    const waitingCount = lastIndex + 1 - this.nextIndex;
    if (waitingCount <= 0 || this.isWindowFull()) return false;
    if (this.isDue || this.#isCut || this.inflights.count === 0) return true;
    return waitingCount >= gatherEntryCount;
  }

  /**
   * While replicating: no entry is sent before some of those under way are acknowledged. The append
   * that fills the window may overshoot its bounds.
   */
  isWindowFull(): boolean {
    const sentCount = this.nextIndex - 1 - this.matchIndex;
    return sentCount >= sentEntryCountMax || this.inflights.isFull();
  }

  #isCommitNews(commitIndex: LogIndex): boolean {
    return Math.min(commitIndex, this.nextIndex - 1) > this.sentCommit;
  }

  /** Bookkeeping after an append with entries up to `lastIndex` has been queued. */
  noteSent(sent: {
    readonly lastIndex: LogIndex;
    readonly sizeBytes: number;
    readonly commitIndex: LogIndex;
    readonly isCut: boolean;
  }): void {
    assert(sent.lastIndex >= this.nextIndex - 1, 'sent % before next', sent.lastIndex);
    this.sentCommit = maxIndex(this.sentCommit, minIndex(sent.commitIndex, sent.lastIndex));
    if (this.state === 'probe') {
      this.isProbeSent = true;
      return;
    }
    this.mustPing = false;
    this.isDue = false;
    this.#isCut = sent.isCut;
    if (sent.lastIndex < this.nextIndex) return;
    this.nextIndex = logIndex(sent.lastIndex + 1);
    this.inflights.add(sent);
  }

  #enter(state: ProgressState, nextIndex: LogIndex): void {
    this.state = state;
    this.nextIndex = nextIndex;
    this.isProbeSent = false;
    this.mustPing = false;
    this.isDue = true;
    this.#isCut = false;
    this.sentCommit = noIndex;
    this.inflights.reset();
  }
}
