/**
 * One run: a cluster of production code in one thread over virtual time, faults, clients, and the
 * checks. It forms, lives through its faults, is repaired and must converge and serve; then a
 * random quorum is left alone with everything else broken for ever, and must serve too.
 */
import {assert, must} from '../../src/base/assert.ts';
import type {Clock} from '../../src/base/clock.ts';
import type {Logger} from '../../src/base/logger.ts';
import {silentLogger} from '../../src/base/logger.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {KvStateMachine} from '../../src/kv/state-machine.ts';
import {addressOf} from '../node/test-member.ts';
import {ClusterCheck} from './checks/cluster-check.ts';
import {judgeHistory} from './checks/history-check.ts';
import {OrderCheck} from './checks/order-check.ts';
import {Violation, demand} from './checks/violation.ts';
import type {ClientOperation} from './client-operation.ts';
import {Clients} from './clients.ts';
import {CallClock} from './command-calls.ts';
import {CommandClients} from './command-clients.ts';
import {Coverage} from './coverage.ts';
import {EventQueue} from './event-queue.ts';
import {stuckMsMax} from './disk-delays.ts';
import {Faults} from './faults.ts';
import {watchReplicas} from './inside.ts';
import {Machine} from './machine.ts';
import type {World} from './machine.ts';
import {SimNetwork} from './sim-network.ts';
import type {SwarmConfig} from './swarm.ts';
import {streamOf} from './swarm.ts';
import {setLimits} from './small-limits.ts';
import {Watchers} from './watchers.ts';

/** Without progress for so many election timeouts, and this long, a healed cluster is stuck. */
const healTimeouts = 40;
const healMsMin = 8_000;
/** The same where a snapshot may be a thousand small blocks, each through a slow disk. */
const healMsMinInBlocks = 30_000;
const smallBlockSizeBytes = 10_000;
const slowDiskMeanMs = 5;
const askCount = 20;
const askTimeoutMs = 5_000;
const eventCountMax = 20_000_000;

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | null;
  readonly traceHash: string;
  readonly eventCount: number;
  readonly simulatedMs: number;
  readonly coverage: Coverage;
  readonly operationCount: number;
}

export interface Teller {
  /** `owner` -1: not about one member. */
  tell(nowMs: number, owner: number, text: string): void;
}

export class Simulation implements World {
  readonly config: SwarmConfig;
  readonly queue = new EventQueue();
  readonly coverage = new Coverage();
  readonly prng: Prng;
  readonly check: ClusterCheck;
  readonly logger: Logger;
  readonly machines: readonly Machine[];
  readonly #network: SimNetwork;
  readonly #order: OrderCheck;
  readonly #clients: Clients;
  readonly #commands: CommandClients;
  readonly #watchers: Watchers;
  readonly #faults: Faults;
  readonly #teller: Teller | null;

  constructor(config: SwarmConfig, options: {teller?: Teller; logger?: Logger} = {}) {
    this.config = config;
    this.#teller = options.teller ?? null;
    this.logger = options.logger ?? silentLogger;
    this.prng = streamOf(config.seed, 'members');
    const ids = Array.from({length: config.size}, (_, i) => `node${i + 1}`);
    this.#order = new OrderCheck(this.coverage);
    this.check = new ClusterCheck(ids, this.#order, this.coverage, () => this.queue.nowMs);
    this.check.memberships.hasRules = !config.faults.has('membership');
    this.machines = ids.map((id, owner) => new Machine(this, id, owner));
    const {queue, coverage, machines, check} = this;
    this.#network = new SimNetwork({
      queue,
      coverage,
      prng: streamOf(config.seed, 'network'),
      machines: new Map(machines.map(machine => [addressOf(machine.id), machine.time])),
    });
    this.#network.onSend = (from, message) => check.onSend(from, message);
    for (const machine of machines) machine.connect(this.#network, ids);
    const tell = (owner: number, text: () => string): void => this.tell(owner, text);
    const touched = (owner: number): void => this.#checkMember(owner);
    const shared = {config, queue, coverage, machines, check, tell, touched};
    const asking = {...shared, order: this.#order, callClock: new CallClock()};
    this.#clients = new Clients({...asking, prng: streamOf(config.seed, 'clients')});
    this.#commands = new CommandClients({...asking, termMax: () => check.termMax});
    this.#watchers = new Watchers({
      queue,
      coverage,
      machines,
      prng: streamOf(config.seed, 'watchers'),
      eventsAt: revision => this.#order.eventsAt(revision),
      recordAt: (key, revision) => this.#order.recordAt(key, revision),
    });
    this.#faults = new Faults({...shared, network: this.#network});
  }

  run(): Outcome {
    let violation: Violation | null = null;
    const restoreLimits = setLimits(this.config.limits);
    watchReplicas(replica => {
      this.check.onReplica(replica);
      this.#commands.onReplica(replica);
    });
    try {
      this.#live();
    } catch (error) {
      violation =
        error instanceof Violation
          ? error
          : new Violation('no throw escapes', String(error), {cause: error});
    } finally {
      watchReplicas(null);
      restoreLimits();
    }
    const {queue, coverage, config} = this;
    return {
      seed: config.seed,
      violation,
      traceHash: queue.traceHash,
      eventCount: queue.eventCount,
      simulatedMs: queue.nowMs,
      coverage,
      operationCount: this.#clients.operations.length,
    };
  }

  /** One line a member: what it is and how far it has come. */
  table(): string[] {
    return this.machines.map(machine => {
      const {log, replica} = must(this.check.view(machine.owner), 'a member is watched');
      const held = `log (${log.start}, ${log.last}] durable ${log.durableIndex}`;
      const fate = machine.isLost ? ', lost' : machine.time.isPaused ? ', paused' : '';
      if (!machine.isRunning) return `${machine.id}  down${fate}, ${held}`;
      if (replica === null) return `${machine.id}  starting${fate}, ${held}`;
      const {role, term, commitIndex, stableIndex, leaderId, membership} = replica.raft;
      const why = machine.member.node.notReady()?.message ?? 'ready';
      return (
        `${machine.id}  ${role}${fate}, term ${term}, leader ${leaderId ?? '-'}, ` +
        `commit ${commitIndex}, applied ${replica.applied.index}, stable ${stableIndex}, ${held}, ` +
        `voters ${membership.voters.join(' ')}, ${why}`
      );
    });
  }

  tell(owner: number, text: () => string): void {
    this.#teller?.tell(this.queue.nowMs, owner, text());
  }

  onLife(machine: Machine, store: KvStateMachine, clock: Clock): void {
    this.#watchers.onLife(machine, store, clock);
  }

  onLifeEnded(machine: Machine): void {
    this.#watchers.onLifeEnded(machine);
    this.#clients.onLifeEnded(machine);
    this.#commands.onLifeEnded(machine);
  }

  #live(): void {
    const {config} = this;
    for (const machine of this.machines) machine.start();
    if (!config.faults.has('early-faults')) {
      this.#until(() => this.#isServing(this.machines), 15_000, 'a fresh cluster serves');
    }
    this.tell(-1, () => 'faults begin');
    this.#faults.start();
    this.#clients.start();
    this.#commands.start();
    this.#watchers.start();
    this.#runFor(config.chaosMs);
    this.#clients.close();
    this.#commands.close();
    this.tell(-1, () => 'everything is repaired');
    this.#faults.repair();
    this.#watchers.calm();
    // What disks were asked for before is under way.
    this.#runFor(stuckMsMax);
    for (const machine of this.machines) machine.start();
    const members = this.machines.filter(machine => !machine.isLost);
    const limitMs = this.#healLimitMs();
    const fetchingMs = this.#fetchLimitMs();
    this.#until(() => this.#areVoters(members), 2 * fetchingMs, 'everybody becomes a voter');
    this.#mustServe(members, 'a healed cluster', fetchingMs);
    const isQuiet = (): boolean => this.#clients.runningCount + this.#commands.runningCount === 0;
    this.#until(isQuiet, 30_000, 'every client gets an answer');
    const {revision} = this.#order;
    this.#until(() => this.#watchers.haveSeen(revision), limitMs, 'watches tell everything');
    this.#commands.calm();
    this.#mustStayCalm('a healed cluster');
    const isSettled = (): boolean => this.#commands.isSettled && isQuiet();
    this.#until(isSettled, limitMs, 'leases and sessions come to an end');
    this.#runCoreAlone(members);
    this.tell(-1, () => 'the history is judged');
    const {leaseCheck} = this.#commands;
    const others = {commands: this.#order.commands.sent, expiries: leaseCheck.expiries};
    judgeHistory(this.#clients.operations, others, this.coverage);
  }

  /** Converges, and then takes writes and reads at every member. */
  #mustServe(members: readonly Machine[], who: string, limitMs = this.#healLimitMs()): void {
    this.#until(() => this.#isServing(members), limitMs, `${who} converges`);
    let doneCount = 0;
    let asked: ClientOperation[] = [];
    const isThrough = (): boolean => {
      if (asked.some(({outcome}) => outcome === 'running')) return false;
      doneCount += asked.filter(({outcome}) => outcome === 'done').length;
      asked = [];
      if (doneCount >= askCount) return true;
      for (const machine of members) asked.push(...this.#askBoth(machine, doneCount));
      return false;
    };
    this.#until(isThrough, limitMs + askTimeoutMs, `${who} serves`);
    this.#until(() => this.#areEqual(members), limitMs, `${who} becomes equal`);
  }

  #healLimitMs(): number {
    return Math.max(healMsMin, healTimeouts * this.config.electionTimeoutMs);
  }

  /** As long as somebody may need a snapshot. */
  #fetchLimitMs(): number {
    const {limits, diskDelayMeanMs} = this.config;
    const isInBlocks = (limits.snapshotBlockSizeBytesMax ?? Infinity) < smallBlockSizeBytes;
    const isSlow = isInBlocks && diskDelayMeanMs >= slowDiskMeanMs;
    return Math.max(isSlow ? healMsMinInBlocks : 0, this.#healLimitMs());
  }

  /** A write and a read. */
  #askBoth(machine: Machine, count: number): ClientOperation[] {
    const key = `k${1 + (count % this.config.keyCount)}`;
    const put = {type: 'put', key, value: this.#clients.value(), condition: null} as const;
    const {owner} = machine;
    this.tell(owner, () => 'is asked to serve');
    return [put, {type: 'get', key} as const].map(input =>
      this.#clients.ask(machine, input, askTimeoutMs),
    );
  }

  /** Nobody campaigns while nothing is wrong. */
  #mustStayCalm(who: string): void {
    const before = this.check.termMax;
    this.#runFor(10 * this.config.electionTimeoutMs);
    const after = this.check.termMax;
    demand(before === after, `${who} keeps its leader`, `from term ${before} to ${after}`);
  }

  /** A quorum of the voters goes on; the others are gone or heard on one side only, for ever. */
  #runCoreAlone(members: readonly Machine[]): void {
    const prng = streamOf(this.config.seed, 'core');
    const leader = must(
      members.find(({owner}) => this.check.view(owner)?.replica?.raft.role === 'leader'),
      'a healed cluster has a leader',
    );
    const {voters} = must(this.check.view(leader.owner)?.replica, 'it runs').raft.membership;
    const candidates = members.filter(({id}) => voters.some(voter => voter === id));
    const core: Machine[] = [];
    while (core.length * 2 <= voters.length) {
      const [next] = candidates.splice(prng.integer({min: 0, max: candidates.length - 1}), 1);
      core.push(must(next, 'the healthy voters are a quorum'));
    }
    for (const machine of this.machines) {
      if (core.includes(machine)) continue;
      // A leader that only some of the core can hear is of no use to the others.
      this.#leaveOut(machine, prng, {mayReachSome: core.includes(leader)});
    }
    this.tell(-1, () => `left alone: ${core.map(({id}) => id).join(', ')}`);
    this.#until(() => this.#isServing(core), this.#healLimitMs(), 'a core converges');
    // Before anything is written: who is left out has as good a log as the others.
    this.#mustStayCalm('a core');
    this.#mustServe(core, 'a core');
    this.#mustStayCalm('a core');
    this.coverage.count('core alone served');
  }

  /** Dead, deaf, mute, or in touch with some of the others only. */
  #leaveOut(machine: Machine, prng: Prng, {mayReachSome}: {readonly mayReachSome: boolean}): void {
    const fates = ['no power', 'killed', 'deaf', 'mute', 'reaches some only'] as const;
    const max = mayReachSome ? fates.length - 1 : fates.length - 2;
    const fate = must(fates[prng.integer({min: 0, max})], 'a fate');
    this.tell(machine.owner, () => `is left out for ever: ${fate}`);
    if (fate === 'no power') machine.powerCut();
    if (fate === 'killed') machine.kill();
    for (const other of this.machines) {
      const isReset = prng.integer({min: 0, max: 1}) === 0;
      const isSpared = prng.integer({min: 0, max: 1}) === 0;
      if (other === machine || (fate === 'reaches some only' && isSpared)) continue;
      if (fate !== 'deaf') this.#network.cut(machine.owner, other.owner, {isReset});
      if (fate !== 'mute') this.#network.cut(other.owner, machine.owner, {isReset});
    }
  }

  #isServing(members: readonly Machine[]): boolean {
    const ids = members.map(({id}) => id);
    return members.every(({isRunning, member}) => {
      if (!isRunning || member.node.notReady() !== null) return false;
      return ids.includes(member.node.leader()?.id ?? '');
    });
  }

  #areVoters(members: readonly Machine[]): boolean {
    return members.some(({owner}) => {
      const raft = this.check.view(owner)?.replica?.raft;
      if (raft?.role !== 'leader' || raft.membership !== raft.committedMembership) return false;
      const {voters, learners} = raft.membership;
      return learners.length === 0 && members.every(({id}) => voters.some(voter => voter === id));
    });
  }

  #areEqual(members: readonly Machine[]): boolean {
    const statuses = members.map(({member}) => member.node.status());
    const [first] = statuses;
    const areEqual = statuses.every(
      status =>
        status.appliedIndex === first?.appliedIndex &&
        status.appliedIndex === status.lastLogIndex &&
        status.leader === first.leader,
    );
    if (!areEqual) return false;
    for (const machine of members) {
      const {member, id} = machine;
      this.#commands.leaseCheck.compareAll(machine);
      demand(
        member.machine.recomputeStateHash() === member.machine.stateHash(),
        'the state hash is that of the rows',
        id,
      );
    }
    return true;
  }

  #until(condition: () => boolean, limitMs: number, what: string): void {
    const endMs = this.queue.nowMs + limitMs;
    while (!condition()) {
      demand(this.queue.nowMs < endMs, what, `not within ${limitMs} ms`);
      this.#runFor(20);
    }
  }

  #runFor(durationMs: number): void {
    const end = this.queue.add(durationMs, -1, 'control', () => undefined);
    for (;;) {
      const event = must(this.queue.take(), 'the end of the phase waits at least');
      try {
        event.run();
      } catch (error) {
        this.#onThrown(event.owner, error);
      }
      if (event.owner >= 0) this.#checkMember(event.owner);
      if (this.queue.eventCount > eventCountMax) assert(false, 'the run does not end');
      if (event === end) return;
    }
  }

  #onThrown(owner: number, error: unknown): void {
    const machine = this.machines[owner];
    if (error instanceof Violation || machine === undefined || !(error instanceof Error)) {
      throw error;
    }
    if (!machine.mayEndBy(error)) {
      throw new Violation('no throw escapes', `${machine.id}: ${error.message}`, {cause: error});
    }
    machine.onThrown(error);
  }

  #checkMember(owner: number): void {
    const digest = this.check.after(owner);
    if (digest !== 0) this.queue.note(digest);
  }
}
