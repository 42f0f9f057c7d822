/**
 * `rosetta/raft`: the protocol for programs that bring their own state machine, log and network.
 * docs/raft-library.md explains how; nothing inside Rosetta imports this file.
 */
import {limits} from '../base/limits.ts';

export {AssertionError} from '../base/assert.ts';
export {Prng} from '../base/prng.ts';
export {isEntryIntact} from './entry.ts';
export type {Entry, EntryId, EntryType} from './entry.ts';
export {initialHardState} from './hard-state.ts';
export type {HardState} from './hard-state.ts';
export {indexAfter, logIndex, nodeId, noIndex, noTerm, term} from './ids.ts';
export type {LogIndex, NodeId, Term} from './ids.ts';
export type {ProposeResult} from './leader.ts';
export type {LogReader} from './log-reader.ts';
export {decodeMembership, encodeMembership, isLearner, isVoter} from './membership.ts';
export type {Member, Membership} from './membership.ts';
export type {Message} from './message.ts';
export type {MembershipRecord, RaftOptions} from './options.ts';
export {Raft} from './raft.ts';
export type {MemberProgress} from './raft.ts';
export type {Ready, ReadState, SoftState} from './ready.ts';
export type {SnapshotMeta} from './snapshot.ts';
export type {Role} from './state.ts';

/** Bytes of one proposal, at most. */
export const {entryDataSizeBytesMax} = limits;

/** With ticks of 10 ms: what `./rosetta` runs with. */
export const raftDefaults = {
  electionTimeoutTicks: 15,
  heartbeatIntervalTicks: 5,
  appendSizeBytesMax: limits.appendSizeBytesMax,
  inflightSizeBytesMax: limits.inflightSizeBytesMax,
  inflightCountMax: limits.inflightCountMax,
  uncommittedSizeBytesMax: limits.uncommittedSizeBytesMax,
  committedSizeBytesMax: limits.committedSizeBytesMax,
} as const;
