/**
 * One member of a Raft group: a pure, synchronous state machine. Input is ticks, messages,
 * proposals and reports; output is Ready. It performs no I/O, reads no clock, and draws randomness
 * only from the Prng it is given, so equal inputs give equal outputs.
 *
 * This file composes. The roles are in follower.ts, candidate.ts and leader.ts, the term rule in
 * step.ts, the order of effects in ready.ts.
 */
import {assert, must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import {isActive} from './contact.ts';
import {campaign, noteOwnVotePersisted, repeatPreVote, tickElection} from './election.ts';
import type {HardState} from './hard-state.ts';
import type {LogIndex, NodeId, Term} from './ids.ts';
import {indexAfter, indexBefore, maxIndex} from './ids.ts';
import type {ProposeResult} from './leader.ts';
import {onOwnLogPersisted, proposeCommand, proposeMembershipChange, tickLeader} from './leader.ts';
import {beginTransfer} from './leader-transfer.ts';
import type {Membership} from './membership.ts';
import {trimMemberships} from './membership-change.ts';
import type {Message} from './message.ts';
import type {RaftOptions} from './options.ts';
import type {ProgressState} from './progress.ts';
import type {RaftState} from './raft-state.ts';
import {currentHardState, currentMembership, makeState} from './raft-state.ts';
import {requestRead} from './read-index.ts';
import type {Ready} from './ready.ts';
import {hasReady, noteApplied, takeReady} from './ready-assembly.ts';
import type {SnapshotMeta} from './snapshot.ts';
import type {Role} from './state.ts';
import {step} from './step.ts';
import {becomeFollower} from './transitions.ts';

/** So many election timeouts a follower waits for a leader of which it sees bytes, no message. */
const contactOnlyTimeoutsMax = 4;

export interface MemberProgress {
  readonly matchIndex: LogIndex;
  readonly nextIndex: LogIndex;
  readonly state: ProgressState;
  /** Heard from within the longest election timeout. */
  readonly isActive: boolean;
  /** It was told of a commit of this term, and so of the fate of everything before it. */
  readonly wasToldCommit: boolean;
}

export class Raft {
  readonly #state: RaftState;

  constructor(options: RaftOptions) {
    this.#state = makeState(options);
  }

  /**
   * One unit of time has passed. `mayCampaign`: false on a member that is not to lead, whose vote
   * the others may need all the same.
   */
  tick(options: {readonly mayCampaign: boolean} = {mayCampaign: true}): void {
    const {leadership} = this.#state;
    if (leadership === null) tickElection(this.#state, options);
    else tickLeader(this.#state, leadership);
  }

  /** A message arrived. What is stale, foreign or malformed is ignored and counted. */
  step(message: Message): void {
    step(this.#state, message);
  }

  /** Leader only. `data` belongs to raft from here on and never changes. */
  propose(data: Uint8Array, proposedAtMs: number): ProposeResult {
    assert(data.length <= limits.entryDataSizeBytesMax, 'a proposal of % bytes', data.length);
    return proposeCommand(this.#state, data, proposedAtMs);
  }

  /**
   * Leader only. `next` is never joint. The result names the first entry of the change; when a
   * joint membership is needed, the final one follows by itself.
   */
  proposeMembership(next: Membership, proposedAtMs: number): ProposeResult {
    return proposeMembershipChange(this.#state, next, proposedAtMs);
  }

  /**
   * Asks for an index at which a read is linearizable; a ReadState with `context` follows, or
   * nothing when leadership changes meanwhile, or a message is lost. No life of this id uses a
   * context twice: a late answer would confirm another read. False: nobody to ask; nothing was
   * sent.
   */
  readIndex(context: number): boolean {
    return requestRead(this.#state, context);
  }

  /** False when this node does not lead or `to` is no other voter. */
  transferLeadership(to: NodeId): boolean {
    return beginTransfer(this.#state, to);
  }

  /** Campaigns at once instead of waiting for the election timeout. */
  campaign(): void {
    campaign(this.#state);
  }

  hasReady(): boolean {
    return hasReady(this.#state);
  }

  /** Moves everything out that is to be done; see ready.ts for the order. */
  ready(): Ready {
    return takeReady(this.#state);
  }

  /** Every write up to and including `sequence` is durable. */
  persisted(sequence: number): void {
    const state = this.#state;
    assert(sequence <= state.sequence, 'persisted % of %', sequence, state.sequence);
    if (sequence <= state.persistedSequence) return;
    state.persistedSequence = sequence;
    const hadSnapshot = state.log.unstable.snapshot;
    state.log.unstable.persisted(sequence);
    if (hadSnapshot !== null && state.log.unstable.snapshot === null) {
      state.appliedIndex = maxIndex(state.appliedIndex, hadSnapshot.index);
      trimMemberships(state);
    }
    noteOwnVotePersisted(state);
    if (state.leadership !== null) onOwnLogPersisted(state, state.leadership);
  }

  /** The state machine has applied everything up to and including `index`. */
  applied(index: LogIndex): void {
    noteApplied(this.#state, index);
  }

  /** Messages to `id` were lost. */
  reportUnreachable(id: NodeId): void {
    const progress = this.#state.leadership?.progress.get(id);
    if (progress?.state !== 'replicate') return;
    progress.becomeProbe(indexAfter(progress.matchIndex));
  }

  /** A connection with `id` has come up, in either direction. */
  reportReachable(id: NodeId): void {
    repeatPreVote(this.#state, id);
  }

  /** The stream to `id` has ended: with the snapshot that `meta` describes, or null: it failed. */
  reportSnapshot(id: NodeId, meta: SnapshotMeta | null): void {
    const progress = this.#state.leadership?.progress.get(id);
    if (progress?.state !== 'snapshot') return;
    const next = indexAfter(progress.matchIndex);
    progress.becomeProbe(meta === null ? next : maxIndex(next, indexAfter(meta.index)));
    // Either way the next heartbeat shows whether it is time to go on.
    progress.isProbeSent = true;
  }

  /**
   * Bytes of any kind came from `from`: the leader is alive, or the follower is. A leader that was
   * deposed or gave up still answers, for instance refuses forwarded writes: so bytes alone count
   * only for a while.
   */
  noteContact(from: NodeId): void {
    const state = this.#state;
    if (state.leadership !== null) {
      const progress = state.leadership.progress.get(from);
      if (progress !== undefined) progress.silenceTicks = 0;
    } else if (state.leaderId === from) {
      const silenceMax = contactOnlyTimeoutsMax * state.options.electionTimeoutTicks;
      if (state.leaderSilence > silenceMax) return;
      state.electionElapsed = Math.min(state.electionElapsed, 0);
    }
  }

  /** Gives up leadership or candidacy and leaves the next election timeout to the others. */
  stepDown(): void {
    const state = this.#state;
    if (state.role === 'follower') return;
    becomeFollower(state, state.term, null);
    state.electionElapsed = -state.options.electionTimeoutTicks;
  }

  get id(): NodeId {
    return this.#state.id;
  }

  get role(): Role {
    return this.#state.role;
  }

  get term(): Term {
    return this.#state.term;
  }

  get leaderId(): NodeId | null {
    return this.#state.leaderId;
  }

  get commitIndex(): LogIndex {
    return this.#state.commitIndex;
  }

  get appliedIndex(): LogIndex {
    return this.#state.appliedIndex;
  }

  get lastIndex(): LogIndex {
    return this.#state.log.lastIndex;
  }

  /** The log's time: of its newest entry, as far as entries were seen; 0 before the first. */
  get lastProposedAtMs(): number {
    return this.#state.lastProposedAtMs;
  }

  /** Durable on this node, inclusive. */
  get stableIndex(): LogIndex {
    return this.#state.log.stableIndex;
  }

  /** On a leader: up to where each other member was sent the log, inclusive. Otherwise none. */
  get sentIndexes(): readonly LogIndex[] {
    const {leadership} = this.#state;
    if (leadership === null) return [];
    return Array.from(leadership.progress.values(), ({nextIndex}) => indexBefore(nextIndex));
  }

  /** Term, vote and commit index as they are now, durable or not. */
  get hardState(): HardState {
    return currentHardState(this.#state);
  }

  /** In force: that of the last membership entry, committed or not. */
  get membership(): Membership {
    return currentMembership(this.#state);
  }

  /** The newest that cannot be rolled back any more. */
  get committedMembership(): Membership {
    return this.membershipAt(this.#state.commitIndex);
  }

  /** In force at `index`, which must not lie before appliedIndex. */
  membershipAt(index: LogIndex): Membership {
    const record = this.#state.memberships.findLast(candidate => candidate.index <= index);
    return must(record, 'no membership known at %', index).membership;
  }

  /** Accepted, and not yet confirmed as installed. */
  get pendingSnapshot(): SnapshotMeta | null {
    return this.#state.log.unstable.snapshot;
  }

  /** Messages ignored because no correct peer sends them. */
  get ignoredCount(): number {
    return this.#state.ignoredCount;
  }

  isTransferring(): boolean {
    const {leadership} = this.#state;
    return leadership !== null && leadership.transfer !== null;
  }

  /** Leader only; undefined for this node itself, a stranger, or when not leading. */
  progress(id: NodeId): MemberProgress | undefined {
    const {leadership} = this.#state;
    const progress = leadership?.progress.get(id);
    if (progress === undefined) return undefined;
    const {matchIndex, nextIndex, state, sentCommit} = progress;
    const wasToldCommit = sentCommit >= (leadership?.termStartIndex ?? Infinity);
    return {matchIndex, nextIndex, state, isActive: isActive(this.#state, progress), wasToldCommit};
  }

  /** For invariants.ts and tests: the live state, not a copy. */
  inspect(): Readonly<RaftState> {
    return this.#state;
  }
}
