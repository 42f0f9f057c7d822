/**
 * What goes wrong in a simulated cluster. Each class of faults happens at its own random moments,
 * drawn from a stream of its own; `repair` ends all of them.
 */
import {assert, must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Replica} from '../../src/node/replica.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import type {Membership} from '../../src/raft/membership.ts';
import type {ClusterCheck} from './checks/cluster-check.ts';
import type {Coverage, Mandatory} from './coverage.ts';
import {stuckMsMax} from './disk-delays.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {MembershipFaults} from './membership-faults.ts';
import type {SimNetwork} from './sim-network.ts';
import {exponential, fairWeather} from './sim-network.ts';
import type {FaultClass, SwarmConfig} from './swarm.ts';
import {streamOf} from './swarm.ts';

export interface FaultsParts {
  readonly config: SwarmConfig;
  readonly queue: EventQueue;
  readonly network: SimNetwork;
  readonly machines: readonly Machine[];
  readonly check: ClusterCheck;
  readonly coverage: Coverage;
  readonly tell: (owner: number, text: () => string) => void;
  readonly touched: (owner: number) => void;
}

type Fault = (prng: Prng) => void;

/** Than once in the interval of the run. */
const moreOften: Readonly<Partial<Record<FaultClass, number>>> = {
  replay: 10,
  clog: 10,
  'leader-cut': 2,
  membership: 4,
  members: 2,
  'older-copy': 3,
};

export class Faults {
  readonly #parts: FaultsParts;
  readonly #membership: MembershipFaults;
  #isOver = false;

  constructor(parts: FaultsParts) {
    this.#parts = parts;
    this.#membership = new MembershipFaults(parts, (delayMs, action) =>
      this.#later(delayMs, action),
    );
  }

  start(): void {
    const {config, network} = this.#parts;
    const {faults, weather} = config;
    network.weather = {
      ...weather,
      lossRate: faults.has('loss') ? weather.lossRate : 0,
      duplicateRate: faults.has('duplicate') ? weather.duplicateRate : 0,
      reorderRate: faults.has('reorder') ? weather.reorderRate : 0,
      capacity: faults.has('narrow') ? weather.capacity : fairWeather.capacity,
    };
    if (faults.has('replay')) network.keepOneIn = 20;
    network.streamBreakRate = config.streamBreakRate;
    this.#supervise();
    const recurring = this.#recurring();
    for (const name of faults) {
      const fault = recurring[name];
      if (fault !== undefined) this.#repeat(name, fault);
    }
  }

  /** Everything works from here on; who is lost stays lost. */
  repair(): void {
    const {network, machines} = this.#parts;
    this.#isOver = true;
    network.weather = fairWeather;
    network.keepOneIn = 0;
    network.streamBreakRate = 0;
    network.healAll();
    for (const machine of machines) {
      machine.repair();
      if (!machine.isLost) machine.start();
      else if (machine.isRunning) machine.kill();
    }
  }

  #recurring(): Partial<Record<FaultClass, Fault>> {
    return {
      replay: () => this.#parts.network.replayOld(),
      clog: prng => this.#clog(prng),
      partition: prng => this.#partition(prng, {isOneWay: false}),
      'leader-cut': prng => this.#cutLeader(prng),
      'one-way': prng => this.#partition(prng, {isOneWay: true}),
      'power-cut': prng => this.#cutPower(prng),
      kill: prng => this.#end(prng, machine => machine.kill(), 'process killed'),
      'graceful-stop': prng =>
        this.#end(prng, machine => machine.stopGracefully(), 'graceful stop'),
      'all-down': prng => this.#allDown(prng),
      pause: prng => this.#pause(prng),
      drift: prng => this.#drift(prng),
      'wall-jump': prng => this.#wallJump(prng),
      'slow-disk': prng => this.#slowDisk(prng),
      eio: prng => this.#failDisk(prng),
      enospc: prng => this.#fillDisk(prng),
      'bit-rot': prng => this.#rot(prng),
      'checkpoint-loss': prng => this.#loseCheckpoint(prng),
      wipe: prng => this.#wipe(prng),
      membership: prng => this.#changeMembership(prng),
      members: prng => this.#membership.change(prng),
      rejoin: prng => this.#membership.loseDisk(prng),
      'older-copy': prng => this.#membership.goBack(prng),
      transfer: prng => this.#transfer(prng),
    };
  }

  #repeat(name: FaultClass, fault: Fault): void {
    const {config, queue} = this.#parts;
    const prng = streamOf(config.seed, name);
    const meanMs = config.faultIntervalMs / (moreOften[name] ?? 1);
    const next = (): void => {
      queue.add(exponential(prng, meanMs), -1, 'fault', () => {
        if (this.#isOver) return;
        fault(prng);
        next();
      });
    };
    next();
  }

  /** As an init system does: what is down for whatever reason is started again some time. */
  #supervise(): void {
    const {config, machines} = this.#parts;
    const prng = streamOf(config.seed, 'supervisor');
    const look = (): void => {
      const machine = pick(prng, machines);
      if (!machine.isLost) machine.start();
      this.#later(config.faultIntervalMs / 2, look);
    };
    this.#later(config.faultIntervalMs, look);
  }

  #later(delayMs: number, action: () => void): void {
    this.#parts.queue.add(delayMs, -1, 'fault', () => {
      if (!this.#isOver) action();
    });
  }

  #count(name: Mandatory): void {
    this.#parts.coverage.count(name);
  }

  #running(prng: Prng): Machine | null {
    return pickOr(
      prng,
      this.#parts.machines.filter(machine => machine.isRunning && !machine.isLost),
    );
  }

  #end(prng: Prng, end: (machine: Machine) => void, name: Mandatory): void {
    const machine = this.#running(prng);
    const downMs = this.#drawDownMs(prng);
    if (machine === null) return;
    this.#count(name);
    end(machine);
    this.#later(downMs, () => machine.start());
  }

  /** Now and then long enough for the others to forget the log that is missed. */
  #drawDownMs(prng: Prng): number {
    const isLong = prng.integer({min: 1, max: 4}) === 1;
    return exponential(prng, (this.#parts.config.faultIntervalMs / 2) * (isLong ? 8 : 1));
  }

  /** Half of the time between a write and its fdatasync. */
  #cutPower(prng: Prng): void {
    if (prng.integer({min: 0, max: 1}) === 0) {
      this.#end(prng, machine => machine.powerCut(), 'power cut');
      return;
    }
    const machine = this.#running(prng);
    const downMs = this.#drawDownMs(prng);
    if (machine === null) return;
    this.#count('power cut');
    machine.powerCutAtNextWrite();
    const look = (): void => {
      if (machine.isRunning) this.#later(100, look);
      else this.#later(downMs, () => machine.start());
    };
    look();
  }

  #allDown(prng: Prng): void {
    if (prng.integer({min: 1, max: 3}) > 1) return;
    this.#count('all members down at once');
    for (const machine of this.#parts.machines) {
      if (machine.isLost) continue;
      if (prng.integer({min: 0, max: 1}) === 0) machine.powerCut();
      else machine.kill();
      this.#later(exponential(prng, 500), () => machine.start());
    }
  }

  #pause(prng: Prng): void {
    const machine = this.#running(prng);
    const durationMs = exponential(prng, this.#parts.config.electionTimeoutMs * 3);
    if (machine === null || machine.time.isPaused) return;
    this.#count('pause');
    this.#parts.tell(machine.owner, () => `pauses for ${Math.round(durationMs)} ms`);
    machine.time.pause();
    // Even when the faults are over: `repair` may have ended the pause, and it is over then.
    this.#later(durationMs, () => {
      if (machine.time.isPaused) machine.time.resume();
    });
  }

  #drift(prng: Prng): void {
    const machine = pick(prng, this.#parts.machines);
    const rate = 0.5 + prng.float();
    this.#count('clock drift');
    this.#parts.tell(machine.owner, () => `its clock runs at ${rate.toFixed(2)}`);
    machine.time.setRate(rate);
  }

  #wallJump(prng: Prng): void {
    const machine = pick(prng, this.#parts.machines);
    // The log's time forgets idempotency keys after ten minutes: less than that, all in all.
    const jumpMs = (prng.float() - 0.5) * 480_000 - machine.time.wallSkewMs;
    this.#count('wall clock jump');
    this.#parts.tell(machine.owner, () => `its wall clock jumps by ${Math.round(jumpMs)} ms`);
    machine.time.wallSkewMs += jumpMs;
  }

  #clog(prng: Prng): void {
    const {network, machines} = this.#parts;
    const from = pick(prng, machines);
    const to = pick(prng, machines);
    this.#count('clog');
    network.clog(from.owner, to.owner, exponential(prng, 1_000));
  }

  #partition(prng: Prng, {isOneWay}: {readonly isOneWay: boolean}): void {
    const {network, machines, config, tell} = this.#parts;
    const isReset = !config.faults.has('silent-cut') && prng.integer({min: 0, max: 1}) === 0;
    const cuts = drawCuts(prng, machines.length);
    const durationMs = exponential(prng, config.faultIntervalMs);
    if (cuts.length === 0) return;
    this.#count(isOneWay ? 'one-way cut' : 'cut');
    for (const [from, to] of cuts) {
      tell(from, () => `is cut off from ${nameOf(to)}${isOneWay ? ', one way' : ''}`);
      network.cut(from, to, {isReset});
      if (!isOneWay) network.cut(to, from, {isReset});
    }
    this.#later(durationMs, () => {
      for (const [from, to] of cuts) {
        tell(from, () => `reaches ${nameOf(to)} again`);
        network.heal(from, to);
        network.heal(to, from);
      }
    });
  }

  /** Whoever leads is left with fewer than a quorum, and some clients still speak to it. */
  #cutLeader(prng: Prng): void {
    const {network, machines, tell, config} = this.#parts;
    const leader = this.#leader()?.machine;
    const durationMs = config.electionTimeoutMs * (2 + exponential(prng, 3));
    const keptCount = prng.integer({min: 0, max: Math.max(0, Math.ceil(machines.length / 2) - 2)});
    if (leader === undefined || machines.length < 2) return;
    this.#count('leader cut off');
    tell(leader.owner, () => `leads and is cut off for ${Math.round(durationMs)} ms`);
    const others = machines.filter(machine => machine !== leader);
    for (const {owner} of others.slice(keptCount)) {
      network.cut(leader.owner, owner, {isReset: false});
      network.cut(owner, leader.owner, {isReset: false});
    }
    this.#later(durationMs, () => {
      for (const {owner} of others) {
        network.heal(leader.owner, owner);
        network.heal(owner, leader.owner);
      }
    });
  }

  #slowDisk(prng: Prng): void {
    const machine = pick(prng, this.#parts.machines);
    const durationMs = Math.min(exponential(prng, 2_000), stuckMsMax);
    this.#count('slow disk');
    this.#parts.tell(machine.owner, () => `its disk is slow for ${Math.round(durationMs)} ms`);
    if (prng.integer({min: 0, max: 1}) === 0) {
      machine.diskDelays.stick(this.#parts.queue.nowMs, durationMs);
      return;
    }
    machine.diskDelays.slowness = 10 + prng.integer({min: 0, max: 90});
    this.#later(durationMs, () => {
      machine.diskDelays.slowness = 1;
    });
  }

  #failDisk(prng: Prng): void {
    const machine = this.#running(prng);
    const isSync = prng.integer({min: 0, max: 3}) > 0;
    const isPowerCut = prng.integer({min: 0, max: 1}) === 0;
    const downMs = exponential(prng, 1_000);
    if (machine === null) return;
    this.#count(isSync ? 'fdatasync failed' : 'write failed');
    this.#parts.tell(machine.owner, () => `the next ${isSync ? 'fdatasync' : 'write'} fails`);
    machine.mayFail = 'EIO';
    machine.failsByPowerCut = isPowerCut;
    const {disk} = machine.member;
    if (isSync) disk.failNextSync = 'EIO';
    else disk.failNextWrite = 'EIO';
    const look = (): void => {
      if (machine.isRunning) {
        this.#later(500, look);
        return;
      }
      this.#later(downMs, () => machine.start());
    };
    this.#later(100, look);
  }

  #fillDisk(prng: Prng): void {
    const machine = pick(prng, this.#parts.machines);
    const durationMs = exponential(prng, 4_000);
    const {disk, checkpointDisk} = machine.member;
    this.#count('disk full');
    this.#parts.tell(machine.owner, () => `its disk is full for ${Math.round(durationMs)} ms`);
    disk.spaceSizeBytes = prng.integer({min: 0, max: 20_000});
    if (prng.integer({min: 0, max: 1}) === 0) checkpointDisk.nextFailure = 'ENOSPC';
    this.#later(durationMs, () => {
      disk.spaceSizeBytes = Infinity;
    });
  }

  /** A member may be lost for ever only while a majority of all members keeps its copies. */
  #mayLose(): boolean {
    const {machines} = this.#parts;
    const isFormed = machines.every(machine => machine.member.record.stage === 'member');
    const lostCount = machines.filter(machine => machine.isLost).length;
    return isFormed && (lostCount + 1) * 2 < machines.length;
  }

  /** Of a member that is down: what it finds at its next start is not what it wrote. */
  #rot(prng: Prng): void {
    const machine = this.#running(prng);
    if (machine === null || !this.#mayLose()) return;
    machine.isLost = true;
    machine.mayFail = 'bit rot';
    machine.powerCut();
    const {disk} = machine.member;
    const files = disk.listSync('/wal').filter(name => name.endsWith('.wal'));
    const file = `/wal/${must(pickOr(prng, files), 'a log has a segment')}`;
    const content = disk.content(file);
    const last = content.findLastIndex(byte => byte !== 0);
    const place = prng.integer({min: 0, max: Math.max(0, last)});
    content[place] = (content[place] ?? 0) ^ (1 << prng.integer({min: 0, max: 7}));
    disk.replace(file, content);
    this.#parts.tell(machine.owner, () => `a bit of ${file} at ${place} is flipped`);
    this.#parts.coverage.count('bit flipped');
    this.#later(exponential(prng, 1_000), () => machine.startLost());
  }

  #loseCheckpoint(prng: Prng): void {
    const machine = this.#running(prng);
    const {machines} = this.#parts;
    if (machine === null || machines.length < 3) return;
    // One at a time: whoever is being repaired needs the others' checkpoints.
    const areAllUp = machines.every(
      ({owner, isRunning}) => isRunning && this.#parts.check.view(owner)?.replica !== null,
    );
    if (!areAllUp || !machines.every(({member}) => member.record.stage === 'member')) return;
    machine.kill();
    machine.member.loseCheckpoint();
    this.#parts.tell(machine.owner, () => 'its checkpoint is lost');
    this.#parts.coverage.count('checkpoint thrown away');
    this.#later(exponential(prng, 500), () => machine.start());
  }

  #wipe(prng: Prng): void {
    const machine = this.#running(prng);
    if (machine === null || !this.#mayLose()) return;
    machine.isLost = true;
    machine.mayFail = 'wiped';
    machine.powerCut();
    machine.member.loseDirectory();
    this.#parts.check.onWiped(machine.owner);
    this.#parts.tell(machine.owner, () => 'its directory is wiped');
    this.#later(exponential(prng, 1_000), () => machine.startLost());
  }

  #leader(): {readonly machine: Machine; readonly replica: Replica} | null {
    const {machines, check} = this.#parts;
    for (const machine of machines) {
      const replica = check.view(machine.owner)?.replica;
      if (machine.isRunning && replica?.raft.role === 'leader') return {machine, replica};
    }
    return null;
  }

  #transfer(prng: Prng): void {
    const leader = this.#leader();
    if (leader === null) return;
    const {machine, replica} = leader;
    const to = pickOr(
      prng,
      replica.raft.membership.voters.filter(id => id !== machine.id),
    );
    if (to === null || !replica.raft.transferLeadership(to)) return;
    this.#count('leadership transferred');
    this.#parts.tell(machine.owner, () => `hands leadership over to ${to}`);
    replica.schedule();
    this.#parts.touched(machine.owner);
  }

  #changeMembership(prng: Prng): void {
    const leader = this.#leader();
    if (leader === null) return;
    const {machine, replica} = leader;
    const {membership} = replica.raft;
    const next = drawMembership(prng, membership);
    if (next === null) return;
    const wallMs = Math.floor(1_700_000_000_000 + machine.time.wallSkewMs + machine.time.nowMs);
    const result = replica.raft.proposeMembership(next, Math.max(0, wallMs));
    if (result.type !== 'accepted') return;
    this.#count('membership changed');
    const isPromoted = next.voters.some(id => !membership.voters.includes(id));
    if (isPromoted) this.#count('learner promoted');
    this.#parts.tell(machine.owner, () => `proposes the voters ${next.voters.join(', ')}`);
    replica.schedule();
    this.#parts.touched(machine.owner);
  }
}

/** Directed pairs: one member alone, two camps, or a coin for each pair. */
function drawCuts(prng: Prng, size: number): [number, number][] {
  const all = Array.from({length: size}, (_, i) => i);
  const style = prng.integer({min: 0, max: 2});
  const cuts: [number, number][] = [];
  const isLeft = all.map(() => prng.integer({min: 0, max: 1}) === 0);
  const alone = prng.integer({min: 0, max: size - 1});
  const isOutward = prng.integer({min: 0, max: 1}) === 0;
  for (const a of all) {
    for (const b of all) {
      if (a === b) continue;
      const coin = prng.integer({min: 0, max: 2}) === 0;
      const isCut =
        (style === 0 && (isOutward ? a : b) === alone) ||
        (style === 1 && isLeft[a] === isOutward && isLeft[b] !== isOutward) ||
        (style === 2 && coin);
      if (isCut) cuts.push([a, b]);
    }
  }
  return cuts;
}

/** Voters become learners and learners voters, at least two voters staying. */
function drawMembership(prng: Prng, membership: Membership): Membership | null {
  const ids = membership.members.map(member => member.id);
  if (ids.length < 3) return null;
  const isLarge = prng.integer({min: 0, max: 1}) === 0;
  const flipped = new Set<NodeId>();
  for (let i = 0; i < (isLarge ? 3 : 1); i++) flipped.add(pick(prng, ids));
  const voters = ids.filter(id => membership.voters.includes(id) !== flipped.has(id));
  if (voters.length < 2) return null;
  const learners = ids.filter(id => !voters.includes(id));
  return {voters, votersOutgoing: [], learners, members: membership.members};
}

function nameOf(owner: number): string {
  return `node${owner + 1}`;
}

function pick<T>(prng: Prng, from: readonly T[]): T {
  assert(from.length > 0, 'nothing to pick from');
  return must(from[prng.integer({min: 0, max: from.length - 1})], 'something to pick');
}

function pickOr<T>(prng: Prng, from: readonly T[]): T | null {
  return from.length === 0 ? null : pick(prng, from);
}
