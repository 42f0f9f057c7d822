/**
 * Seeded random runs: a network that loses, reorders and duplicates, disks that lag, crashes that
 * lose what was not durable, snapshots, transfers and membership changes. MemoryCluster checks the
 * safety properties of Raft figure 3 after every step; a linearizability check for reads is here.
 * Each run ends with all faults off and must then make progress. A failure names its seed.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import type {NodeId} from './ids.ts';
import {nodeId} from './ids.ts';
import type {MemoryNode} from './testing/memory-cluster.ts';
import {MemoryCluster, testMembership} from './testing/memory-cluster.ts';

const runCount = 200;
const stepCount = 3000;

class RandomRun {
  readonly cluster: MemoryCluster;
  readonly #prng: Prng;
  readonly #ids: NodeId[];
  /** For each read that waits: the largest index applied anywhere when it was asked. */
  readonly #reads = new Map<string, number>();
  #stalled: NodeId | null = null;
  #nextContext = 1;
  #proposalCount = 0;
  readCount = 0;
  isChanging: boolean;
  crashRate: number;
  /** Partitions are this many times rarer. */
  readonly #calm: number;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.cluster = new MemoryCluster({seed: seed * 100, appendSizeBytesMax: 150});
    const voterCount = this.#draw(1, 5);
    this.isChanging = this.#draw(0, 1) === 1;
    this.crashRate = this.#draw(0, 1);
    this.#calm = this.#draw(0, 9);
    this.#ids = Array.from({length: voterCount + 2}, (_, i) => nodeId(String(i + 1)));
    const voters = this.#ids.slice(0, voterCount);
    const learners = this.#ids.slice(voterCount, voterCount + this.#draw(0, 1));
    const outsiders = this.#ids.slice(voterCount + learners.length);
    this.cluster.start(testMembership({voters, learners}), outsiders);
  }

  step(): void {
    const node = this.#node();
    const choice = this.#draw(0, 99);
    if (choice < 10) this.#tick(node);
    else if (choice < 30) this.cluster.process(node.id);
    else if (choice < 45) this.#persist(node);
    else if (choice < 81) this.#deliverSome();
    else if (choice < 83) this.#lose();
    else if (choice < 90) this.#propose(node);
    else if (choice < 93) this.#read(this.#reader(node));
    else if (choice < 94) {
      if (this.#draw(0, 3 + this.#calm) === 0) this.#partition(node);
    } else if (choice < 96) this.#repair(node);
    else if (choice < 96 + this.crashRate) this.#crash(node);
    else if (choice < 98) this.#compact(node);
    else this.#administer(node);
    this.#checkReads();
  }

  /** Faults off: one leader, equal logs, and a write and a read succeed. */
  recover(): void {
    this.cluster.heal();
    for (const node of this.cluster.nodes.values()) {
      if (!node.isUp) this.cluster.restart(node.id);
    }
    for (let round = 0; round < 200; round++) {
      this.cluster.stabilize();
      this.#checkReads();
      if (this.#isConverged()) break;
      for (const id of this.#ids) this.cluster.tick(id);
    }
    const leader = this.#leader();
    assert.ok(leader !== undefined, 'no leader after the faults ended');
    const index = this.cluster.propose(leader.id, 'last');
    this.#read(leader);
    this.cluster.stabilize();
    this.#checkReads();
    assert.ok(leader.raft.appliedIndex >= index, 'a healed cluster does not commit');
    assert.ok(this.#isConverged(), 'the members differ after the faults ended');
    assert.ok(!leader.raft.membership.votersOutgoing.length, 'the joint membership was not left');
  }

  #draw(min: number, max: number): number {
    return this.#prng.integer({min, max});
  }

  #node(): MemoryNode {
    return this.cluster.node(this.#ids[this.#draw(0, this.#ids.length - 1)] ?? '1');
  }

  #leader(): MemoryNode | undefined {
    const leaders = [...this.cluster.nodes.values()].filter(node => node.raft.role === 'leader');
    return leaders.sort((a, b) => b.raft.term - a.raft.term)[0];
  }

  #isConverged(): boolean {
    const leader = this.#leader();
    if (leader === undefined || leader.raft.isTransferring()) return false;
    const {lastIndex, membership} = leader.raft;
    if (membership.votersOutgoing.length > 0) return false;
    return membership.members.every(member => {
      return this.cluster.raft(member.id).appliedIndex === lastIndex;
    });
  }

  #persist(node: MemoryNode): void {
    if (!node.isUp) return;
    const first = node.log.pendingCount > 1 && this.#draw(0, 1) === 0;
    const {sequence} = node.raft.inspect();
    this.cluster.persist(node.id, first ? sequence - 1 : sequence);
  }

  #deliverSome(): void {
    for (let count = this.#draw(1, 4); count > 0; count--) this.#deliver();
  }

  #repair(node: MemoryNode): void {
    if (!node.isUp) {
      this.cluster.restart(node.id);
      return;
    }
    // An election takes hundreds of steps: a partition must outlast it to matter.
    if (this.#draw(0, 9) > 0) return;
    this.cluster.heal();
    this.#stalled = null;
  }

  #deliver(): void {
    const {messages} = this.cluster;
    if (messages.length === 0) return;
    const place = this.#draw(0, 3) === 0 ? this.#draw(0, messages.length - 1) : 0;
    const message = messages[place];
    if (message === undefined) return;
    const isDuplicate = this.#draw(0, 9) === 0 && message.type !== 'snapshot';
    this.cluster.deliver(message, {isDuplicate});
  }

  #lose(): void {
    const {messages} = this.cluster;
    const message = messages[this.#draw(0, Math.max(0, messages.length - 1))];
    if (message === undefined) return;
    this.cluster.drop(message);
    if (this.#draw(0, 1) === 0) this.cluster.raft(message.from).reportUnreachable(message.to);
  }

  #propose(node: MemoryNode): void {
    if (!node.isUp) return;
    const target = this.#draw(0, 2) === 0 ? node : (this.#leader() ?? node);
    const text = `${target.id}:${this.#proposalCount++}`;
    if (target.isUp) target.raft.propose(new TextEncoder().encode(text), this.#proposalCount);
  }

  /** Any node that leads or believes so, else the one drawn. */
  #reader(node: MemoryNode): MemoryNode {
    const leaders = [...this.cluster.nodes.values()].filter(
      n => n.isUp && n.raft.role === 'leader',
    );
    return leaders[this.#draw(0, leaders.length)] ?? node;
  }

  #read(node: MemoryNode): void {
    if (!node.isUp) return;
    const context = this.#nextContext++;
    if (!node.raft.readIndex(context)) return;
    const appliedIndex = Math.max(0, ...this.cluster.committed.keys());
    this.#reads.set(`${node.id} ${context}`, appliedIndex);
  }

  #checkReads(): void {
    for (const node of this.cluster.nodes.values()) {
      for (const {context, index} of node.readStates.splice(0)) {
        const asked = this.#reads.get(`${node.id} ${context}`);
        if (asked === undefined) continue;
        this.readCount++;
        assert.ok(index >= asked, `stale read at ${index}: ${asked} was applied before it began`);
      }
    }
  }

  #tick(node: MemoryNode): void {
    if (node.id !== this.#stalled) this.cluster.tick(node.id);
  }

  /** Prefers a leader; its clock may stand still meanwhile, so it believes in itself for long. */
  #partition(node: MemoryNode): void {
    const target = this.#draw(0, 2) === 0 ? node : (this.#leader() ?? node);
    this.cluster.isolate(target.id);
    if (this.#draw(0, 1) === 0) this.#stalled = target.id;
  }

  #crash(node: MemoryNode): void {
    if (node.isUp && this.#draw(0, 1) === 0) this.cluster.crash(node.id);
    else this.cluster.restart(node.id);
  }

  #compact(node: MemoryNode): void {
    const index = Math.min(node.raft.appliedIndex, node.log.durableLastIndex);
    const isStreaming = node.raft.inspect().log.unstable.snapshot !== null;
    if (node.isUp && !isStreaming && index > 0) this.cluster.compact(node.id, index);
  }

  #administer(node: MemoryNode): void {
    const leader = this.#leader();
    if (leader?.isUp !== true) return;
    if (this.#draw(0, 9) === 0) {
      leader.raft.stepDown();
    } else if (!this.isChanging || this.#draw(0, 1) === 0) {
      leader.raft.transferLeadership(node.id);
    } else {
      const members = this.#ids.filter(() => this.#draw(0, 2) > 0);
      const learners = members.filter(() => this.#draw(0, 3) === 0);
      const voters = members.filter(id => !learners.includes(id));
      leader.raft.proposeMembership(testMembership({voters, learners}), 0);
    }
  }
}

test('random faults never break safety, and progress resumes when they end', () => {
  let readCount = 0;
  const firstSeed = Number(process.env['ROSETTA_SEED'] ?? 1);
  for (let seed = firstSeed; seed < firstSeed + runCount; seed++) {
    const run = new RandomRun(seed);
    try {
      for (let i = 0; i < stepCount; i++) run.step();
      run.recover();
    } catch (error) {
      const reason = error instanceof Error ? error.stack : String(error);
      throw new Error(`ROSETTA_SEED=${seed} fails: ${reason}`, {cause: error});
    }
    readCount += run.readCount;
  }
  assert.ok(readCount > runCount, 'too few reads were answered to mean anything');
});
