/**
 * Messages between members. Three implementations: HTTP (http-transport.ts), in memory
 * (memory-transport.ts), simulated. Delivery is at most once and may reorder across the two
 * channels; within a channel messages of one connection arrive in order. Callbacks never run
 * inside a call of `send`.
 */
import type {ErrorCode} from '../base/errors.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {Message} from '../raft/message.ts';
import type {CheckpointMeta, SnapshotImport, SnapshotReader} from '../storage/checkpoint-store.ts';
import type {SnapshotPosition} from '../storage/snapshot-position.ts';
import type {StartHistory} from '../storage/start-history.ts';

/** A command handed to the leader on behalf of a client of another node. */
export interface ForwardMessage {
  readonly type: 'forward';
  /** Unique among the sender's forwards of this connection's lifetime. */
  readonly requestId: number;
  readonly timeoutMs: number;
  readonly command: Uint8Array;
}

/** Either the encoded CommandResult or an error of the table. */
export interface ForwardResponseMessage {
  readonly type: 'forward-response';
  readonly requestId: number;
  readonly result: Uint8Array | null;
  readonly error: {readonly code: ErrorCode; readonly detail: string} | null;
}

/** State hash of the sender at an applied index, compared by everyone. */
export interface StateHashMessage {
  readonly type: 'state-hash';
  readonly index: number;
  readonly hash: string;
}

export type PeerMessage = Message | ForwardMessage | ForwardResponseMessage | StateHashMessage;

/** Who this process is; sent in every handshake. */
export interface LocalIdentity {
  /** 32 hex digits; null until the cluster is formed. */
  readonly clusterId: string | null;
  readonly id: NodeId;
  readonly incarnation: string;
  /** Of this data directory, this start included. */
  readonly starts: StartHistory;
  readonly listen: string;
  readonly http: string;
  /** As it is now; null: no log is open yet. */
  readonly log: LogPosition | null;
}

/** Where a member is. */
export interface LogPosition {
  readonly term: number;
  /** Of the last entry of its log, on the disk or on its way there. */
  readonly lastIndex: number;
}

export interface Handshake {
  readonly clusterId: string;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly incarnation: string;
  readonly starts: StartHistory;
  readonly listen: string;
  readonly http: string;
  /** Null: not said, as by earlier builds. */
  readonly log: LogPosition | null;
}

/** A refusal the peer is told and logs: HTTP status, a code, a sentence that says what to do. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

export interface SnapshotOffer {
  /**
   * Names one copy of one checkpoint: streams with the same id, from the same member, carry the
   * same rows. Lower-case letters, digits and hyphens, ≤ limits.snapshotIdSizeBytesMax.
   */
  readonly id: string;
  readonly meta: CheckpointMeta;
  /** Of the sender's copy: about what the receiver needs beside what it has. */
  readonly sizeBytes: number;
}

/** What a sender streams from. */
export interface SnapshotSource extends SnapshotOffer {
  /** As SnapshotExport.open: called once the receiver has said what it holds. */
  open(after: SnapshotPosition | null): SnapshotReader;
}

/** The receiver took the trouble to say no, unlike a connection that broke. */
export class SnapshotRefusedError extends Error {
  override readonly name = 'SnapshotRefusedError';
  /** SNAPSHOT_NOT_WANTED: it has no use for this snapshot; any other: it cannot take one now. */
  readonly code: string;

  constructor(refusal: {readonly code: string; readonly detail: string}) {
    super(`${refusal.code}: ${refusal.detail}`);
    this.code = refusal.code;
  }
}

/** The shell's side. All calls come from the event loop, none from inside a transport method. */
export interface TransportHandler {
  onMessage(from: NodeId, message: PeerMessage): void;
  /** Bytes arrived from `from`, though perhaps no whole message: it is alive. */
  onContact(from: NodeId): void;
  /** Both channels to the peer are up / one of them was lost. */
  onPeerUp(id: NodeId): void;
  onPeerDown(id: NodeId): void;
  /** The peer refused our handshake; the transport keeps trying with back-off. */
  onRefused(id: NodeId, refusal: Refusal): void;
  /** Null: welcome. Cluster, protocol version and addressee are already checked. */
  authorize(handshake: Handshake): Refusal | null;
  /** A JSON request of the formation protocol (node/formation.ts); the answer is JSON too. */
  onFormation(request: unknown): FormationAnswer;
  /** Null: not wanted; otherwise the import is begun and blocks are written to it. */
  onSnapshotOffer(from: NodeId, offer: SnapshotOffer): SnapshotImport | null;
  /**
   * The stream of an accepted offer broke off; the import is sound as far as it goes, and may be
   * the answer to a later offer of the same id.
   */
  onSnapshotBroken(from: NodeId, snapshot: SnapshotImport): void;
  /** The import of an accepted offer is finished (verified, durable, not installed). */
  onSnapshotReceived(from: NodeId, meta: CheckpointMeta, snapshot: SnapshotImport): void;
}

export interface FormationAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface PeerCounters {
  readonly isConnected: boolean;
  readonly bufferedSizeBytes: number;
  readonly droppedCount: number;
}

export interface Transport {
  /** Listens. The error (EADDRINUSE …) is reported once through `callback`. */
  start(handler: TransportHandler, callback: (error: Error | null) => void): void;
  /** The members to keep connections with; others are dropped. The own id is ignored. */
  setPeers(members: readonly Member[]): void;
  /** Formed, joined or restarted: handshakes carry this from now on. */
  setIdentity(identity: LocalIdentity): void;
  /**
   * False, and nothing sent, when the peer is not connected or its buffer is full. True promises
   * nothing. Messages of one event-loop turn leave in one write per channel.
   */
  send(to: NodeId, message: PeerMessage): boolean;
  /** Hands what was sent to the kernel now, not only after the running callback. */
  flush(): void;
  /**
   * Streams what the receiver does not hold yet; the callback says whether it finished its import.
   * SnapshotRefusedError: it does not want it; any other error: worth another stream. Every reader
   * is closed by then.
   */
  sendSnapshot(to: NodeId, snapshot: SnapshotSource, callback: (error: Error | null) => void): void;
  /** Asks an address that is not a member yet; used by formation only. */
  requestFormation(
    address: string,
    request: unknown,
    callback: (error: Error | null, answer: FormationAnswer | null) => void,
  ): void;
  peer(id: NodeId): PeerCounters;
  stop(callback: () => void): void;
}
