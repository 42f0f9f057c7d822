/**
 * What a node must remember across a crash (Raft, Figure 2). Term and vote are one record and are
 * durable before any message that follows from them leaves. `commit` may lag: it is a hint that
 * shortens replay, never a promise.
 */
import type {LogIndex, NodeId, Term} from './ids.ts';
import {noIndex, noTerm} from './ids.ts';

export interface HardState {
  readonly term: Term;
  /** Whom this node voted for in `term`; null: nobody yet. */
  readonly vote: NodeId | null;
  /** Known committed, inclusive. */
  readonly commit: LogIndex;
}

export const initialHardState: HardState = {term: noTerm, vote: null, commit: noIndex};
