/**
 * The transport of one life of a simulated member: connections that take time to come up, break
 * and come back, with the handshake and the codec of the real one. Delays and faults are the
 * network's (sim-network.ts).
 */
import {assert, must} from '../../src/base/assert.ts';
import {limits} from '../../src/base/limits.ts';
import type {Member} from '../../src/raft/membership.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import {nodeId} from '../../src/raft/ids.ts';
import {handshakeHeaders, isRefusal, readHandshake} from '../../src/transport/handshake.ts';
import {decodeMessage, encodeMessage} from '../../src/transport/message-codec.ts';
import type {
  FormationAnswer,
  LocalIdentity,
  PeerCounters,
  PeerMessage,
  Refusal,
  SnapshotSource,
  Transport,
  TransportHandler,
} from '../../src/transport/transport.ts';
import type {MemberTime} from './member-time.ts';
import type {Envelope, SimNetwork} from './sim-network.ts';
import {SnapshotFlow} from './snapshot-flow.ts';

interface Link {
  readonly to: NodeId;
  readonly address: string;
  /** Null: not connected. */
  target: SimTransport | null;
  /** Tells this connection from earlier ones. */
  generation: number;
  dialCount: number;
  droppedCount: number;
  /** They end with the connection. */
  readonly flows: Set<SnapshotFlow>;
}

export class SimTransport implements Transport {
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #time: MemberTime;
  readonly #links = new Map<NodeId, Link>();
  #handler: TransportHandler | null = null;
  #identity: LocalIdentity | null = null;
  #members: readonly Member[] = [];
  #isListening = false;
  #isStopped = false;
  /** A power cut: nobody is told that this process is gone. */
  isSilent = false;

  constructor(network: SimNetwork, address: string, time: MemberTime) {
    this.#network = network;
    this.address = address;
    this.#time = time;
  }

  get owner(): number {
    return this.#time.owner;
  }

  start(handler: TransportHandler, callback: (error: Error | null) => void): void {
    assert(this.#handler === null, 'a transport starts once');
    this.#handler = handler;
    this.#isListening = this.#network.listen(this.address, this);
    const error = this.#isListening ? null : new Error(`EADDRINUSE: ${this.address}`);
    this.#soon(0, () => callback(error));
  }

  setPeers(members: readonly Member[]): void {
    this.#members = members;
    this.#updateLinks();
  }

  setIdentity(identity: LocalIdentity): void {
    const previous = this.#identity;
    this.#identity = identity;
    if (previous !== null && previous.clusterId !== identity.clusterId) {
      for (const id of [...this.#links.keys()]) this.#closeLink(id);
    }
    this.#updateLinks();
  }

  send(to: NodeId, message: PeerMessage): boolean {
    assert(message.type !== 'snapshot', 'a snapshot is streamed, not sent');
    const link = this.#links.get(to);
    if (link === undefined) return false;
    const {target, generation} = link;
    if (target === null) {
      link.droppedCount++;
      return false;
    }
    this.#network.onSend(this.owner, message);
    const envelope: Envelope = {
      fromAddress: this.address,
      toAddress: link.address,
      type: message.type,
      bytes: encodeMessage(message),
    };
    const isCurrent = (): boolean => link.generation === generation && target.#isListening;
    const isTaken = this.#network.carry(envelope, isData(message) ? 1 : 0, isCurrent);
    if (!isTaken) link.droppedCount++;
    return isTaken;
  }

  /** Nothing is kept back. */
  flush(): void {
    return;
  }

  sendSnapshot(
    to: NodeId,
    snapshot: SnapshotSource,
    callback: (error: Error | null) => void,
  ): void {
    const link = this.#links.get(to);
    const target = link?.target ?? null;
    if (link === undefined || target === null) {
      this.#soon(0, () => callback(new Error(`${to} is not connected`)));
      return;
    }
    const flow = new SnapshotFlow({
      from: this.#ownId(),
      snapshot,
      receiver: target.#listeningHandler(),
      atReceiver: (delayMs, action) => target.#soon(delayMs, action),
      delayMs: () => this.#network.delayMs(),
      isPathOpen: () => this.#network.isOpen(this.owner, target.owner),
      mustBreak: () => this.#network.breaksStream(),
      coverage: this.#network.coverage,
      onEnd: error => {
        link.flows.delete(flow);
        this.#soon(0, () => callback(error));
      },
    });
    link.flows.add(flow);
    flow.begin();
  }

  requestFormation(
    address: string,
    request: unknown,
    callback: (error: Error | null, answer: FormationAnswer | null) => void,
  ): void {
    const text = JSON.stringify(request);
    const network = this.#network;
    const fail = (delayMs: number): void =>
      this.#soon(delayMs, () => callback(new Error('ECONNREFUSED'), null));
    if (!network.isMachine(address)) {
      fail(network.delayMs());
      return;
    }
    const to = network.timeOf(address);
    if (!network.isOpen(this.owner, to.owner)) {
      fail(limits.formationTimeoutMs);
      return;
    }
    if (network.at(address) === null) {
      fail(network.delayMs());
      return;
    }
    let isAnswered = false;
    const end = (error: Error | null, answer: FormationAnswer | null): void => {
      if (isAnswered) return;
      isAnswered = true;
      callback(error, answer);
    };
    this.#soon(limits.formationTimeoutMs, () => end(new Error('ETIMEDOUT'), null));
    to.notice(network.delayMs(), 'message', () => {
      const answer = network.at(address)?.answerFormation(JSON.parse(text)) ?? null;
      if (answer === null || !network.isOpen(to.owner, this.owner)) return;
      this.#soon(network.delayMs(), () => end(null, answer));
    });
  }

  peer(id: NodeId): PeerCounters {
    const link = this.#links.get(id);
    return {
      isConnected: link !== undefined && link.target !== null,
      bufferedSizeBytes: 0,
      droppedCount: link?.droppedCount ?? 0,
    };
  }

  stop(callback: () => void): void {
    this.#isStopped = true;
    this.#members = [];
    for (const link of this.#links.values()) {
      link.generation++;
      for (const flow of [...link.flows]) flow.break();
    }
    this.#links.clear();
    if (this.#isListening) {
      this.#isListening = false;
      this.#network.unlisten(this.address, {isSilent: this.isSilent});
    }
    this.#time.notice(0, 'link', callback);
  }

  /** For the network only. */
  receive(envelope: Envelope): void {
    if (this.#isStopped) return;
    const from = nodeId(envelope.fromAddress.slice(0, envelope.fromAddress.indexOf(':')));
    const handler = this.#listeningHandler();
    const identity = this.#identity;
    if (identity === null) return;
    const message = decodeMessage(envelope.bytes, {from, to: identity.id});
    handler.onMessage(from, message);
    handler.onContact(from);
  }

  /** For the network only: connections with `address` break. */
  scheduleBreak(address: string, delayMs: number): void {
    for (const link of this.#links.values()) {
      if (link.address !== address || link.target === null) continue;
      const {generation} = link;
      this.#soon(delayMs, () => {
        if (link.generation === generation) this.#break(link);
      });
    }
  }

  /** For the other transports only. */
  admit(identity: LocalIdentity, to: NodeId): Refusal | null {
    const own = this.#identity;
    if (own === null) return {status: 503, code: 'STARTING', detail: 'the node is starting'};
    const introduction = readHandshake(handshakeHeaders(identity, to, 'data'), own);
    if (isRefusal(introduction)) return introduction;
    return this.#listeningHandler().authorize(introduction.handshake);
  }

  /** For the other transports only. */
  answerFormation(request: unknown): FormationAnswer {
    const {status, body} = this.#listeningHandler().onFormation(request);
    return {status, body: JSON.parse(JSON.stringify(body)) as unknown};
  }

  #updateLinks(): void {
    const identity = this.#identity;
    const wanted = new Map(this.#members.map(member => [member.id, member.listen]));
    for (const [id, link] of this.#links) {
      if (wanted.get(id) !== link.address) this.#closeLink(id);
    }
    for (const [id, address] of wanted) {
      if (id === identity?.id || this.#links.has(id)) continue;
      const link: Link = {
        to: id,
        address,
        target: null,
        generation: 0,
        dialCount: 0,
        droppedCount: 0,
        flows: new Set(),
      };
      this.#links.set(id, link);
      this.#soon(0, () => this.#dial(link));
    }
  }

  #dial(link: Link): void {
    if (this.#links.get(link.to) !== link || link.target !== null) return;
    const identity = this.#identity;
    if (identity === null || identity.clusterId === null) {
      this.#dialAgain(link, 0);
      return;
    }
    const to = this.#network.timeOf(link.address);
    if (!this.#network.isOpen(this.owner, to.owner)) {
      this.#dialAgain(link, limits.peerConnectTimeoutMs);
      return;
    }
    let isAnswered = false;
    // The other process may be paused, or die before it answers.
    this.#soon(limits.handshakeTimeoutMs, () => {
      if (!isAnswered && this.#links.get(link.to) === link) this.#dialAgain(link, 0);
      isAnswered = true;
    });
    to.notice(this.#network.delayMs(), 'link', () => {
      const target = this.#network.at(link.address);
      const isOpen = this.#network.isOpen(this.owner, to.owner);
      const refusal = target === null || !isOpen ? null : target.admit(identity, link.to);
      this.#soon(this.#network.delayMs(), () => {
        if (isAnswered || this.#links.get(link.to) !== link) return;
        isAnswered = true;
        if (target === null || !isOpen || refusal !== null || !target.#isListening) {
          if (refusal !== null) this.#listeningHandler().onRefused(link.to, refusal);
          this.#dialAgain(link, 0);
          return;
        }
        link.target = target;
        link.generation++;
        link.dialCount = 0;
        this.#network.coverage.count('connection made');
        this.#listeningHandler().onPeerUp(link.to);
      });
    });
  }

  /** With the back-off of the real transport. */
  #dialAgain(link: Link, spentMs: number): void {
    const {reconnectDelayMsMin, reconnectDelayMsMax} = limits;
    const longest = Math.min(reconnectDelayMsMax, reconnectDelayMsMin * 2 ** link.dialCount++);
    const delayMs = longest * (0.5 + this.#network.prng.float() / 2);
    this.#soon(spentMs + delayMs, () => this.#dial(link));
  }

  #closeLink(id: NodeId): void {
    const link = must(this.#links.get(id), `no link to ${id}`);
    this.#links.delete(id);
    if (link.target !== null) this.#break(link);
  }

  #break(link: Link): void {
    link.target = null;
    link.generation++;
    this.#network.coverage.count('connection lost');
    for (const flow of [...link.flows]) flow.break();
    this.#soon(0, () => this.#listeningHandler().onPeerDown(link.to));
    if (this.#links.get(link.to) === link) this.#dialAgain(link, 0);
  }

  /** In a turn of its own, if this life lasts that long. */
  #soon(delayMs: number, callback: () => void): void {
    this.#time.notice(delayMs, 'link', () => {
      if (!this.#isStopped) callback();
    });
  }

  #listeningHandler(): TransportHandler {
    return must(this.#handler, 'only a started transport is reached');
  }

  #ownId(): NodeId {
    return must(this.#identity, 'sending needs an identity').id;
  }
}

/** As src/transport/peer-link.ts divides them. */
function isData({type}: PeerMessage): boolean {
  return (
    type === 'append' ||
    type === 'append-accepted' ||
    type === 'append-rejected' ||
    type === 'forward' ||
    type === 'forward-response' ||
    type === 'state-hash'
  );
}
