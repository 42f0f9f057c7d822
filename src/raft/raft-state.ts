/**
 * Everything one Raft instance knows, in one place. The functions of this folder operate on it; it
 * holds no behaviour of its own. `leadership` exists exactly while the role is leader.
 */
import {assert, must} from '../base/assert.ts';
import type {Prng} from '../base/prng.ts';
import type {HardState} from './hard-state.ts';
import type {LogIndex, NodeId, Term} from './ids.ts';
import {indexBefore, maxIndex, noIndex} from './ids.ts';
import type {Membership} from './membership.ts';
import type {Message} from './message.ts';
import type {MembershipRecord, RaftOptions} from './options.ts';
import type {Progress} from './progress.ts';
import {RaftLog} from './raft-log.ts';
import type {ReadState, SoftState} from './ready.ts';
import type {Role} from './state.ts';

/** A read that waits for its round; `from` is this node or the follower that asked. */
export interface ReadRequest {
  readonly context: number;
  readonly from: NodeId;
}

/** Reads confirmed together: `index` was the commit index when the round began. */
export interface ReadRound {
  readonly round: number;
  readonly index: LogIndex;
  readonly requests: readonly ReadRequest[];
}

export interface Leadership {
  /** Every other member, learners included. */
  readonly progress: Map<NodeId, Progress>;
  /** The no-op; once it is committed, so is everything before it (Raft §5.4.2). */
  readonly termStartIndex: LogIndex;
  heartbeatElapsed: number;
  transfer: {readonly to: NodeId; elapsed: number} | null;
  /** Reads that no round carries yet. */
  readonly waitingReads: ReadRequest[];
  /** Rounds on their way, oldest first. */
  readonly readRounds: ReadRound[];
  lastReadRound: number;
  /** Bytes proposed in this term and not known committed. */
  uncommittedSizeBytes: number;
  /** Proposals since the last batch was closed; `uncommittedBatches` are closed ones. */
  openBatchSizeBytes: number;
  readonly uncommittedBatches: {readonly lastIndex: LogIndex; readonly sizeBytes: number}[];
}

export interface RaftState {
  readonly id: NodeId;
  readonly options: RaftOptions;
  readonly prng: Prng;
  readonly log: RaftLog;
  role: Role;
  term: Term;
  vote: NodeId | null;
  leaderId: NodeId | null;
  /** Inclusive. Invariant: appliedIndex ≤ applyingIndex ≤ commitIndex ≤ log.lastIndex. */
  commitIndex: LogIndex;
  /** Handed out for apply, inclusive. */
  applyingIndex: LogIndex;
  /** Reported applied, inclusive. */
  appliedIndex: LogIndex;
  /** Batches handed out and not applied, oldest first, and their bytes. */
  readonly applyingBatches: {readonly lastIndex: LogIndex; readonly sizeBytes: number}[];
  applyingSizeBytes: number;
  /** Oldest first; the last is in force, the first was in force at appliedIndex. */
  memberships: MembershipRecord[];
  /** Largest proposedAtMs of the log as far as it was seen. */
  lastProposedAtMs: number;
  /** Ticks since the leader was heard; 0 on the leader itself. */
  electionElapsed: number;
  /** Ticks since the leader said something that only a leader says. */
  leaderSilence: number;
  randomizedTimeout: number;
  /** Answers to the (pre-)vote under way. */
  readonly votes: Map<NodeId, boolean>;
  leadership: Leadership | null;
  /** Number of the last write handed out. */
  sequence: number;
  persistedSequence: number;
  /** The write that carries the present term and vote; null: not handed out yet. */
  hardStateSequence: number | null;
  messages: Message[];
  messagesAfterPersist: Message[];
  readStates: ReadState[];
  /** As told by the last Ready. */
  softState: SoftState;
  /** Messages that no correct peer sends. */
  ignoredCount: number;
}

export function makeState(options: RaftOptions): RaftState {
  const log = new RaftLog(options.log);
  const {term, vote, commit} = options.hardState;
  const firstKnown = indexBefore(log.firstIndex);
  const commitIndex = maxIndex(commit, maxIndex(options.appliedIndex, firstKnown));
  assert(options.electionTimeoutTicks > options.heartbeatIntervalTicks, 'timeout ≤ heartbeat');
  assert(options.memberships.length > 0, 'a membership must be known, if only the empty one');
  assert(commitIndex <= log.lastIndex, 'commit % beyond the log %', commitIndex, log.lastIndex);
  assert(options.appliedIndex >= firstKnown, 'applied % before the log', options.appliedIndex);
  return {
    id: options.id,
    options,
    prng: options.prng,
    log,
    role: 'follower',
    term,
    vote,
    leaderId: null,
    commitIndex,
    applyingIndex: options.appliedIndex,
    appliedIndex: options.appliedIndex,
    applyingBatches: [],
    applyingSizeBytes: 0,
    memberships: [...options.memberships],
    lastProposedAtMs: lastProposedAtMs(log),
    electionElapsed: 0,
    leaderSilence: 0,
    randomizedTimeout: drawElectionTimeout(options),
    votes: new Map(),
    leadership: null,
    sequence: 0,
    persistedSequence: 0,
    hardStateSequence: 0,
    messages: [],
    messagesAfterPersist: [],
    readStates: [],
    softState: {role: 'follower', leaderId: null, term},
    ignoredCount: 0,
  };
}

/** Raft §5.2: a timeout from 1 to 2 times the minimum, drawn anew for every wait. */
export function drawElectionTimeout(options: RaftOptions): number {
  const min = options.electionTimeoutTicks;
  return options.prng.integer({min, max: electionTimeoutTicksMax(options)});
}

/** The longest that a member waits for its leader. */
export function electionTimeoutTicksMax(options: RaftOptions): number {
  return 2 * options.electionTimeoutTicks - 1;
}

export function currentMembershipRecord(state: RaftState): MembershipRecord {
  return must(state.memberships[state.memberships.length - 1], 'no membership');
}

/** The membership in force: that of the last membership entry, committed or not. */
export function currentMembership(state: RaftState): Membership {
  return currentMembershipRecord(state).membership;
}

export function currentHardState(state: RaftState): HardState {
  return {term: state.term, vote: state.vote, commit: state.commitIndex};
}

/** Whether term and vote, as they are now, would survive a crash. */
export function isHardStateDurable(state: RaftState): boolean {
  const sequence = state.hardStateSequence;
  return sequence !== null && sequence <= state.persistedSequence;
}

function lastProposedAtMs(log: RaftLog): number {
  const last = log.lastIndex;
  if (last === noIndex || last < log.firstIndex) return 0;
  const [entry] = log.entries({from: last, to: last, sizeBytesMax: 1});
  return must(entry, 'no entry at %', last).proposedAtMs;
}
