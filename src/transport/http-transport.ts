/**
 * Transport over HTTP: composes the listening side (peer-server.ts) and one link per peer
 * (peer-link.ts). Each side dials its own two connections and only sends on them, so two nodes
 * that dial each other at once have nothing to settle.
 */
import type {Address} from '../base/address.ts';
import {formatAddress, parseAddress} from '../base/address.ts';
import {assert, must} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import type {Prng} from '../base/prng.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {askFormation} from './formation-http.ts';
import {handshakeHeaders} from './handshake.ts';
import type {OutgoingChannel} from './outgoing-channel.ts';
import {PeerLink} from './peer-link.ts';
import {PeerServer} from './peer-server.ts';
import type {RejectionCounts} from './rejections.ts';
import {Rejections} from './rejections.ts';
import {SnapshotPacer} from './snapshot-pacer.ts';
import {SnapshotSender} from './snapshot-sender.ts';
import type {
  FormationAnswer,
  LocalIdentity,
  PeerCounters,
  PeerMessage,
  SnapshotSource,
  Transport,
  TransportHandler,
} from './transport.ts';

export interface HttpTransportOptions {
  /** `host:port` to listen on; port 0 lets the system choose. */
  readonly listen: string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
}

const notConnected: PeerCounters = {isConnected: false, bufferedSizeBytes: 0, droppedCount: 0};

/** Of one peer: whoever answers decides what they say. */
const saidReasonCountMax = 8;

export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions;
  readonly #rejections: Rejections;
  readonly #links = new Map<NodeId, PeerLink>();
  readonly #senders = new Map<NodeId, SnapshotSender>();
  readonly #pacer: SnapshotPacer;
  readonly #cancelQuestions = new Set<() => void>();
  /** Channels with something to write at the end of this turn. */
  #dirty: OutgoingChannel[] = [];
  #members: readonly Member[] = [];
  #identity: LocalIdentity | null = null;
  #handler: TransportHandler | null = null;
  #server: PeerServer | null = null;
  #boundPort = 0;
  #tickTimer: Timer | null = null;
  #isStopped = false;

  constructor(options: HttpTransportOptions) {
    this.#options = options;
    this.#pacer = new SnapshotPacer(options.clock);
    this.#rejections = new Rejections(options.clock, options.logger);
  }

  /** What the Raft port turned away since the start, by reason. */
  counters(): RejectionCounts {
    return this.#rejections.counts();
  }

  /** Where it listens, with the port the system chose. */
  address(): Address {
    return {host: this.#listenAddress().host, port: this.#boundPort};
  }

  start(handler: TransportHandler, callback: (error: Error | null) => void): void {
    assert(this.#handler === null, 'a transport starts once');
    const {clock} = this.#options;
    this.#handler = handler;
    this.#server = new PeerServer({
      clock,
      handler,
      rejections: this.#rejections,
      identity: () => this.#identity,
      onChannel: from => this.#links.get(from)?.hurry(),
    });
    this.#server.start(this.#listenAddress(), (error, port) => {
      this.#boundPort = port;
      if (error === null && !this.#isStopped) {
        this.#scheduleTick();
        this.#updateLinks();
      }
      callback(error);
    });
  }

  setPeers(members: readonly Member[]): void {
    assert(members.length <= limits.memberCountMax * 4, 'a bounded number of peers');
    this.#members = members;
    this.#updateLinks();
  }

  setIdentity(identity: LocalIdentity): void {
    const previous = this.#identity;
    this.#identity = identity;
    const isSame =
      previous === null ||
      previous.clusterId === null ||
      (previous.clusterId === identity.clusterId &&
        previous.id === identity.id &&
        previous.incarnation === identity.incarnation);
    if (!isSame) {
      this.#closeLinks();
      this.#server?.closeChannels();
    }
    this.#updateLinks();
  }

  send(to: NodeId, message: PeerMessage): boolean {
    assert(message.type !== 'snapshot', 'a snapshot is streamed, not sent');
    if ('to' in message) {
      assert(message.to === to, 'a message for % sent to %', message.to, to);
      assert(message.from === this.#identity?.id, 'a message from % sent by another', message.from);
    }
    return this.#links.get(to)?.send(message) ?? false;
  }

  flush(): void {
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    for (const channel of dirty) channel.flush();
  }

  sendSnapshot(
    to: NodeId,
    snapshot: SnapshotSource,
    callback: (error: Error | null) => void,
  ): void {
    const {clock} = this.#options;
    const link = this.#links.get(to);
    const identity = this.#identity;
    const problem = this.#snapshotProblem(to);
    if (link === undefined || identity === null || problem !== null) {
      clock.afterPoll(() => callback(new Error(problem ?? `${to} is not a peer`)));
      return;
    }
    const headers = handshakeHeaders(identity, to, 'snapshot');
    const parts = {address: link.address, headers, snapshot, pacer: this.#pacer, clock};
    const sender = new SnapshotSender(parts, error => {
      this.#senders.delete(to);
      callback(error);
    });
    this.#senders.set(to, sender);
  }

  requestFormation(
    address: string,
    request: unknown,
    callback: (error: Error | null, answer: FormationAnswer | null) => void,
  ): void {
    if (this.#isStopped) return;
    const {clock} = this.#options;
    const cancel = askFormation({address, request, clock}, (error, answer) => {
      this.#cancelQuestions.delete(cancel);
      callback(error, answer);
    });
    this.#cancelQuestions.add(cancel);
  }

  peer(id: NodeId): PeerCounters {
    return this.#links.get(id)?.counters() ?? notConnected;
  }

  stop(callback: () => void): void {
    this.#isStopped = true;
    this.#tickTimer?.cancel();
    for (const sender of [...this.#senders.values()]) sender.abort('the node is stopping');
    for (const cancel of this.#cancelQuestions) cancel();
    this.#cancelQuestions.clear();
    this.#closeLinks();
    if (this.#server === null) this.#options.clock.afterPoll(callback);
    else this.#server.stop(callback);
  }

  #listenAddress(): Address {
    return must(parseAddress(this.#options.listen), 'not an address: %', this.#options.listen);
  }

  #snapshotProblem(to: NodeId): string | null {
    if (this.#isStopped) return 'the node is stopping';
    if (this.#senders.has(to)) return `a snapshot is already on its way to ${to}`;
    return null;
  }

  /** Makes the links those of the members, as far as the identity allows. */
  #updateLinks(): void {
    const identity = this.#identity;
    const wanted = new Map<NodeId, string>();
    const isListening = !this.#isStopped && this.#boundPort !== 0;
    if (isListening && identity !== null && identity.clusterId !== null) {
      for (const member of this.#members) {
        if (member.id !== identity.id) wanted.set(member.id, member.listen);
      }
    }
    for (const [id, link] of this.#links) {
      if (wanted.get(id) !== link.address) this.#closeLink(id, link);
    }
    for (const [id, address] of wanted) {
      if (!this.#links.has(id)) this.#links.set(id, this.#openLink(id, address));
    }
  }

  #openLink(to: NodeId, address: string): PeerLink {
    const {clock, prng, logger} = this.#options;
    const handler = must(this.#handler, 'a link needs a started transport');
    // An attempt fails every second at most; each reason is said once until one succeeds.
    const saidReasons = new Set<string>();
    return new PeerLink({
      to,
      address,
      clock,
      prng,
      headers: channel =>
        handshakeHeaders(must(this.#identity, 'a link needs an identity'), to, channel),
      needFlush: channel => this.#needFlush(channel),
      onUp: () => {
        saidReasons.clear();
        logger.info({peer: to, address}, `connected to ${to}`);
        handler.onPeerUp(to);
      },
      onDown: reason => {
        logger.info({peer: to, address, reason}, `lost the connection to ${to}`);
        handler.onPeerDown(to);
      },
      onRefused: refusal => {
        logger.debug({peer: to, address, code: refusal.code}, `${to} refuses: ${refusal.detail}`);
        handler.onRefused(to, refusal);
      },
      onFailed: reason => {
        if (saidReasons.has(reason) || saidReasons.size >= saidReasonCountMax) return;
        saidReasons.add(reason);
        logger.info({peer: to, address}, `cannot connect to ${to} at ${address}: ${reason}`);
      },
    });
  }

  #closeLink(id: NodeId, link: PeerLink): void {
    const wasUp = link.isUp;
    link.close();
    this.#links.delete(id);
    this.#senders.get(id)?.abort(`the connection to ${id} was dropped`);
    const {clock} = this.#options;
    if (wasUp && !this.#isStopped) clock.afterPoll(() => this.#handler?.onPeerDown(id));
  }

  #closeLinks(): void {
    for (const [id, link] of [...this.#links]) this.#closeLink(id, link);
  }

  readonly #flushDue = (): void => {
    this.flush();
  };

  /** Everything sent in one callback leaves together, right after it. */
  #needFlush(channel: OutgoingChannel): void {
    this.#dirty.push(channel);
    if (this.#dirty.length > 1) return;
    process.nextTick(this.#flushDue);
  }

  #scheduleTick(): void {
    const {clock} = this.#options;
    this.#tickTimer = clock.setTimer(limits.peerPingIntervalMs, () => {
      // After the poll phase, so that acks that have arrived are seen before they are missed.
      clock.afterPoll(() => {
        if (this.#isStopped) return;
        for (const link of [...this.#links.values()]) link.tick();
        this.#server?.tick();
        this.#scheduleTick();
      });
    });
  }
}

/** The address a peer dials to reach a transport that chose its own port. */
export function boundAddress(transport: HttpTransport): string {
  return formatAddress(transport.address());
}
