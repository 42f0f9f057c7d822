/**
 * Raft instances joined by an in-memory network, for tests and scenarios. Nothing happens by
 * itself: the test takes Readys, makes writes durable, delivers, drops and duplicates messages.
 *
 * The cluster knows what was ever committed and checks after every step: one leader a term
 * (Election Safety), one entry an index for all state machines (State Machine Safety), every
 * committed entry in the log of every later leader (Leader Completeness).
 */
import {assert, must} from '../../base/assert.ts';
import {equalBytes} from '../../base/bytes.ts';
import {Prng} from '../../base/prng.ts';
import type {Entry} from '../entry.ts';
import type {LogIndex, NodeId, Term} from '../ids.ts';
import {indexAfter, logIndex, nodeId} from '../ids.ts';
import {checkInvariants} from '../invariants.ts';
import type {Member, Membership} from '../membership.ts';
import {emptyMembership} from '../membership.ts';
import {idsOf} from '../membership-change.ts';
import type {Message} from '../message.ts';
import type {RaftOptions} from '../options.ts';
import {Raft} from '../raft.ts';
import type {Ready, ReadState} from '../ready.ts';
import {MemoryLog} from './memory-log.ts';

export const electionTimeoutTicks = 5;
export const heartbeatIntervalTicks = 1;

export interface MemoryNode {
  readonly id: NodeId;
  raft: Raft;
  readonly log: MemoryLog;
  isUp: boolean;
  /** Messages that wait for their write. */
  waiting: {readonly sequence: number; readonly messages: readonly Message[]}[];
  readonly readStates: ReadState[];
}

export type ClusterOptions = Partial<
  Pick<
    RaftOptions,
    | 'appendSizeBytesMax'
    | 'inflightSizeBytesMax'
    | 'inflightCountMax'
    | 'uncommittedSizeBytesMax'
    | 'committedSizeBytesMax'
  >
> & {readonly seed?: number};

export class MemoryCluster {
  readonly nodes = new Map<NodeId, MemoryNode>();
  /** On the way, oldest first. */
  messages: Message[] = [];
  /** Every entry that some state machine has applied. */
  readonly committed = new Map<LogIndex, Entry>();
  readonly leaders = new Map<Term, NodeId>();
  readonly #isolated = new Set<NodeId>();
  readonly #options: ClusterOptions;
  #seed: number;

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    this.#seed = options.seed ?? 1;
  }

  /** Starts the members; `outsiders` start without a membership. */
  start(membership: Membership, outsiders: readonly NodeId[] = []): void {
    for (const id of idsOf(membership)) this.#add(id, membership);
    for (const id of outsiders) this.#add(id, emptyMembership);
  }

  node(id: NodeId | string): MemoryNode {
    return must(this.nodes.get(nodeId(id)), `no node ${id}`);
  }

  raft(id: NodeId | string): Raft {
    return this.node(id).raft;
  }

  /** Takes one Ready and performs all of it but the disk's part; null: there was none. */
  process(id: NodeId | string): Ready | null {
    const node = this.node(id);
    if (!node.isUp || !node.raft.hasReady()) return null;
    const ready = node.raft.ready();
    if (ready.mustPersist) node.log.write(ready);
    this.messages.push(...ready.messages);
    if (ready.messagesAfterPersist.length > 0) {
      node.waiting.push({sequence: ready.sequence, messages: ready.messagesAfterPersist});
    }
    for (const entry of ready.committed) this.#apply(node, entry);
    const last = ready.committed[ready.committed.length - 1];
    if (last !== undefined) node.raft.applied(last.index);
    node.readStates.push(...ready.readStates);
    if (node.log.pendingCount === 0) this.#release(node, ready.sequence);
    this.#check(node);
    return ready;
  }

  /** The disk has finished: everything, or up to `sequence`. */
  persist(id: NodeId | string, sequence?: number): number | null {
    const node = this.node(id);
    const done = node.log.persist(sequence);
    if (done === null) return null;
    this.#release(node, done);
    node.raft.persisted(done);
    this.#check(node);
    return done;
  }

  /** Removes the message from the way and hands it over, unless it is cut off. */
  deliver(message: Message, options: {readonly isDuplicate: boolean} = {isDuplicate: false}): void {
    const place = this.messages.indexOf(message);
    assert(place >= 0, 'the message is not on the way');
    if (!options.isDuplicate) this.messages.splice(place, 1);
    const node = this.nodes.get(message.to);
    const isLost = this.isCut(message) || node === undefined || !node.isUp;
    if (message.type === 'snapshot') this.#stream(message, isLost ? null : node);
    else if (!isLost) node.raft.step(message);
    if (node !== undefined) this.#check(node);
  }

  drop(message: Message): void {
    this.messages = this.messages.filter(other => other !== message);
    if (message.type === 'snapshot') this.#stream(message, null);
  }

  isolate(id: NodeId | string): void {
    this.#isolated.add(nodeId(id));
  }

  heal(): void {
    this.#isolated.clear();
  }

  isCut(message: Message): boolean {
    return this.#isolated.has(message.from) || this.#isolated.has(message.to);
  }

  /** Loses what was not durable, and the messages that waited for it. */
  crash(id: NodeId | string): void {
    const node = this.node(id);
    node.log.crash();
    node.isUp = false;
    node.waiting = [];
  }

  restart(id: NodeId | string): void {
    const node = this.node(id);
    this.crash(id);
    node.raft = this.#makeRaft(node.id, node.log);
    node.isUp = true;
    this.#check(node);
  }

  compact(id: NodeId | string, index: number): void {
    const {raft, log} = this.node(id);
    assert(index <= raft.appliedIndex, `compact ${index} beyond applied ${raft.appliedIndex}`);
    const at = logIndex(index);
    const membership = log.memberships().findLast(record => record.index <= at)?.membership;
    log.compact(at, must(membership, `no membership at ${index}`));
  }

  tick(id: NodeId | string, count = 1): void {
    const node = this.node(id);
    for (let i = 0; i < count; i++) {
      if (node.isUp) node.raft.tick();
    }
    this.#check(node);
  }

  /** Disks and network work until nothing is left to do; messages to the isolated are lost. */
  stabilize(observe?: (node: MemoryNode, ready: Ready) => void): void {
    for (let round = 0; round < 1000; round++) {
      if (!this.#settleOnce(observe)) return;
    }
    assert(false, 'the cluster does not come to rest');
  }

  /** Elects `id`; requires that the others allow it. */
  elect(id: NodeId | string): void {
    this.raft(id).campaign();
    this.stabilize();
    assert(this.raft(id).role === 'leader', `${id} was not elected`);
  }

  propose(id: NodeId | string, text: string): Entry['index'] {
    const result = this.raft(id).propose(new TextEncoder().encode(text), 0);
    assert(result.type === 'accepted', `proposal dropped: ${JSON.stringify(result)}`);
    return result.id.index;
  }

  /** The text of every command this node has applied, in order. */
  appliedCommands(id: NodeId | string): string[] {
    const texts: string[] = [];
    for (let index = logIndex(1); index <= this.raft(id).appliedIndex; index = indexAfter(index)) {
      const entry = must(this.committed.get(index), `${id} applied ${index} out of nowhere`);
      if (entry.type === 'command') texts.push(new TextDecoder().decode(entry.data));
    }
    return texts;
  }

  #settleOnce(observe?: (node: MemoryNode, ready: Ready) => void): boolean {
    let moved = false;
    for (const node of this.nodes.values()) {
      const ready = this.process(node.id);
      if (ready !== null) {
        moved = true;
        observe?.(node, ready);
      }
      if (this.persist(node.id) !== null) moved = true;
    }
    for (const message of [...this.messages]) {
      moved = true;
      this.deliver(message);
    }
    return moved;
  }

  #add(id: NodeId, membership: Membership): void {
    assert(!this.nodes.has(id), `node ${id} exists`);
    const log = new MemoryLog(membership);
    const raft = this.#makeRaft(id, log);
    this.nodes.set(id, {id, raft, log, isUp: true, waiting: [], readStates: []});
  }

  #makeRaft(id: NodeId, log: MemoryLog): Raft {
    return new Raft({
      id,
      electionTimeoutTicks,
      heartbeatIntervalTicks,
      appendSizeBytesMax: this.#options.appendSizeBytesMax ?? 1024,
      inflightSizeBytesMax: this.#options.inflightSizeBytesMax ?? 16_384,
      inflightCountMax: this.#options.inflightCountMax ?? 8,
      uncommittedSizeBytesMax: this.#options.uncommittedSizeBytesMax ?? 65_536,
      committedSizeBytesMax: this.#options.committedSizeBytesMax ?? 4096,
      prng: new Prng(this.#seed++),
      log,
      hardState: log.hardState,
      memberships: log.memberships(),
      appliedIndex: log.base.index,
    });
  }

  #release(node: MemoryNode, sequence: number): void {
    const ripe = node.waiting.filter(waiting => waiting.sequence <= sequence);
    node.waiting = node.waiting.filter(waiting => waiting.sequence > sequence);
    for (const {messages} of ripe) this.messages.push(...messages);
  }

  #apply(node: MemoryNode, entry: Entry): void {
    const known = this.committed.get(entry.index);
    assert(entry.index <= node.log.durableLastIndex, `${node.id} applies before it is durable`);
    if (known === undefined) {
      this.committed.set(entry.index, entry);
      return;
    }
    const isSame = known.term === entry.term && equalBytes(known.data, entry.data);
    assert(isSame, `State Machine Safety: ${node.id} applies another entry ${entry.index}`);
  }

  /** The shell's part: read the newest checkpoint of the sender, install it at the receiver. */
  #stream(message: Message, receiver: MemoryNode | null): void {
    const sender = this.nodes.get(message.from);
    if (sender?.isUp !== true) return;
    const index = sender.raft.appliedIndex;
    const term = sender.log.term(index);
    if (receiver === null || term === undefined) {
      sender.raft.reportSnapshot(message.to, null);
      return;
    }
    const membership = sender.raft.membershipAt(index);
    const meta = {index, term, membership};
    receiver.raft.step({...message, type: 'snapshot', meta});
    sender.raft.reportSnapshot(message.to, meta);
  }

  #check(node: MemoryNode): void {
    if (!node.isUp) return;
    checkInvariants(node.raft);
    const {role, term} = node.raft;
    if (role !== 'leader') return;
    const known = this.leaders.get(term);
    if (known === node.id) return;
    assert(known === undefined, `Election Safety: ${node.id} and ${known ?? ''} lead ${term}`);
    this.leaders.set(term, node.id);
    for (const entry of this.committed.values()) {
      const own = node.raft.inspect().log.term(entry.index);
      const isCovered = entry.index < node.log.firstIndex() - 1;
      assert(
        isCovered || own === entry.term,
        `Leader Completeness: ${node.id} lacks ${entry.index} in term ${term}`,
      );
    }
  }
}

/** A membership with made-up addresses. */
export function testMembership(ids: {
  readonly voters: readonly string[];
  readonly votersOutgoing?: readonly string[];
  readonly learners?: readonly string[];
}): Membership {
  const voters = ids.voters.map(nodeId).sort();
  const votersOutgoing = (ids.votersOutgoing ?? []).map(nodeId).sort();
  const learners = (ids.learners ?? []).map(nodeId).sort();
  const members = idsOf({voters, votersOutgoing, learners}).map((id): Member => {
    return {id, incarnation: '0123456789abcdef', listen: `${id}:1`, http: `${id}:2`};
  });
  return {voters, votersOutgoing, learners, members};
}

/** A started cluster of voters named 1 … n. */
export function startCluster(voterCount: number, options: ClusterOptions = {}): MemoryCluster {
  const cluster = new MemoryCluster(options);
  const voters = Array.from({length: voterCount}, (_, i) => String(i + 1));
  cluster.start(testMembership({voters}));
  return cluster;
}
