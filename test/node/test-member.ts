/**
 * One member of a cluster in one process: the real node over a log on a disk that forgets, a
 * checkpoint in memory and the memory transport. What survives a crash is kept here; everything
 * else belongs to a life and ends with it.
 */
import {assert, must} from '../../src/base/assert.ts';
import type {Logger} from '../../src/base/logger.ts';
import {silentLogger} from '../../src/base/logger.ts';
import type {Prng} from '../../src/base/prng.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {FormationPeer} from '../../src/node/formation-messages.ts';
import type {IdentityRecord} from '../../src/node/identity-record.ts';
import type {NodeOptions} from '../../src/node/node-options.ts';
import type {JoinPlace} from '../../src/node/newcomer.ts';
import {Node} from '../../src/node/node.ts';
import type {NodeObserver} from '../../src/node/observer.ts';
import {nodeId} from '../../src/raft/ids.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import {StateStore} from '../../src/storage/state-store.ts';
import type {Start, StartHistory} from '../../src/storage/start-history.ts';
import {withStart} from '../../src/storage/start-history.ts';
import type {WalOptions} from '../../src/storage/wal-options.ts';
import {openLog} from '../../src/storage/wal-log-store.ts';
import type {OpenedLog} from '../../src/storage/wal-log-store.ts';
import type {Transport} from '../../src/transport/transport.ts';
import {FakeCheckpointDisk, FakeCheckpointStore} from '../contract/fake-checkpoint-store.ts';
import {FakeDisk} from '../sim/fake-disk.ts';
import type {Scheduler} from './virtual-time.ts';
import {LifeClock} from './virtual-time.ts';

export interface Surroundings {
  readonly time: Scheduler;
  readonly network: {transport(address: string): Transport};
  readonly prng: Prng;
}

/** When the disk does something, when the process hears of it, and a step of a checkpoint. */
export interface DiskPace {
  perform(operation: () => void): void;
  report(callback: () => void): void;
  checkpoint(callback: () => void): void;
}

/** For those who look inside. Nothing of it changes what the member does. */
export interface MemberWatcher {
  onLife(life: Life): void;
  onLogOpened(log: OpenedLog): void;
  /** The process exits by itself; called before it does. */
  onFatal(error: Error): void;
  /** The member was removed and is about to stop. */
  onRemoved?(error: Error): void;
}

export interface MemberOptions {
  readonly wal?: Partial<WalOptions>;
  readonly node?: Partial<NodeOptions>;
  readonly wallSkewMs?: number;
  readonly logger?: Logger;
  readonly watcher?: MemberWatcher;
  readonly observer?: NodeObserver;
  readonly diskPace?: DiskPace;
}

/** What a data directory held at one moment. */
export interface DirectoryCopy {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly checkpoint: FakeCheckpointDisk;
  readonly record: IdentityRecord;
  readonly starts: StartHistory;
  readonly seenStarts: ReadonlyMap<string, Start>;
}

export interface Life {
  readonly clock: LifeClock;
  readonly node: Node;
  readonly state: StateStore;
  readonly machine: KvStateMachine;
  readonly transport: Transport;
  readonly checkpoint: FakeCheckpointStore;
}

const defaults: NodeOptions = {
  electionTimeoutMs: 150,
  heartbeatMs: 50,
  historyAgeMs: 0,
  historySizeBytesMax: 0,
  version: 'test',
};

export class TestMember {
  readonly id: NodeId;
  readonly address: string;
  /** `-peers` of the next start. */
  peers: readonly FormationPeer[];
  /** `-join`, `-rejoin` of the next start. */
  join: JoinPlace | null = null;
  disk: FakeDisk;
  checkpointDisk = new FakeCheckpointDisk();
  /** What a write, a sync or a checkpoint takes. */
  diskDelayMs = 1;
  /** Why the last life ended by itself. */
  fatal: Error | null = null;
  /** What it said when the cluster had removed it. */
  removal: Error | null = null;
  /** Durable checkpoints and installed snapshots, of all lives. */
  readonly counts = {checkpoints: 0, snapshots: 0};
  readonly #surroundings: Surroundings;
  readonly #options: MemberOptions;
  #record: IdentityRecord;
  #starts: StartHistory = {count: 0, marks: []};
  #markCount = 0;
  /** Its directory was found to be an older copy. */
  #staleDetail: string | null = null;
  #seenStarts = new Map<string, Start>();
  #life: Life | null = null;

  constructor(
    id: string,
    peers: readonly FormationPeer[],
    surroundings: Surroundings,
    options: MemberOptions = {},
  ) {
    this.id = nodeId(id);
    this.address = addressOf(id);
    this.peers = peers;
    this.#surroundings = surroundings;
    this.#options = options;
    this.disk = this.#newDisk();
    this.#record = this.#newRecord();
  }

  get isRunning(): boolean {
    return this.#life !== null;
  }

  get node(): Node {
    return this.#running().node;
  }

  get machine(): KvStateMachine {
    return this.#running().machine;
  }

  get state(): StateStore {
    return this.#running().state;
  }

  get record(): IdentityRecord {
    return this.#record;
  }

  start(): void {
    assert(this.#life === null, `${this.id} runs already`);
    const {time, network, prng} = this.#surroundings;
    const clock = new LifeClock(time, this.#options.wallSkewMs);
    const transport = network.transport(this.address);
    const checkpoint = new FakeCheckpointStore(this.checkpointDisk, operation => {
      const {diskPace} = this.#options;
      if (diskPace === undefined) time.setTimer(this.diskDelayMs, operation);
      else diskPace.checkpoint(operation);
    });
    const state = new StateStore(checkpoint);
    const machine = new KvStateMachine(state);
    const {id, address} = this;
    const self = {id, incarnation: this.#record.incarnation, listen: address, http: `${id}:2`};
    const node: Node = new Node({
      self,
      record: this.#record,
      starts: this.#raiseStarts(),
      peers: this.peers,
      join: this.join,
      transport,
      state,
      machine,
      checkpoint,
      openLog: record => {
        assert(this.#life?.node === node, 'a dead node opens its log');
        const opened = this.#openLog(record, clock, checkpoint);
        this.#options.watcher?.onLogOpened(opened);
        return opened;
      },
      saveIdentity: record => {
        if (this.#life?.node === node) this.#record = record;
      },
      noteStale: detail => (this.#staleDetail = detail),
      seenStarts: {
        get: incarnation => this.#seenStarts.get(incarnation) ?? null,
        record: (incarnation, start) => {
          this.#seenStarts.set(incarnation, start);
          return true;
        },
      },
      clock,
      logger: this.#options.logger ?? silentLogger,
      options: {...defaults, ...this.#options.node},
      observer: this.#options.observer ?? countingObserver(this.counts),
      drawClusterId: () => hex(prng, 32),
      seed: prng.uint32(),
      onFatal: error => {
        // The process would exit: the rest of this life never happens.
        this.fatal = error;
        if (this.#life?.node !== node) return;
        this.#options.watcher?.onFatal(error);
        if (this.isRunning) this.crash();
      },
      onRemoved: error => {
        this.removal = error;
        if (this.#life?.node !== node) return;
        const {watcher} = this.#options;
        // A process would stop and exit.
        if (watcher?.onRemoved === undefined) this.stop(() => undefined);
        else watcher.onRemoved(error);
      },
    });
    this.fatal = null;
    this.#life = {clock, node, state, machine, transport, checkpoint};
    this.#options.watcher?.onLife(this.#life);
    node.start(error => assert(error === null, `${address} is taken`));
  }

  /** kill -9 and a power cut in one: what was not synced is kept, torn or lost, by chance. */
  crash(): void {
    this.#endLife();
    const {prng} = this.#surroundings;
    this.disk.crash(prng);
    this.checkpointDisk.end(() => prng.float() < 0.5);
  }

  /** kill -9 alone: what was written stays readable, synced or not. */
  kill(): void {
    this.#endLife();
    this.disk.kill();
    this.checkpointDisk.end(() => true);
  }

  /** As SIGTERM does it: hands over, waits until nobody waits, stops. `isQuiet` is polled. */
  stop(callback: () => void): void {
    const life = this.#running();
    life.node.beginStop();
    const deadlineMs = this.#surroundings.time.nowMs + 1_000;
    const look = (): void => {
      if (!life.node.isQuiet() && this.#surroundings.time.nowMs < deadlineMs) {
        life.clock.setTimer(10, look);
        return;
      }
      life.node.stop(() => {
        this.#life = null;
        life.clock.end();
        callback();
      });
    };
    look();
  }

  /** Another, empty data directory under the same name. */
  loseDirectory(): void {
    assert(this.#life === null, `${this.id} runs`);
    this.disk = this.#newDisk();
    this.checkpointDisk = new FakeCheckpointDisk();
    this.#record = this.#newRecord();
    this.#starts = {count: 0, marks: []};
    this.#seenStarts = new Map();
    this.#staleDetail = null;
  }

  /** Also of a member that runs, as a snapshot of its volume would have it. */
  copyDirectory(): DirectoryCopy {
    return {
      files: this.disk.copyFiles(),
      checkpoint: this.checkpointDisk.copy(),
      record: this.#record,
      starts: this.#starts,
      seenStarts: new Map(this.#seenStarts),
    };
  }

  /** A copy takes the place of the directory. */
  restoreDirectory(copy: DirectoryCopy): void {
    this.loseDirectory();
    this.disk.placeFiles(copy.files);
    this.checkpointDisk = copy.checkpoint.copy();
    this.#record = copy.record;
    this.#starts = copy.starts;
    this.#seenStarts = new Map(copy.seenStarts);
  }

  /** The last start that it saw of this directory, null: none. */
  seenStart(incarnation: string): Start | null {
    return this.#seenStarts.get(incarnation) ?? null;
  }

  /** A peer found its directory to be an older copy. */
  get isStale(): boolean {
    return this.#staleDetail !== null;
  }

  /** A mark is drawn once, whatever becomes of the directory. */
  #raiseStarts(): StartHistory {
    if (this.#staleDetail !== null) throw new Error(this.#staleDetail);
    const mark = (++this.#markCount).toString(16).padStart(8, '0');
    this.#starts = withStart(this.#starts, mark);
    return this.#starts;
  }

  /** As if it had crashed right before it wrote down that it is a member. */
  forgetMembership(): void {
    assert(this.#life === null, `${this.id} runs`);
    this.#record = {...this.#record, stage: 'founded'};
  }

  loseCheckpoint(): void {
    assert(this.#life === null, `${this.id} runs`);
    this.checkpointDisk = new FakeCheckpointDisk();
  }

  #endLife(): void {
    const life = this.#running();
    this.#life = null;
    life.clock.end();
    life.checkpoint.crash();
    life.transport.stop(() => undefined);
  }

  #perform(operation: () => void): void {
    const {diskPace} = this.#options;
    if (diskPace === undefined) this.#surroundings.time.setTimer(this.diskDelayMs, operation);
    else diskPace.perform(operation);
  }

  #report(callback: () => void): void {
    const {diskPace} = this.#options;
    if (diskPace === undefined) this.#surroundings.time.setTimer(this.diskDelayMs, callback);
    else diskPace.report(callback);
  }

  #openLog(
    record: IdentityRecord,
    clock: LifeClock,
    checkpoint: FakeCheckpointStore,
  ): ReturnType<typeof openLog> {
    return openLog({
      disk: this.disk,
      directory: '/wal',
      clock,
      identity: {
        clusterId: must(record.clusterId, 'a log belongs to a cluster'),
        nodeId: record.nodeId,
        incarnation: record.incarnation,
      },
      checkpoint: checkpoint.meta(),
      mustExist: record.stage === 'member',
      options: {segmentSizeBytes: 65_536, ...this.#options.wal},
    });
  }

  #newDisk(): FakeDisk {
    return new FakeDisk(
      operation => this.#perform(operation),
      callback => this.#report(callback),
    );
  }

  #newRecord(): IdentityRecord {
    const incarnation = hex(this.#surroundings.prng, 16);
    return {nodeId: this.id, incarnation, clusterId: null, stage: 'fresh', members: []};
  }

  #running(): Life {
    return must(this.#life, `${this.id} does not run`);
  }
}

export function addressOf(id: string): string {
  return `${id}:1`;
}

function hex(prng: Prng, digitCount: number): string {
  let digits = '';
  while (digits.length < digitCount) digits += prng.uint32().toString(16).padStart(8, '0');
  return digits.slice(0, digitCount);
}

/** Of all lives, for runs that must have met what they are about. */
function countingObserver(counts: {checkpoints: number; snapshots: number}): NodeObserver {
  return {
    onCommitted: () => undefined,
    onElectionStarted: () => undefined,
    onLeaderChange: () => undefined,
    onCheckpoint: () => counts.checkpoints++,
    onSnapshotSent: () => undefined,
    onSnapshotInstalled: () => counts.snapshots++,
  };
}
