/**
 * Everything that arrives on the Raft address passes here: who may connect, who is told what before
 * the cluster exists, and where messages go once it runs. A refusal changes nothing.
 */
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {findMember} from '../raft/membership.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {SnapshotImport} from '../storage/checkpoint-store.ts';
import type {
  FormationAnswer,
  Handshake,
  PeerMessage,
  Refusal,
  TransportHandler,
} from '../transport/transport.ts';
import type {CheckpointRepair} from './checkpoint-repair.ts';
import type {FormationPeer, Hello, SendSnapshot} from './formation-messages.ts';
import {readFormationRequest} from './formation-messages.ts';
import type {Formation} from './formation.ts';
import type {IdentityRecord} from './identity-record.ts';
import type {Replica} from './replica.ts';

/** The highest start count seen of every peer's directory. */
export interface StartCounts {
  get(incarnation: string): number;
  /**
   * True: this count is durable. False: it will be soon, ask again; `fail` is called when that is
   * impossible for another reason than a full disk.
   */
  record(incarnation: string, startCount: number, fail: (error: Error) => void): boolean;
}

interface Addresses {
  readonly listen: string;
  readonly http: string;
}

export interface PeerGateParts {
  readonly self: Member;
  readonly logger: Logger;
  readonly startCounts: StartCounts;
  readonly peers: readonly FormationPeer[];
  readonly formation: () => Formation | null;
  readonly replica: () => Replica | null;
  readonly repair: () => CheckpointRepair | null;
  readonly record: () => IdentityRecord;
  /** While no replica runs: those the log names last; empty before it names any. */
  readonly loggedMembers: () => readonly Member[];
  readonly fail: (error: Error) => void;
  /** A member announced other addresses than before. */
  readonly onAddresses: () => void;
}

/** Refusals that waiting cannot cure: the node says so and exits. */
const fatalRefusals = new Set(['WRONG_INCARNATION', 'STALE_DATA']);

export class PeerGate implements TransportHandler {
  readonly #parts: PeerGateParts;
  readonly #advertised = new Map<string, Addresses>();
  readonly #lastRefusal = new Map<NodeId, string>();

  constructor(parts: PeerGateParts) {
    this.#parts = parts;
    const {id, listen, http} = parts.self;
    this.#advertised.set(id, {listen, http});
  }

  /** What `id` last said of its own addresses. */
  advertised(id: NodeId): Addresses | undefined {
    return this.#advertised.get(id);
  }

  onMessage(from: NodeId, message: PeerMessage): void {
    this.#parts.replica()?.onMessage(from, message);
  }

  onContact(from: NodeId): void {
    this.#parts.replica()?.onContact(from);
  }

  onPeerUp(id: NodeId): void {
    this.#lastRefusal.delete(id);
    this.#parts.replica()?.onPeerUp();
  }

  onPeerDown(id: NodeId): void {
    this.#parts.replica()?.onPeerDown(id);
  }

  onRefused(id: NodeId, refusal: Refusal): void {
    if (fatalRefusals.has(refusal.code)) {
      this.#parts.fail(
        new RosettaError('INVALID_REQUEST', `${id} refuses this node: ${refusal.detail}`),
      );
      return;
    }
    // A refusal is repeated with every attempt; it is said once.
    if (this.#lastRefusal.get(id) === refusal.code) return;
    this.#lastRefusal.set(id, refusal.code);
    if (refusal.code === 'STARTING') return;
    this.#parts.logger.warn({peer: id, code: refusal.code}, `${id} refuses: ${refusal.detail}`);
  }

  authorize(handshake: Handshake): Refusal | null {
    const member = this.#member(handshake.from);
    const {from, incarnation, startCount, listen, http} = handshake;
    if (member === undefined) {
      const detail = `${from} is not a member of cluster ${handshake.clusterId}`;
      return {status: 403, code: 'UNKNOWN_MEMBER', detail};
    }
    if (member.incarnation !== incarnation) {
      return {
        status: 409,
        code: 'WRONG_INCARNATION',
        detail: `${from} is a member with another data directory; start it with -rejoin`,
      };
    }
    if (startCount < this.#parts.startCounts.get(incarnation)) {
      return {
        status: 409,
        code: 'STALE_DATA',
        detail: `the data directory of ${from} was restored from a backup; start it with -rejoin`,
      };
    }
    // The peer dials again within milliseconds. Until then nothing that it says is taken: a node
    // that forgot this start in a crash would let an older directory speak for the peer.
    if (!this.#parts.startCounts.record(incarnation, startCount, this.#parts.fail)) {
      const detail = `the start of ${from} is being written down`;
      return {status: 503, code: 'STARTING', detail};
    }
    this.#noteAddresses(from, {listen, http});
    return null;
  }

  onFormation(request: unknown): FormationAnswer {
    const parsed = readFormationRequest(request);
    if (parsed === null) {
      return {status: 400, body: {code: 'BAD_REQUEST', detail: 'not a formation request'}};
    }
    const formation = this.#parts.formation();
    if (formation !== null) return formation.answer(parsed);
    if (this.#parts.replica() === null) {
      return {status: 503, body: {code: 'STARTING', detail: 'the node is starting'}};
    }
    if (parsed.type === 'hello') return this.#answerHello(parsed);
    if (parsed.type === 'send-snapshot') return this.#answerSendSnapshot(parsed);
    if (parsed.clusterId === this.#parts.record().clusterId) {
      return {status: 200, body: {clusterId: parsed.clusterId, stage: 'member'}};
    }
    const detail = `${this.#parts.self.id} belongs to cluster ${this.#parts.record().clusterId}`;
    return {status: 409, body: {code: 'WRONG_CLUSTER', detail}};
  }

  onSnapshotOffer(from: NodeId, meta: SnapshotMeta): SnapshotImport | null {
    const replica = this.#parts.replica();
    if (replica !== null) return replica.snapshotter.onOffer(from, meta);
    return this.#parts.repair()?.onOffer(from, meta) ?? null;
  }

  onSnapshotReceived(from: NodeId, meta: SnapshotMeta, snapshot: SnapshotImport): void {
    const replica = this.#parts.replica();
    const repair = this.#parts.repair();
    if (replica !== null) replica.snapshotter.onReceived(from, meta, snapshot);
    else if (repair !== null) repair.onReceived(meta, snapshot);
    else snapshot.abort();
  }

  #answerSendSnapshot(request: SendSnapshot): FormationAnswer {
    const id = nodeId(request.id);
    const isMember =
      request.clusterId === this.#parts.record().clusterId &&
      this.#member(id)?.incarnation === request.incarnation;
    if (!isMember) {
      const detail = `${id} is not a member of this cluster with this data directory`;
      return {status: 409, body: {code: 'UNKNOWN_MEMBER', detail}};
    }
    this.#parts.replica()?.snapshotter.send(id);
    return {status: 200, body: {}};
  }

  /** A running member speaks to somebody who starts. */
  #answerHello(hello: Hello): FormationAnswer {
    const {self, peers} = this.#parts;
    const {clusterId} = this.#parts.record();
    const known = this.#member(nodeId(hello.id));
    const isFresh = hello.clusterId === null;
    if (isFresh && known !== undefined && known.incarnation !== hello.incarnation) {
      if (!this.#isGrowingTo(hello.id)) return knownId(hello.id, clusterId);
    }
    const isExpected =
      (known !== undefined && known.incarnation === hello.incarnation) ||
      this.#isGrowingTo(hello.id);
    const body = {
      id: self.id,
      incarnation: self.incarnation,
      clusterId,
      stage: 'member',
      listen: self.listen,
      http: self.http,
      ids: [self.id, ...peers.map(peer => peer.id)].sort(),
      isExpected,
    };
    return {status: 200, body};
  }

  /** The one voter is about to take `id` in; a learner, which came first, knows it as well. */
  #isGrowingTo(id: string): boolean {
    const voters = this.#parts.replica()?.raft.membership.voters ?? [];
    return voters.length <= 1 && this.#parts.peers.some(peer => peer.id === id);
  }

  #member(id: NodeId): Member | undefined {
    const replica = this.#parts.replica();
    if (replica !== null) {
      const {membership} = replica.raft;
      if (membership.members.length > 0) return findMember(membership, id);
    }
    // A founder that grew knows the members it took in from its log alone.
    const logged = this.#parts.loggedMembers();
    const members = logged.length > 0 ? logged : this.#parts.record().members;
    return members.find(member => member.id === id);
  }

  #noteAddresses(id: NodeId, addresses: Addresses): void {
    const before = this.#advertised.get(id);
    if (before?.listen === addresses.listen && before.http === addresses.http) return;
    this.#advertised.set(id, addresses);
    this.#parts.onAddresses();
  }
}

function knownId(id: string, clusterId: string | null): FormationAnswer {
  const detail =
    `${id} is already a member of cluster ${clusterId ?? ''} with another data directory; ` +
    'if that one is lost, start with -rejoin to replace it';
  return {status: 409, body: {code: 'KNOWN_ID', detail}};
}
