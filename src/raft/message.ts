/**
 * The messages of the protocol: one union, discriminated by `type`. Every message carries the
 * sender's term, except that a pre-vote request carries the term the sender would campaign in.
 */
import type {Entry, EntryId} from './entry.ts';
import type {LogIndex, NodeId, Term} from './ids.ts';
import type {SnapshotMeta} from './snapshot.ts';

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

/** Would you vote for me in `term`? Changes nothing on the receiver (dissertation §9.6). */
export interface PreVoteMessage extends Envelope {
  readonly type: 'pre-vote';
  readonly last: EntryId;
}

/** `term`: granted, the term asked about; refused, the receiver's current term. */
export interface PreVoteResponseMessage extends Envelope {
  readonly type: 'pre-vote-response';
  readonly granted: boolean;
}

/** `isTransfer`: the leader asked for this election, so leader stickiness does not apply. */
export interface VoteMessage extends Envelope {
  readonly type: 'vote';
  readonly last: EntryId;
  readonly isTransfer: boolean;
}

export interface VoteResponseMessage extends Envelope {
  readonly type: 'vote-response';
  readonly granted: boolean;
}

/** `entries` follow `previous` without a gap; `commit` is the leader's commit index. */
export interface AppendMessage extends Envelope {
  readonly type: 'append';
  readonly previous: EntryId;
  readonly entries: readonly Entry[];
  readonly commit: LogIndex;
}

/** The receiver's log is durable and equal to the leader's up to `matchIndex`. */
export interface AppendAcceptedMessage extends Envelope {
  readonly type: 'append-accepted';
  readonly matchIndex: LogIndex;
}

/**
 * The log does not hold `rejected` (the request's previous). `hint` is the largest entry id of the
 * receiver's log that may agree: the leader continues from its own last entry at or below both
 * hint.index and hint.term, so a divergent tail costs a round trip a term, not an entry (§5.3).
 */
export interface AppendRejectedMessage extends Envelope {
  readonly type: 'append-rejected';
  readonly rejected: LogIndex;
  readonly hint: EntryId;
}

/** `commit` never exceeds what the receiver has acknowledged. `readRound` 0: no read waits. */
export interface HeartbeatMessage extends Envelope {
  readonly type: 'heartbeat';
  readonly commit: LogIndex;
  readonly readRound: number;
}

export interface HeartbeatResponseMessage extends Envelope {
  readonly type: 'heartbeat-response';
  readonly readRound: number;
}

/**
 * In Ready.messages of a leader: the shell must stream a snapshot to `to`; `meta` is null, because
 * the shell takes whatever checkpoint is newest and reports through Raft.reportSnapshot.
 * In Raft.step of a receiver: the stream is complete and verified and `meta` says what it holds.
 */
export interface SnapshotMessage extends Envelope {
  readonly type: 'snapshot';
  readonly meta: SnapshotMeta | null;
}

/** The receiver must campaign at once, without pre-vote (dissertation §3.10). */
export interface TimeoutNowMessage extends Envelope {
  readonly type: 'timeout-now';
}

/** A follower asks the leader for a read index; `context` returns unchanged. */
export interface ReadIndexMessage extends Envelope {
  readonly type: 'read-index';
  readonly context: number;
}

export interface ReadIndexResponseMessage extends Envelope {
  readonly type: 'read-index-response';
  readonly context: number;
  readonly index: LogIndex;
}

export type Message =
  | PreVoteMessage
  | PreVoteResponseMessage
  | VoteMessage
  | VoteResponseMessage
  | AppendMessage
  | AppendAcceptedMessage
  | AppendRejectedMessage
  | HeartbeatMessage
  | HeartbeatResponseMessage
  | SnapshotMessage
  | TimeoutNowMessage
  | ReadIndexMessage
  | ReadIndexResponseMessage;

export type MessageType = Message['type'];
