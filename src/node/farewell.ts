/**
 * Telling members that they were removed. For a while their connections are kept, so that what they
 * had handed to the leader is still answered; then they are dropped. A member that was cut off
 * meanwhile learns of its removal when it dials (peer-gate.ts).
 */
import type {Clock} from '../base/clock.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {isRemoved} from '../raft/membership.ts';
import type {Transport} from '../transport/transport.ts';

const durationMs = 3_000;
const intervalMs = 200;

interface Parting {
  readonly member: Member;
  readonly untilMs: number;
  toldAtMs: number;
}

export interface FarewellParts {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly onOver: () => void;
}

export class Farewell {
  readonly #parts: FarewellParts;
  readonly #partings = new Map<NodeId, Parting>();
  #strangerToldAtMs = -Infinity;
  #known: readonly Member[] = [];

  constructor(parts: FarewellParts) {
    this.#parts = parts;
  }

  /** Connections with these are kept a little longer. */
  get members(): readonly Member[] {
    return [...this.#partings.values()].map(({member}) => member);
  }

  /** `committed`: what is in force and cannot be rolled back. */
  note(committed: Membership): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const member of this.#known) {
      if (!isRemoved(committed, member.incarnation) || this.#partings.has(member.id)) continue;
      const parting = {member, untilMs: nowMs + durationMs, toldAtMs: -Infinity};
      this.#partings.set(member.id, parting);
    }
    // Another disk under the same name has the name's connections to itself.
    for (const {id} of committed.members) this.#partings.delete(id);
    this.#known = committed.members;
  }

  tick(): void {
    const {clock, onOver} = this.#parts;
    const nowMs = clock.monotonicMs();
    for (const [id, parting] of this.#partings) {
      if (nowMs >= parting.untilMs) {
        this.#partings.delete(id);
        onOver();
      } else if (nowMs - parting.toldAtMs >= intervalMs) {
        parting.toldAtMs = nowMs;
        this.#tell(parting.member);
      }
    }
  }

  /** Somebody who left and does not know it spoke. */
  tellStranger(member: Member): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#strangerToldAtMs < intervalMs) return;
    this.#strangerToldAtMs = nowMs;
    this.#tell(member);
  }

  #tell({id, incarnation, listen}: Member): void {
    const {transport, clusterId} = this.#parts;
    const request = {type: 'removed', clusterId, id, incarnation};
    transport.requestFormation(listen, request, () => undefined);
  }
}
