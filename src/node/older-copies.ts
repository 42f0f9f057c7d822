/**
 * Data directories that went back: a copy of before took their place, and what they promised since
 * is forgotten. A directory is known by the starts it has gone through, and by how much of its log
 * it had acknowledged to the leader.
 */
import {RosettaError} from '../base/errors.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {Raft} from '../raft/raft.ts';
import type {Start, StartHistory} from '../storage/start-history.ts';
import {hasGoneThrough, isSameStart, lastStart} from '../storage/start-history.ts';
import type {Handshake, LogPosition, Refusal, Transport} from '../transport/transport.ts';

/** The last start seen of every peer's directory. */
export interface SeenStarts {
  get(incarnation: string): Start | null;
  /**
   * True: this start is durable. False: it will be soon, ask again; `fail` is called when that is
   * impossible for another reason than a full disk.
   */
  record(incarnation: string, start: Start, fail: (error: Error) => void): boolean;
}

export interface OlderCopiesParts {
  /** Of this node's own directory. */
  readonly starts: StartHistory;
  readonly seenStarts: SeenStarts;
  readonly transport: Pick<Transport, 'requestFormation'>;
  readonly noteStale: (detail: string) => void;
  readonly fail: (error: Error) => void;
}

export class OlderCopies {
  readonly #parts: OlderCopiesParts;

  constructor(parts: OlderCopiesParts) {
    this.#parts = parts;
  }

  /** Whether a directory with these starts is an older copy. */
  isOlder(incarnation: string, starts: StartHistory): boolean {
    return !hasGoneThrough(starts, this.#parts.seenStarts.get(incarnation));
  }

  /**
   * Null: the peer may come in. Its log is looked at with the first connection of a life: nothing
   * of that life has been acknowledged to this node by then.
   */
  judge({from, incarnation, starts, log}: Handshake, raft: Raft | null): Refusal | null {
    const {seenStarts, fail} = this.#parts;
    const seen = seenStarts.get(incarnation);
    const start = lastStart(starts);
    const hasForgotten = !isSameStart(seen, start) && isBehindItsAcks(log, raft, from);
    if (hasForgotten || !hasGoneThrough(starts, seen)) {
      return {status: 409, code: 'STALE_DATA', detail: staleDetail(from)};
    }
    // The peer dials again within milliseconds. Until then nothing that it says is taken: a node
    // that forgot this start in a crash would let an older directory speak for the peer.
    if (!seenStarts.record(incarnation, start, fail)) {
      const detail = `the start of ${from} is being written down`;
      return {status: 503, code: 'STARTING', detail};
    }
    return null;
  }

  /** `by` says that this node's directory is one. Waiting cannot cure it. */
  onRefused(by: NodeId, detail: string): void {
    this.#parts.noteStale(detail);
    this.#parts.fail(new RosettaError('INVALID_REQUEST', `${by} refuses this node: ${detail}`));
  }

  /**
   * A member that does not know this node may be one of the time before: it dials nobody who came
   * later, so it is told which start of its directory was seen last.
   */
  tellLastStart({id, incarnation, listen}: Member, clusterId: string | null): void {
    const {seenStarts, transport} = this.#parts;
    const start = seenStarts.get(incarnation);
    if (start === null) return;
    const notice = {type: 'last-start', clusterId, id, incarnation, start};
    transport.requestFormation(listen, notice, () => undefined);
  }

  /** Somebody saw `start` of this node's directory. */
  onLastStart(self: NodeId, start: Start): void {
    if (hasGoneThrough(this.#parts.starts, start)) return;
    const detail = staleDetail(self);
    this.#parts.noteStale(detail);
    this.#parts.fail(new RosettaError('INVALID_REQUEST', detail));
  }
}

/**
 * What a member acknowledges in a term is on its disk, and nobody but a leader of a later term
 * takes it back.
 */
function isBehindItsAcks(log: LogPosition | null, raft: Raft | null, from: NodeId): boolean {
  const progress = raft?.progress(from);
  if (log === null || raft === null || progress === undefined) return false;
  return log.term <= raft.term && log.lastIndex < progress.matchIndex;
}

function staleDetail(id: NodeId): string {
  return `the data directory of ${id} was restored from a backup; start it with -rejoin`;
}
