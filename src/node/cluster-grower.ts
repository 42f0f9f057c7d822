/**
 * Grows a one-member cluster to the members that `-peers` names: each is asked who it is, added as
 * a learner, told the cluster's id, and when all have caught up they become voters together. Also
 * keeps the addresses in the membership what the members say they are. Runs on the leader; every
 * step is repeated until it shows in the membership, so a crash at any point is continued.
 */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {findMember, hasShrunk, isJoint, isVoter, isVoterOn} from '../raft/membership.ts';
import type {Raft} from '../raft/raft.ts';
import type {Transport} from '../transport/transport.ts';
import type {FormationPeer, HelloAnswer} from './formation-messages.ts';
import {readHelloAnswer} from './formation-messages.ts';

const intervalMs = 200;

/** A learner this close to the leader's log has caught up. */
const caughtUpEntryCount = 1_000;

export interface ClusterGrowerParts {
  readonly raft: Raft;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly clusterId: string;
  /** Of this node's disk. */
  readonly incarnation: string;
  /** Those of `-peers`. */
  readonly peers: readonly FormationPeer[];
  readonly hello: unknown;
  /** What each member last said of its own addresses. */
  readonly advertised: (
    member: Member,
  ) => {readonly listen: string; readonly http: string} | undefined;
  readonly onProposed: () => void;
}

export class ClusterGrower {
  readonly #parts: ClusterGrowerParts;
  #lastLookAtMs = -Infinity;
  readonly #asking = new Set<string>();
  /** Found in another cluster, and said so. */
  readonly #foreign = new Set<string>();
  #isStopped = false;
  #isGrowing: boolean;

  constructor(parts: ClusterGrowerParts) {
    this.#parts = parts;
    this.#isGrowing = parts.peers.length > 0 && isGrowable(parts);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Whether `id` is to become a voter together with the others of `-peers`. */
  isGrowingTo(id: NodeId): boolean {
    return this.#isGrowing && this.#parts.peers.some(peer => peer.id === id);
  }

  /** Called with every tick. */
  tick(): void {
    const {raft, clock} = this.#parts;
    const nowMs = clock.monotonicMs();
    if (this.#isStopped || raft.role !== 'leader') return;
    if (nowMs - this.#lastLookAtMs < intervalMs) return;
    this.#lastLookAtMs = nowMs;
    const {membership} = raft;
    if (isJoint(membership)) return;
    if (this.#isGrowing) this.#grow(membership);
    else this.#correctAddresses(membership);
  }

  #grow(membership: Membership): void {
    const {raft, peers, logger} = this.#parts;
    if (hasShrunk(membership)) {
      // From now on members come and go one by one.
      this.#isGrowing = false;
      logger.info({}, 'a member was removed: the cluster grows by -peers no further');
      return;
    }
    if (peers.every(peer => isVoter(membership, nodeId(peer.id)))) {
      this.#isGrowing = false;
      logger.info({voters: membership.voters}, 'the cluster has grown');
      return;
    }
    if (peers.every(peer => hasCaughtUp(raft, nodeId(peer.id)))) {
      // A learner of an earlier -peers, which may be gone for good, stays one.
      const ids = peers.map(peer => nodeId(peer.id));
      this.#propose({
        ...membership,
        voters: sorted([...new Set([...membership.voters, ...ids])]),
        learners: membership.learners.filter(id => !ids.includes(id)),
      });
      return;
    }
    for (const peer of peers) this.#ask(peer);
  }

  #ask(peer: FormationPeer): void {
    const {transport, hello} = this.#parts;
    if (this.#asking.has(peer.id)) return;
    this.#asking.add(peer.id);
    transport.requestFormation(peer.address, hello, (error, answer) => {
      this.#asking.delete(peer.id);
      if (this.#isStopped || error !== null || answer === null) return;
      const said = readHelloAnswer(answer);
      if (said?.id === peer.id) this.#onHello(said);
    });
  }

  #onHello(said: HelloAnswer): void {
    const {raft, transport, clusterId, peers, logger} = this.#parts;
    const {membership} = raft;
    if (raft.role !== 'leader' || isJoint(membership)) return;
    const id = nodeId(said.id);
    const known = findMember(membership, id);
    const member: Member = {
      id,
      incarnation: said.incarnation,
      listen: said.listen,
      http: said.http,
    };
    if (said.clusterId !== null && said.clusterId !== clusterId) {
      if (!this.#foreign.has(id)) {
        logger.warn({peer: id}, `${id} belongs to another cluster; give it an empty directory`);
      }
      this.#foreign.add(id);
      return;
    }
    if (
      known === undefined ||
      (known.incarnation !== member.incarnation && !isVoter(membership, id))
    ) {
      this.#propose({
        ...membership,
        learners: sorted([...membership.learners.filter(other => other !== id), id]),
        members: [...membership.members.filter(other => other.id !== id), member].sort(byId),
      });
      return;
    }
    if (said.stage !== 'fresh') return;
    const address = peers.find(peer => peer.id === said.id)?.address;
    if (address === undefined) return;
    const adopt = {type: 'adopt', clusterId, members: membership.members};
    transport.requestFormation(address, adopt, () => undefined);
  }

  #correctAddresses(membership: Membership): void {
    const {advertised} = this.#parts;
    const members = membership.members.map(member => ({...member, ...advertised(member)}));
    const isChanged = members.some((member, i) => {
      const before = membership.members[i];
      return member.listen !== before?.listen || member.http !== before.http;
    });
    if (isChanged) this.#propose({...membership, members});
  }

  #propose(next: Membership): void {
    const {raft, onProposed} = this.#parts;
    // Refused while another change is pending or before the first commit of the term: the next
    // look tries again.
    raft.proposeMembership(next, raft.lastProposedAtMs);
    onProposed();
  }
}

/** On the leader: whether a member is there, and has all but the newest of the log. */
export function hasCaughtUp(raft: Raft, id: NodeId): boolean {
  const progress = raft.progress(id);
  return (
    progress !== undefined &&
    progress.state === 'replicate' &&
    progress.isActive &&
    progress.matchIndex + caughtUpEntryCount >= raft.lastIndex
  );
}

/**
 * Only a cluster of this one voter may be grown by `-peers`; others change by their operators. Nor
 * one that somebody shrank: a `-peers` that was left behind would bring back who was removed. A
 * disk that follows the log through the time when its predecessor was alone is not that voter.
 */
function isGrowable({raft, incarnation}: ClusterGrowerParts): boolean {
  const {membership, id} = raft;
  if (hasShrunk(membership) || isJoint(membership) || membership.voters.length !== 1) return false;
  return isVoterOn(membership, id, incarnation);
}

function sorted(ids: readonly NodeId[]): NodeId[] {
  return [...ids].sort(byCodeUnit);
}

function byId(a: Member, b: Member): number {
  return byCodeUnit(a.id, b.id);
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
