/**
 * Everything that arrives on the Raft address passes here: who may connect, who is told what before
 * the cluster exists, and where messages go once it runs. A refusal changes nothing.
 */
import {limits} from '../base/limits.ts';
import type {NodeId} from '../raft/ids.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {findMember, hasShrunk, isRemoved} from '../raft/membership.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {SnapshotImport} from '../storage/checkpoint-store.ts';
import type {
  FormationAnswer,
  Handshake,
  PeerMessage,
  Refusal,
  SnapshotOffer,
  TransportHandler,
} from '../transport/transport.ts';
import type {CheckpointRepair} from './checkpoint-repair.ts';
import type {
  ChangeRequest,
  FormationPeer,
  Hello,
  LastStartNotice,
  RemovedNotice,
  SendSnapshot,
} from './formation-messages.ts';
import {readFormationRequest} from './formation-messages.ts';
import type {IdentityRecord} from './identity-record.ts';
import {Introductions} from './introductions.ts';
import type {MembershipKeeper} from './membership-keeper.ts';
import type {JoinRequest, ReplaceRequest} from './membership-rules.ts';
import {knownIdRefusal, removedRefusal} from './membership-rules.ts';
import type {Newcomer} from './newcomer.ts';
import type {NodeParts} from './node-parts.ts';
import {OlderCopies} from './older-copies.ts';
import type {Replica} from './replica.ts';

interface Addresses {
  readonly listen: string;
  readonly http: string;
}

export interface PeerGateParts {
  readonly self: Member;
  readonly node: Pick<NodeParts, 'logger' | 'noteStale' | 'seenStarts' | 'starts' | 'transport'>;
  readonly peers: readonly FormationPeer[];
  readonly newcomer: () => Newcomer | null;
  readonly replica: () => Replica | null;
  /** There is one when there is a replica. */
  readonly keeper: () => MembershipKeeper | null;
  readonly repair: () => CheckpointRepair | null;
  readonly record: () => IdentityRecord;
  /** While no replica runs: those the log names last; empty before it names any. */
  readonly loggedMembers: () => readonly Member[];
  readonly fail: (error: Error) => void;
  /** A member announced other addresses than before. */
  readonly onAddresses: () => void;
  /** The cluster has removed this node. */
  readonly onRemoved: (detail: string) => void;
}

export class PeerGate implements TransportHandler {
  readonly #parts: PeerGateParts;
  readonly #introductions: Introductions;
  readonly #olderCopies: OlderCopies;
  readonly #lastRefusal = new Map<NodeId, string>();

  constructor(parts: PeerGateParts) {
    this.#parts = parts;
    this.#introductions = new Introductions(parts.self, id => this.#member(id));
    this.#olderCopies = new OlderCopies({...parts.node, fail: parts.fail});
  }

  /** What `member` last said of its own addresses. */
  advertised(member: Member): Addresses | undefined {
    const introduced = this.#introductions.of(member.id);
    if (introduced?.incarnation !== member.incarnation) return undefined;
    const {listen, http} = introduced;
    return {listen, http};
  }

  /** Strangers to be answered: while this node is behind, its leader may be one of them. */
  guests(): readonly Member[] {
    if (this.#parts.replica()?.raft.role === 'leader') return [];
    const guests = this.#introductions.strangers();
    return guests
      .filter(({incarnation}) => !this.#hasLeft(incarnation))
      .slice(-limits.memberCountMax);
  }

  /** Called before another message comes when the membership in force changes. */
  onMembership(): void {
    this.#introductions.onMembership();
  }

  onMessage(from: NodeId, message: PeerMessage): void {
    if (this.#introductions.isStranger(from) && !this.#maySay(from, message)) return;
    this.#parts.replica()?.onMessage(from, message);
  }

  onContact(from: NodeId): void {
    const replica = this.#parts.replica();
    if (replica === null) return;
    if (!this.#introductions.isStranger(from) || replica.raft.role !== 'leader')
      replica.onContact(from);
  }

  onPeerUp(id: NodeId): void {
    this.#lastRefusal.delete(id);
    this.#parts.replica()?.onPeerUp(id);
  }

  onPeerDown(id: NodeId): void {
    this.#parts.replica()?.onPeerDown(id);
  }

  onRefused(id: NodeId, refusal: Refusal): void {
    if (refusal.code === 'REMOVED') {
      this.#parts.onRemoved(refusal.detail);
      return;
    }
    // A peer that knows another incarnation may just be behind.
    if (refusal.code === 'STALE_DATA') {
      this.#olderCopies.onRefused(id, refusal.detail);
      return;
    }
    if (refusal.code === 'UNKNOWN_MEMBER') this.#tellLastStart(id);
    // A refusal is repeated with every attempt; it is said once.
    if (this.#lastRefusal.get(id) === refusal.code) return;
    this.#lastRefusal.set(id, refusal.code);
    if (refusal.code === 'STARTING') return;
    this.#parts.node.logger.warn(
      {peer: id, code: refusal.code},
      `${id} refuses: ${refusal.detail}`,
    );
  }

  authorize(handshake: Handshake): Refusal | null {
    const member = this.#member(handshake.from);
    const {from, incarnation, listen, http} = handshake;
    if (this.#hasLeft(incarnation)) {
      return {status: 403, ...removedRefusal(from)};
    }
    // A leader has every member in its log; others may learn of this one later.
    const isLeading = this.#parts.replica()?.raft.role === 'leader';
    if (member === undefined && isLeading) {
      const detail = `${from} is not a member of cluster ${handshake.clusterId}`;
      return {status: 403, code: 'UNKNOWN_MEMBER', detail};
    }
    if (member !== undefined && member.incarnation !== incarnation && isLeading) {
      return {
        status: 409,
        code: 'WRONG_INCARNATION',
        detail: `${from} is a member with another data directory; start it with -rejoin`,
      };
    }
    const refusal = this.#olderCopies.judge(handshake, this.#parts.replica()?.raft ?? null);
    if (refusal !== null) return refusal;
    if (this.#introductions.note(from, {incarnation, listen, http})) this.#parts.onAddresses();
    this.#parts.replica()?.onReachable(from);
    return null;
  }

  onFormation(request: unknown): FormationAnswer {
    const parsed = readFormationRequest(request);
    if (parsed === null) {
      return {status: 400, body: {code: 'BAD_REQUEST', detail: 'not a formation request'}};
    }
    const newcomer = this.#parts.newcomer();
    if (newcomer !== null) return newcomer.answer(parsed);
    const keeper = this.#parts.keeper();
    if (keeper === null) {
      return {status: 503, body: {code: 'STARTING', detail: 'the node is starting'}};
    }
    switch (parsed.type) {
      case 'hello':
        return this.#answerHello(parsed);
      case 'join':
        return this.#answerJoin(parsed, keeper);
      case 'replace':
        return this.#answerReplace(parsed, keeper);
      case 'send-snapshot':
        return this.#answerSendSnapshot(parsed);
      case 'change':
        return this.#answerChange(parsed, keeper);
      case 'removed':
        return this.#onRemovedNotice(parsed);
      case 'last-start':
        return this.#onLastStart(parsed);
      case 'found':
      case 'adopt':
        if (parsed.clusterId !== this.#parts.record().clusterId) return this.#wrongCluster();
        return {status: 200, body: {clusterId: parsed.clusterId, stage: 'member'}};
    }
  }

  onSnapshotOffer(from: NodeId, offer: SnapshotOffer): SnapshotImport | null {
    const replica = this.#parts.replica();
    if (replica !== null) return replica.snapshotter.onOffer(from, offer);
    return this.#parts.repair()?.onOffer(from, offer) ?? null;
  }

  onSnapshotBroken(_from: NodeId, snapshot: SnapshotImport): void {
    const holder = this.#parts.replica()?.snapshotter ?? this.#parts.repair();
    if (holder === null) snapshot.abort();
    else holder.onBroken(snapshot);
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
    const replica = this.#parts.replica();
    const refusal = replica?.refusal() ?? null;
    if (refusal !== null) {
      return {status: 503, body: {code: refusal.code, detail: refusal.message}};
    }
    replica?.snapshotter.send(id);
    return {status: 200, body: {}};
  }

  #answerJoin(request: JoinRequest, keeper: MembershipKeeper): FormationAnswer {
    const {id} = this.#parts.self;
    const {clusterId} = this.#parts.record();
    if ((request.clusterId ?? clusterId) !== clusterId) return this.#wrongCluster();
    if (request.member.id === id) return {status: 409, body: knownIdRefusal(id)};
    return keeper.changer.handleJoin(request);
  }

  #answerReplace(request: ReplaceRequest, keeper: MembershipKeeper): FormationAnswer {
    const {clusterId} = this.#parts.record();
    if ((request.clusterId ?? clusterId) !== clusterId) return this.#wrongCluster();
    const {incarnation, starts} = request;
    const isStale = incarnation !== null && this.#olderCopies.isOlder(incarnation, starts);
    return keeper.changer.handleReplace(request, isStale);
  }

  #answerChange(request: ChangeRequest, keeper: MembershipKeeper): FormationAnswer {
    if (request.clusterId !== this.#parts.record().clusterId) return this.#wrongCluster();
    return keeper.changer.handle(request);
  }

  #onRemovedNotice(notice: RemovedNotice): FormationAnswer {
    const {self, onRemoved} = this.#parts;
    if (notice.clusterId !== this.#parts.record().clusterId) return this.#wrongCluster();
    const isMeant = notice.id === self.id && notice.incarnation === self.incarnation;
    if (isMeant) onRemoved(removedRefusal(self.id).detail);
    return {status: 200, body: {}};
  }

  #onLastStart(notice: LastStartNotice): FormationAnswer {
    const {self} = this.#parts;
    if (notice.clusterId !== this.#parts.record().clusterId) return this.#wrongCluster();
    const isMeant = notice.id === self.id && notice.incarnation === self.incarnation;
    if (isMeant) this.#olderCopies.onLastStart(self.id, notice.start);
    return {status: 200, body: {}};
  }

  #tellLastStart(id: NodeId): void {
    const member = this.#member(id);
    if (member === undefined) return;
    const place = {...member, ...this.advertised(member)};
    this.#olderCopies.tellLastStart(place, this.#parts.record().clusterId);
  }

  #wrongCluster(): FormationAnswer {
    const detail = `${this.#parts.self.id} belongs to cluster ${this.#parts.record().clusterId}`;
    return {status: 409, body: {code: 'WRONG_CLUSTER', detail}};
  }

  /** A running member speaks to somebody who starts. */
  #answerHello(hello: Hello): FormationAnswer {
    const {self, peers} = this.#parts;
    const {clusterId} = this.#parts.record();
    const known = this.#member(nodeId(hello.id));
    const isFresh = hello.clusterId === null;
    if (isFresh && known !== undefined && known.incarnation !== hello.incarnation) {
      if (!this.#isGrowingTo(hello.id)) return {status: 409, body: refuseFresh(known, self)};
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
    const membership = this.#parts.replica()?.raft.membership;
    if (membership !== undefined && hasShrunk(membership)) return false;
    const voterCount = membership?.voters.length ?? 0;
    return voterCount <= 1 && this.#parts.peers.some(peer => peer.id === id);
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

  /** By what is committed: what is only logged may be taken back. */
  #hasLeft(incarnation: string): boolean {
    const raft = this.#parts.replica()?.raft;
    return raft !== undefined && isRemoved(raft.committedMembership, incarnation);
  }

  /** A stranger's writes are taken and answered, what it promises as a member counts nowhere. */
  #maySay(id: NodeId, message: PeerMessage): boolean {
    if (message.type === 'forward' || message.type === 'forward-response') return true;
    const introduced = this.#introductions.of(id);
    if (introduced === undefined) return false;
    if (!this.#hasLeft(introduced.incarnation)) return !this.#countsForQuorum(message);
    this.#parts.keeper()?.farewell.tellStranger({id, ...introduced});
    return false;
  }

  /** Also a question to a leader, which is a sign that its sender follows it. */
  #countsForQuorum(message: PeerMessage): boolean {
    if (message.type === 'read-index') return this.#parts.replica()?.raft.role === 'leader';
    return isPromise(message);
  }
}

/** What a leader or a candidate counts. */
function isPromise(message: PeerMessage): boolean {
  switch (message.type) {
    case 'append-accepted':
    case 'append-rejected':
    case 'heartbeat-response':
    case 'vote-response':
    case 'pre-vote-response':
    case 'state-hash':
      return true;
    default:
      return false;
  }
}

/** Somebody comes with an empty directory under the id of a member. */
function refuseFresh(
  known: Member,
  self: Member,
): {readonly code: string; readonly detail: string} {
  if (known.incarnation !== '') return knownIdRefusal(known.id);
  const detail = `${known.id} is to join a running cluster: start it with -join=${self.listen}`;
  return {code: 'MUST_JOIN', detail};
}
