/**
 * The transport's twin in memory, for tests and the simulator. Nothing happens by itself: sends,
 * connections and answers wait in one queue until `deliver` is called, in the order they were made,
 * so a test is a sequence of steps. Messages go through the real codec.
 */
import {assert, must} from '../base/assert.ts';
import type {Member} from '../raft/membership.ts';
import type {NodeId} from '../raft/ids.ts';
import {handshakeHeaders, isRefusal, readHandshake} from './handshake.ts';
import type {MemorySnapshotParts} from './memory-snapshot.ts';
import {streamInMemory} from './memory-snapshot.ts';
import {decodeMessage, encodeMessage, findDamagedEntry} from './message-codec.ts';
import type {
  FormationAnswer,
  LocalIdentity,
  PeerCounters,
  PeerMessage,
  SnapshotSource,
  Transport,
  TransportHandler,
} from './transport.ts';

/** Decides the fate of a message in flight; the default delivers everything. */
export type MessageFilter = (from: NodeId, to: NodeId, message: PeerMessage) => 'deliver' | 'drop';

export class MemoryNetwork {
  readonly #transports = new Map<string, MemoryTransport>();
  readonly #cut = new Set<string>();
  #queue: (() => void)[] = [];
  #filter: MessageFilter = () => 'deliver';

  /** A transport that listens on `address` once it is started. */
  transport(address: string): MemoryTransport {
    return new MemoryTransport(this, address);
  }

  /** Runs what is queued now, not what that causes. Returns how many events ran. */
  deliver(): number {
    for (const transport of [...this.#transports.values()]) transport.connect();
    const batch = this.#queue;
    this.#queue = [];
    for (const event of batch) event();
    return batch.length;
  }

  /** Until nothing is left; `eventCountMax` catches conversations without end. */
  deliverAll(eventCountMax = 100_000): number {
    let count = 0;
    for (;;) {
      const delivered = this.deliver();
      count += delivered;
      assert(count <= eventCountMax, 'more than % events', eventCountMax);
      if (delivered === 0 && this.#queue.length === 0) return count;
    }
  }

  /** No bytes in either direction between the two addresses, until `heal`. */
  partition(a: string, b: string): void {
    this.#cut.add(pairOf(a, b));
    for (const transport of [...this.#transports.values()]) transport.dropUnreachable();
  }

  heal(): void {
    this.#cut.clear();
  }

  setFilter(filter: MessageFilter): void {
    this.#filter = filter;
  }

  /** For transports only. */
  fateOf(from: NodeId, to: NodeId, message: PeerMessage): 'deliver' | 'drop' {
    return this.#filter(from, to, message);
  }

  /** For transports only. */
  enqueue(event: () => void): void {
    this.#queue.push(event);
  }

  /** For transports only. False: the address is taken. */
  listen(address: string, transport: MemoryTransport): boolean {
    if (this.#transports.has(address)) return false;
    this.#transports.set(address, transport);
    return true;
  }

  /** For transports only. */
  unlisten(address: string): void {
    this.#transports.delete(address);
    for (const transport of [...this.#transports.values()]) transport.dropUnreachable();
  }

  /** For transports only. Null: nobody is there, or a partition lies between. */
  reach(from: string, to: string): MemoryTransport | null {
    if (this.#cut.has(pairOf(from, to))) return null;
    return this.#transports.get(to) ?? null;
  }
}

interface MemoryLink {
  readonly address: string;
  /** The transport it is connected to; null: not connected. */
  target: MemoryTransport | null;
  /** Tells messages of an earlier connection from those of this one. */
  generation: number;
  droppedCount: number;
}

export class MemoryTransport implements Transport {
  readonly address: string;
  readonly #network: MemoryNetwork;
  readonly #links = new Map<NodeId, MemoryLink>();
  /** Snapshots on their way out; each ends with an error when its receiver cannot be reached. */
  readonly #streams = new Set<{readonly isReached: () => boolean; readonly end: () => void}>();
  #handler: TransportHandler | null = null;
  #identity: LocalIdentity | null = null;
  #members: readonly Member[] = [];
  #isListening = false;

  constructor(network: MemoryNetwork, address: string) {
    this.#network = network;
    this.address = address;
  }

  start(handler: TransportHandler, callback: (error: Error | null) => void): void {
    assert(this.#handler === null, 'a transport starts once');
    this.#handler = handler;
    this.#isListening = this.#network.listen(this.address, this);
    const error = this.#isListening ? null : new Error(`EADDRINUSE: ${this.address}`);
    this.#network.enqueue(() => callback(error));
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
    const from = this.#ownId();
    if (link === undefined) return false;
    const {target, generation} = link;
    if (target === null) {
      link.droppedCount += 1;
      return false;
    }
    if ('to' in message) assert(message.to === to && message.from === from, 'a message misrouted');
    const bytes = encodeMessage(message);
    this.#network.enqueue(() => {
      const isConnected = this.#links.get(to) === link && link.generation === generation;
      if (!isConnected || this.#network.reach(this.address, target.address) !== target) return;
      const received = decodeMessage(bytes, {from, to});
      if (this.#network.fateOf(from, to, received) === 'drop') return;
      target.receive(from, received);
    });
    return true;
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
    const target = this.#links.get(to)?.target ?? null;
    const from = this.#ownId();
    let isDone = false;
    const stream = {
      isReached: () =>
        target !== null && this.#network.reach(this.address, target.address) === target,
      end: () => finish(new Error('the connection was closed')),
    };
    this.#streams.add(stream);
    const finish = (error: Error | null): void => {
      if (isDone) return;
      isDone = true;
      this.#streams.delete(stream);
      this.#network.enqueue(() => callback(error));
    };
    if (target === null) {
      finish(new Error(`${to} is not connected`));
      return;
    }
    this.#network.enqueue(() => {
      if (isDone) return;
      const {isReached} = stream;
      if (isReached()) target.receiveSnapshot({from, snapshot, isReached}, finish);
      else stream.end();
    });
  }

  requestFormation(
    address: string,
    request: unknown,
    callback: (error: Error | null, answer: FormationAnswer | null) => void,
  ): void {
    const text = JSON.stringify(request);
    this.#network.enqueue(() => {
      const target = this.#network.reach(this.address, address);
      const answer = target?.answerFormation(JSON.parse(text)) ?? null;
      this.#network.enqueue(() => {
        if (answer === null) callback(new Error('ECONNREFUSED'), null);
        else callback(null, answer);
      });
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
    this.#members = [];
    this.#links.clear();
    if (this.#isListening) {
      this.#isListening = false;
      this.#network.unlisten(this.address);
    }
    this.#network.enqueue(callback);
  }

  /** For the network only: dials every peer that is not connected, and meets its refusals. */
  connect(): void {
    const handler = this.#handler;
    const identity = this.#identity;
    if (handler === null || identity === null || identity.clusterId === null) return;
    for (const [id, link] of this.#links) {
      if (link.target !== null) continue;
      const target = this.#network.reach(this.address, link.address);
      if (target === null) continue;
      const refusal = target.admit(identity, id);
      if (refusal !== null) {
        // Reported when it changes nothing else: refused peers do not keep the queue busy.
        handler.onRefused(id, refusal);
        continue;
      }
      link.target = target;
      link.generation += 1;
      this.#network.enqueue(() => {
        if (link.target === target) handler.onPeerUp(id);
      });
    }
  }

  /** For the network only. */
  dropUnreachable(): void {
    for (const stream of [...this.#streams]) if (!stream.isReached()) stream.end();
    for (const [id, link] of this.#links) {
      if (link.target === null) continue;
      if (this.#network.reach(this.address, link.address) !== link.target) this.#drop(id, link);
    }
  }

  /** For the other transports only. */
  admit(identity: LocalIdentity, to: NodeId): ReturnType<TransportHandler['authorize']> {
    const own = this.#identity;
    if (own === null) return {status: 503, code: 'STARTING', detail: 'the node is starting'};
    const introduction = readHandshake(handshakeHeaders(identity, to, 'data'), own);
    if (isRefusal(introduction)) return introduction;
    return this.#listeningHandler().authorize(introduction.handshake);
  }

  /** For the other transports only. */
  receive(from: NodeId, message: PeerMessage): void {
    assert(message.type !== 'snapshot', 'a snapshot is streamed, not sent');
    assert(findDamagedEntry(message) === undefined, 'memory damages nothing');
    const handler = this.#listeningHandler();
    handler.onMessage(from, message);
    handler.onContact(from);
  }

  /** For the other transports only. */
  receiveSnapshot(
    stream: Omit<MemorySnapshotParts, 'receiver' | 'enqueue'>,
    callback: (error: Error | null) => void,
  ): void {
    const enqueue = (event: () => void): void => this.#network.enqueue(event);
    streamInMemory({...stream, receiver: this.#listeningHandler(), enqueue}, callback);
  }

  /** For the other transports only. */
  answerFormation(request: unknown): FormationAnswer {
    const {status, body} = this.#listeningHandler().onFormation(request);
    return {status, body: JSON.parse(JSON.stringify(body))};
  }

  #updateLinks(): void {
    const ownId = this.#identity?.id;
    const wanted = new Map(this.#members.map(member => [member.id, member.listen]));
    for (const [id, link] of this.#links) {
      if (wanted.get(id) !== link.address) this.#closeLink(id);
    }
    for (const [id, address] of wanted) {
      if (id === ownId || this.#links.has(id)) continue;
      this.#links.set(id, {address, target: null, generation: 0, droppedCount: 0});
    }
  }

  #closeLink(id: NodeId): void {
    const link = must(this.#links.get(id), 'no link to %', id);
    this.#links.delete(id);
    if (link.target !== null) this.#drop(id, link);
  }

  #drop(id: NodeId, link: MemoryLink): void {
    link.target = null;
    link.generation += 1;
    const handler = this.#handler;
    this.#network.enqueue(() => {
      if (this.#isListening) handler?.onPeerDown(id);
    });
  }

  #listeningHandler(): TransportHandler {
    return must(this.#handler, 'only a started transport is reached');
  }

  #ownId(): NodeId {
    return must(this.#identity, 'sending needs an identity').id;
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
