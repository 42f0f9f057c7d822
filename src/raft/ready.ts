/**
 * One step's output: everything the shell must do, as data. The order is the contract:
 *
 *   1. `messages` may leave at once, before anything of this Ready is durable.
 *   2. `hardState` and `entries` go to the WAL in the order of `sequence`; several Readys may be on
 *      their way to the disk at a time. A `snapshot` comes before them: when all earlier writes are
 *      durable the state machine becomes it, durably, then the log begins anew behind it, and only
 *      then `hardState` and `entries` of its Ready are written, which count on it.
 *   3. `messagesAfterPersist` leave when every write up to and including `sequence` is durable.
 *   4. Then, and not before, the shell calls `raft.persisted(sequence)`.
 *   5. `committed` is applied in order; `raft.applied(index)` follows. These entries are already
 *      durable on this node: apply never runs ahead of the local disk.
 *   6. `readStates` may be answered once appliedIndex ≥ their index.
 *
 * See docs/io-ordering.md.
 */
import type {Entry} from './entry.ts';
import type {HardState} from './hard-state.ts';
import type {LogIndex, NodeId, Term} from './ids.ts';
import type {Message} from './message.ts';
import type {SnapshotMeta} from './snapshot.ts';
import type {Role} from './state.ts';

export interface SoftState {
  readonly role: Role;
  readonly leaderId: NodeId | null;
  readonly term: Term;
}

/** A read that asked with `context` sees every write acknowledged before it, at ≥ `index`. */
export interface ReadState {
  readonly context: number;
  readonly index: LogIndex;
}

export interface Ready {
  /** Present when role, leader or term changed since the last Ready. */
  readonly softState: SoftState | null;
  /** Number of the last write this node has handed out; messagesAfterPersist wait for it. */
  readonly sequence: number;
  /** True when this Ready has something to write, hence a `sequence` of its own. */
  readonly mustPersist: boolean;
  /** Present when term or vote changed, or when the WAL is written anyway. */
  readonly hardState: HardState | null;
  /** To append; an index that exists already supersedes it and everything after it. */
  readonly entries: readonly Entry[];
  /** To install: the log before and at its index is gone, the state machine is replaced. */
  readonly snapshot: SnapshotMeta | null;
  readonly messages: readonly Message[];
  readonly messagesAfterPersist: readonly Message[];
  readonly committed: readonly Entry[];
  readonly readStates: readonly ReadState[];
}
