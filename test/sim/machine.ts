/**
 * One machine of a simulated cluster: its clock, its disk's pace, and the member that runs on it,
 * life after life. Says why a member may end by itself; any other end is a violation.
 */
import type {Clock} from '../../src/base/clock.ts';
import type {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Logger} from '../../src/base/logger.ts';
import type {NodeObserver} from '../../src/node/observer.ts';
import type {DirectoryCopy} from '../node/test-member.ts';
import {TestMember, addressOf} from '../node/test-member.ts';
import {peerOf} from '../node/test-cluster.ts';
import {Violation} from './checks/violation.ts';
import type {ClusterCheck} from './checks/cluster-check.ts';
import type {Coverage} from './coverage.ts';
import {DiskDelays} from './disk-delays.ts';
import type {EventQueue} from './event-queue.ts';
import type {FailReason} from './explained-end.ts';
import {explainsEnd, hasCode} from './explained-end.ts';
import {MemberTime} from './member-time.ts';
import type {SimNetwork} from './sim-network.ts';
import type {SwarmConfig} from './swarm.ts';
import type {SimTransport} from './sim-transport.ts';

/** Until somebody has read why it was refused. */
const refusedMs = 500;

export interface World {
  readonly config: SwarmConfig;
  readonly queue: EventQueue;
  readonly coverage: Coverage;
  readonly prng: Prng;
  readonly check: ClusterCheck;
  readonly logger: Logger;
  tell(owner: number, text: () => string): void;
  /** The process on this machine ended, whoever waits for it waits in vain. */
  onLife(machine: Machine, store: KvStateMachine, clock: Clock): void;
  onLifeEnded(machine: Machine): void;
}

export class Machine {
  readonly id: string;
  readonly owner: number;
  readonly time: MemberTime;
  readonly #world: World;
  #member: TestMember | null = null;
  #transport: SimTransport | null = null;
  #network: SimNetwork | null = null;
  #isStopping = false;
  /** It was removed: its directory is of no use, and it comes back with another one. */
  #isRemoved = false;
  #contacts: readonly string[] = [];
  #cutsPowerAtWrite = false;
  #startsAgain = false;
  #isOlderCopy = false;
  /** Never started again: its disk holds no copy any more that others may count on. */
  isLost = false;
  /** Why the process may end by itself; null: it must not. */
  mayFail: FailReason | null = null;
  readonly diskDelays: DiskDelays;
  /** A failed process leaves its page cache behind, a failed machine does not. */
  failsByPowerCut = false;

  constructor(world: World, id: string, owner: number) {
    this.#world = world;
    this.id = id;
    this.owner = owner;
    const {turnMs, lookMs} = world.config;
    this.diskDelays = new DiskDelays(world.config, world.prng);
    this.time = new MemberTime(world.queue, owner, {turnMs, lookMs});
  }

  get member(): TestMember {
    if (this.#member === null) throw new Error(`${this.id} is not connected`);
    return this.#member;
  }

  get isRunning(): boolean {
    return this.#member?.isRunning === true;
  }

  /** Its directory is a copy of before, and nobody has told it yet. */
  get isOlderCopy(): boolean {
    return this.#isOlderCopy;
  }

  /** Once, when all machines are known to the network. */
  connect(network: SimNetwork, ids: readonly string[]): void {
    const {config, queue, prng, check, logger} = this.#world;
    this.#contacts = ids.filter(id => id !== this.id).map(addressOf);
    this.#network = network;
    const peers = ids.filter(id => id !== this.id).map(peerOf);
    const surroundings = {
      time: this.time,
      prng,
      network: {transport: (address: string) => this.#newTransport(network, address)},
    };
    const {owner} = this;
    this.#member = new TestMember(this.id, peers, surroundings, {
      wallSkewMs: owner * 3_000,
      logger,
      wal: {
        segmentSizeBytes: config.segmentSizeBytes,
        fillStepSizeBytes: config.fillStepSizeBytes,
        retentionSizeBytesMax: config.retentionSizeBytesMax,
        tailSizeBytesMax: config.tailSizeBytesMax,
      },
      node: {
        electionTimeoutMs: config.electionTimeoutMs,
        heartbeatMs: config.heartbeatMs,
        historyAgeMs: config.historyAgeMs,
        historySizeBytesMax: config.historySizeBytesMax,
      },
      observer: this.#observer(),
      watcher: {
        onLife: life => {
          check.onLife(owner, life, this.member.record.incarnation);
          this.#world.onLife(this, life.machine, life.clock);
        },
        onLogOpened: opened => check.onLogOpened(owner, opened, this.mayFail === 'bit rot'),
        onFatal: error => this.#onFatal(error),
        onRemoved: () => this.#onRemoved(),
      },
      diskPace: {
        perform: operation =>
          this.time.machine(this.diskDelays.operationMs(queue.nowMs), () => {
            operation();
            this.#onDiskOperation();
          }),
        report: callback => this.time.notice(0, 'disk', callback),
        checkpoint: callback =>
          this.time.notice(this.diskDelays.checkpointMs(queue.nowMs), 'disk', callback),
      },
    });
  }

  start(): void {
    if (this.#isStopping) this.#startsAgain = true;
    if (this.isRunning || this.isLost) return;
    if (this.#isRemoved) this.loseDirectory({replaces: false});
    // What it was told to type.
    if (this.member.isStale) {
      this.#mustBeOlderCopy();
      this.loseDirectory({replaces: true});
    }
    const {disk} = this.member;
    // A fault that has not shown yet may show in the next life.
    if (disk.failNextSync === null && disk.failNextWrite === null) this.mayFail = null;
    this.#world.tell(this.owner, () => 'starts');
    this.member.start();
  }

  /** With a directory that it should refuse. */
  startLost(): void {
    if (this.isRunning) return;
    this.#world.tell(this.owner, () => `starts although: ${this.mayFail ?? 'nothing'}`);
    this.member.start();
  }

  /** Of a member that is down; it asks the others to let it in. */
  loseDirectory(options: {readonly replaces: boolean}): void {
    const {member} = this;
    this.#isRemoved = false;
    this.#isOlderCopy = false;
    member.loseDirectory();
    member.peers = [];
    member.join = {contacts: this.#contacts, replaces: options.replaces};
    this.#world.check.onWiped(this.owner);
    // Nothing of the former directory's connections can arrive any more.
    this.#network?.forgetOld(member.address);
  }

  /** Of a member that is down: somebody puts an older copy of its directory in its place. */
  goBack(copy: DirectoryCopy): void {
    const {member} = this;
    this.#isOlderCopy = true;
    member.restoreDirectory(copy);
    member.join = null;
    this.#world.check.onOlderCopy(this.owner);
    this.#network?.forgetOld(member.address);
  }

  powerCut(): void {
    if (!this.isRunning) return;
    this.#world.tell(this.owner, () => 'power cut');
    if (this.#transport !== null) this.#transport.isSilent = true;
    this.member.crash();
    this.#onEnded();
  }

  /** The power goes right after the disk did something, before the process hears of it. */
  powerCutAtNextWrite(): void {
    this.#cutsPowerAtWrite = true;
  }

  /** Clock, disk and process are in order again, and stay so. */
  repair(): void {
    this.#cutsPowerAtWrite = false;
    this.diskDelays.repair();
    this.time.setRate(1);
    const {disk, checkpointDisk} = this.member;
    disk.spaceSizeBytes = Infinity;
    disk.failNextSync = null;
    disk.failNextWrite = null;
    checkpointDisk.nextFailure = null;
    if (this.time.isPaused) this.time.resume();
  }

  kill(): void {
    if (!this.isRunning) return;
    this.#world.tell(this.owner, () => 'kill -9');
    this.member.kill();
    this.#onEnded();
  }

  /** SIGTERM. A start meanwhile waits until it has stopped. */
  stopGracefully(): void {
    if (!this.isRunning || this.#isStopping) return;
    this.#world.tell(this.owner, () => 'SIGTERM');
    this.#isStopping = true;
    this.#startsAgain = false;
    this.member.stop(() => {
      const startsAgain = this.#startsAgain;
      this.#onEnded();
      if (startsAgain) this.start();
    });
  }

  /** Whether the faults explain that it ends by this. */
  mayEndBy(error: Error): boolean {
    return (
      this.#isEndOfFullDisk(error) ||
      explainsEnd(this.mayFail, error) ||
      (this.member.isStale && explainsEnd('older copy', error))
    );
  }

  /** A log without space may end the process where it cannot wait: when it is made, or closed. */
  #isEndOfFullDisk(error: Error): boolean {
    return (
      hasCode(error, 'ENOSPC') && (this.#isStopping || this.member.disk.spaceSizeBytes < Infinity)
    );
  }

  /** Also for a process that an error ended. */
  #onEnded(): void {
    const {checkpointDisk} = this.member;
    const {coverage} = this.#world;
    coverage.count('crash at the switch to a snapshot', checkpointDisk.cutSwitchCount);
    checkpointDisk.cutSwitchCount = 0;
    coverage.count('history pruned', checkpointDisk.pruneCount);
    checkpointDisk.pruneCount = 0;
    coverage.count('history pruned in part', checkpointDisk.partialPruneCount);
    checkpointDisk.partialPruneCount = 0;
    this.#isStopping = false;
    this.#cutsPowerAtWrite = false;
    this.time.forget();
    this.#world.check.onLifeEnded(this.owner);
    this.#world.onLifeEnded(this);
  }

  /** An exception that nobody caught ends the process, if it may end at all. */
  onThrown(error: Error): void {
    if (!this.isRunning) throw error;
    this.#onFatal(error);
  }

  #onFatal(error: Error): void {
    const {mayFail} = this;
    if (error instanceof Violation) throw error;
    this.#world.tell(this.owner, () => `ends by itself: ${error.message}`);
    const isRefused = this.member.isStale;
    if (isRefused) this.#mustBeOlderCopy();
    if (!this.mayEndBy(error)) {
      throw new Violation('no member ends by itself', `${this.id}: ${error.message}`, {
        cause: error,
      });
    }
    const {coverage} = this.#world;
    if (hasCode(error, 'ENOSPC')) coverage.count('ended by a full disk');
    if (mayFail === 'wiped') coverage.count('wiped member refused');
    if (mayFail === 'bit rot') coverage.count('damaged log refused');
    if (isRefused) {
      coverage.count('older copy refused');
      this.#world.queue.add(refusedMs, -1, 'fault', () => this.start());
    }
    if (this.failsByPowerCut) this.powerCut();
    else this.kill();
  }

  #mustBeOlderCopy(): void {
    if (this.#isOlderCopy) return;
    throw new Violation('only an older copy is refused as one', this.id);
  }

  /** It stops by itself. The supervisor starts it, or the end of the faults. */
  #onRemoved(): void {
    const {coverage} = this.#world;
    this.#world.tell(this.owner, () => 'was removed');
    coverage.count('removed member told');
    this.#isRemoved = true;
    if (this.#isStopping) return;
    this.stopGracefully();
    this.#startsAgain = true;
  }

  #onDiskOperation(): void {
    if (this.#cutsPowerAtWrite && this.member.disk.isDirty()) this.powerCut();
  }

  #newTransport(network: SimNetwork, address: string): SimTransport {
    this.#transport = network.transport(address);
    return this.#transport;
  }

  #observer(): NodeObserver {
    const {coverage} = this.#world;
    return {
      onCommitted: () => undefined,
      onElectionStarted: () => coverage.count('pre-vote'),
      onLeaderChange: () => undefined,
      onCheckpoint: () => coverage.count('checkpoint written'),
      onSnapshotSent: () => coverage.count('snapshot sent'),
      onSnapshotInstalled: () => coverage.count('snapshot installed'),
    };
  }
}
