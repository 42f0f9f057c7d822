/**
 * What a running member does about who belongs to the cluster: takes requests to change it, grows
 * by `-peers`, promotes learners, tells those that left. Composes; each concern has its file.
 */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {Member} from '../raft/membership.ts';
import type {Transport} from '../transport/transport.ts';
import {ClusterGrower} from './cluster-grower.ts';
import {Farewell} from './farewell.ts';
import type {FormationPeer} from './formation-messages.ts';
import {readHelloAnswer} from './formation-messages.ts';
import {LearnerPromoter} from './learner-promoter.ts';
import {MembershipChanger} from './membership-changer.ts';
import type {Replica} from './replica.ts';

const lookMs = 100;

export interface MembershipKeeperParts {
  readonly self: Member;
  readonly clusterId: string;
  readonly peers: readonly FormationPeer[];
  /** Raft addresses that `-join` names; the first start asked them, and this is a later one. */
  readonly contacts: readonly string[];
  readonly replica: Replica;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly electionTimeoutMs: number;
  /** What a member last said of its own addresses. */
  readonly advertised: (
    member: Member,
  ) => {readonly listen: string; readonly http: string} | undefined;
  /** Connections that were kept may go. */
  readonly onFarewellOver: () => void;
}

export class MembershipKeeper {
  readonly changer: MembershipChanger;
  readonly farewell: Farewell;
  readonly #parts: MembershipKeeperParts;
  readonly #grower: ClusterGrower;
  readonly #promoter: LearnerPromoter;
  readonly #hello: unknown;
  #isStopped = false;

  constructor(parts: MembershipKeeperParts) {
    this.#parts = parts;
    const {self, peers, replica, advertised} = parts;
    const {transport, clock, logger, clusterId, electionTimeoutMs} = parts;
    const {raft} = replica;
    const onProposed = (): void => replica.followMembership();
    const hello = {
      type: 'hello',
      id: self.id,
      incarnation: self.incarnation,
      clusterId,
      listen: self.listen,
      http: self.http,
      ids: [self.id, ...peers.map(peer => peer.id)].sort(),
    };
    this.#hello = hello;
    const shared = {raft, transport, clock, logger, clusterId, electionTimeoutMs, onProposed};
    const {incarnation} = parts.self;
    this.#grower = new ClusterGrower({...shared, incarnation, peers, hello, advertised});
    this.changer = new MembershipChanger({
      ...shared,
      hello,
      listen: self.listen,
      listenOf: member => advertised(member)?.listen ?? member.listen,
      handOver: () => replica.handOver(),
    });
    this.#promoter = new LearnerPromoter({
      ...shared,
      isActive: this.changer.isActive,
      isExcepted: id => this.#grower.isGrowingTo(id),
    });
    this.farewell = new Farewell({transport, clock, clusterId, onOver: parts.onFarewellOver});
  }

  start(): void {
    for (const contact of this.#parts.contacts) this.#checkContact(contact);
    const look = (): void => {
      if (this.#isStopped) return;
      this.#grower.tick();
      this.#promoter.tick();
      this.farewell.tick();
      this.#parts.clock.setTimer(lookMs, look);
    };
    look();
  }

  stop(): void {
    this.#isStopped = true;
    this.#grower.stop();
  }

  /** A flag left from the first start: its address may have become another cluster's. */
  #checkContact(address: string): void {
    const {transport, clusterId, self, logger} = this.#parts;
    transport.requestFormation(address, this.#hello, (error, answer) => {
      const said = error === null && answer !== null ? readHelloAnswer(answer) : null;
      const other = said?.clusterId ?? clusterId;
      if (said === null || other === clusterId || this.#isStopped) return;
      const detail =
        `the data directory of ${self.id} belongs to cluster ${clusterId} and stays there; ` +
        `${said.id} at ${address} belongs to ${other}: give it an empty -data to join that one`;
      logger.warn({contact: address}, detail);
    });
  }

  /** Nobody waits for an answer any longer. */
  failAll(): void {
    this.changer.stop();
  }
}
