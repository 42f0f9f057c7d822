/**
 * Where a member is dialed. What it said itself in this life counts; before that, what the log says
 * of it. When members have moved while nobody who knew was up, that leads nowhere: so whoever is
 * not found where the log says is also looked for where `-peers` says, in turns. A connection comes
 * about only where that id answers in this cluster.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {Transport} from '../transport/transport.ts';
import type {FormationPeer} from './formation-messages.ts';

/** So long at one address: an attempt into a black hole, and another one. */
const turnMs = 2 * limits.peerConnectTimeoutMs;

export interface PeerAddressesParts {
  /** Those of `-peers`. */
  readonly peers: readonly FormationPeer[];
  /** What a member last said of its own addresses. */
  readonly advertised: (
    member: Member,
  ) => {readonly listen: string; readonly http: string} | undefined;
  readonly transport: Pick<Transport, 'peer'>;
  readonly clock: Clock;
  /** Somebody is to be looked for elsewhere: ask again. */
  readonly onTurn: () => void;
}

export class PeerAddresses {
  readonly #parts: PeerAddressesParts;
  /** These are looked for where `-peers` says. */
  readonly #elsewhere = new Set<string>();
  #timer: Timer | null = null;
  #isStopped = false;

  constructor(parts: PeerAddressesParts) {
    this.#parts = parts;
  }

  /** What differs from `member`. */
  of(member: Member): Partial<Pick<Member, 'listen' | 'http'>> {
    const {id, listen} = member;
    const advertised = this.#parts.advertised(member);
    if (advertised !== undefined) return advertised;
    const configured = this.#parts.peers.find(peer => peer.id === id)?.address ?? listen;
    if (configured === listen) return {};
    if (!this.#isStopped) {
      this.#timer ??= this.#parts.clock.setTimer(turnMs, () => this.#turn());
    }
    return this.#elsewhere.has(id) ? {listen: configured} : {};
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #turn(): void {
    const {peers, transport, onTurn} = this.#parts;
    this.#timer = null;
    for (const {id} of peers) {
      if (transport.peer(nodeId(id)).isConnected) continue;
      if (!this.#elsewhere.delete(id)) this.#elsewhere.add(id);
    }
    onTurn();
  }
}
