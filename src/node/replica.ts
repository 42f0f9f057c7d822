/**
 * A member that runs: raft and everything that performs what it decides. Created when the identity
 * is known and the log is open. It composes; each concern lives in a file of its own.
 */
import {must} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {CommandResult} from '../kv/result.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Entry} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';
import {Raft} from '../raft/raft.ts';
import type {SoftState} from '../raft/ready.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointStore} from '../storage/checkpoint-store.ts';
import type {StateStore} from '../storage/state-store.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {PeerMessage, Transport} from '../transport/transport.ts';
import {Applier} from './applier.ts';
import {Checkpointer} from './checkpointer.ts';
import {DiskWatch} from './disk-watch.ts';
import {firstIdOf} from './first-id.ts';
import {handOver} from './hand-over.ts';
import {HistoryKeeper} from './history-keeper.ts';
import {tellLeadership} from './leadership-news.ts';
import type {LeaseExpirer} from './lease-expirer.ts';
import {leaseExpirerOf} from './lease-expirer.ts';
import {LogClock} from './log-clock.ts';
import {neededAfter} from './needed-log.ts';
import type {NodeOptions} from './node-options.ts';
import {tickMs} from './node-options.ts';
import type {NodeObserver} from './observer.ts';
import {Proposer} from './proposer.ts';
import {raftOptions} from './raft-options.ts';
import {ReadTable} from './read-table.ts';
import {ReadyLoop} from './ready-loop.ts';
import {Snapshotter} from './snapshotter.ts';
import {StateHashMonitor, stateHashInterval} from './state-hash-monitor.ts';

/** Deadlines are looked at every so many ticks. */
const sweepTicks = 5;

export interface ReplicaParts {
  readonly id: NodeId;
  readonly incarnation: string;
  readonly log: OpenedLog;
  readonly state: StateStore;
  readonly machine: KvStateMachine;
  readonly checkpoint: CheckpointStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: NodeOptions;
  readonly observer: NodeObserver;
  /** 32-bit, unsigned; drawn anew for every start. */
  readonly seed: number;
  /** Rises with every start of this data directory. */
  readonly startCount: number;
  /** As found in an earlier life of this directory; null: it was not. */
  readonly divergence: string | null;
  readonly onDiverged: (detail: string) => void;
  readonly onMembership: () => void;
  readonly fail: (error: Error) => void;
}

export class Replica {
  readonly raft: Raft;
  readonly proposer: Proposer;
  readonly checkpointer: Checkpointer;
  readonly snapshotter: Snapshotter;
  readonly #parts: ReplicaParts;
  readonly #applier: Applier;
  readonly #reads: ReadTable;
  readonly #loop: ReadyLoop;
  readonly #history: HistoryKeeper;
  readonly #leases: LeaseExpirer;
  readonly #hashes: StateHashMonitor;
  readonly #disk: DiskWatch;
  #timer: Timer | null = null;
  #tickCount = 0;
  #softState: SoftState;
  #hasCaughtUp = false;
  /** The one that `onMembership` was told of. */
  #membership: Membership;
  #hasLeft = false;
  #isStopped = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
    const {id, log, state, machine, transport, clock} = parts;
    const applied = state.checkpointMeta();
    const firstId = firstIdOf(parts.incarnation, parts.startCount);
    this.raft = new Raft(raftOptions(parts, applied.index));
    this.#softState = {role: 'follower', leaderId: null, term: this.raft.term};
    this.#membership = this.raft.membership;
    const mayWriteRows = (): boolean =>
      this.checkpointer.hasRoom() && !this.snapshotter.isInstalling();
    this.#applier = new Applier(
      {
        machine,
        clock,
        hasRoom: mayWriteRows,
        onApplied: (entry, result) => this.#onApplied(entry, result),
      },
      applied,
    );
    this.#reads = new ReadTable({
      raft: this.raft,
      reader: machine,
      retryAfterMs: parts.options.electionTimeoutMs,
      firstContext: firstId,
    });
    const scheduleReady = (): void => this.#loop.schedule();
    this.checkpointer = new Checkpointer({
      ...parts,
      log: log.store,
      applied: () => this.#applier.applied,
      neededAfter: () => neededAfter({...parts, raft: this.raft, snapshotter: this.snapshotter}),
      onCheckpoint: durationMs => parts.observer.onCheckpoint(durationMs),
    });
    this.snapshotter = new Snapshotter({
      ...parts,
      raft: this.raft,
      checkpointer: this.checkpointer,
      life: `${parts.startCount}-${parts.seed.toString(16)}`,
      firstLogIndex: () => log.store.firstIndex(),
      refusal: () => this.refusal(),
      scheduleReady,
      onSent: () => parts.observer.onSnapshotSent(),
    });
    this.#leases = leaseExpirerOf(this, parts);
    this.proposer = new Proposer({
      raft: this.raft,
      log: log.store,
      transport,
      clock,
      logClock: new LogClock({raft: this.raft, clock, rows: state}),
      leases: this.#leases,
      firstRequestId: firstId,
      isStorageFull: () => this.checkpointer.isStorageFull(),
      isDiverged: () => this.isDiverged,
      scheduleReady,
    });
    this.#history = new HistoryKeeper({
      raft: this.raft,
      machine,
      proposer: this.proposer,
      clock,
      options: parts.options,
      mayScrub: () => mayWriteRows() && !machine.isSuspended(),
    });
    this.#hashes = new StateHashMonitor({...parts, selfId: id, onDiverged: this.#onDiverged});
    this.#disk = new DiskWatch(parts, this);
    this.#loop = this.#createLoop();
  }

  readonly #onDiverged = (detail: string): void => {
    this.proposer.onDiverged();
    this.#reads.failAll(must(this.refusal(), 'a diverged replica refuses'));
    if (!this.handOver()) this.raft.stepDown();
    this.#parts.onDiverged(detail);
  };

  #createLoop(): ReadyLoop {
    const {log, transport, clock, observer, fail} = this.#parts;
    return new ReadyLoop({
      raft: this.raft,
      log: log.store,
      transport,
      clock,
      applier: this.#applier,
      reads: this.#reads,
      onSoftState: softState => this.#onSoftState(softState),
      onCommitted: count => observer.onCommitted(count),
      onSnapshotNeeded: to => this.snapshotter.send(to),
      installSnapshot: (meta, callback) => this.snapshotter.install(meta, callback),
      onInstalled: (meta, hardState) => this.#onInstalled(meta, hardState),
      fail,
    });
  }

  get applied(): SnapshotMeta {
    return this.#applier.applied;
  }

  get appliedCount(): number {
    return this.#applier.appliedCount;
  }

  get isDiverged(): boolean {
    return this.#hashes.isDiverged;
  }

  refusal(): RosettaError | null {
    return this.#hashes.refusal();
  }

  start(): void {
    const {voters} = this.raft.membership;
    this.#parts.onMembership();
    // Nobody else could vote: waiting for a timeout would only delay the first write.
    if (voters.length === 1 && voters[0] === this.raft.id) this.raft.campaign();
    // The first linearizable read of this life is the node's own: it says when it has caught up.
    this.#reads.add(Infinity, error => {
      this.#hasCaughtUp = error === null;
    });
    this.#loop.schedule();
    this.#armTimer();
  }

  /** Everything that was known committed at the start is applied. */
  hasReplayed(): boolean {
    return this.#applier.applied.index >= this.#parts.log.hardState.commit;
  }

  /** Has, since its start, once applied all that its leader had committed, and is close to it. */
  isCaughtUp(): boolean {
    return this.#hasCaughtUp && this.#applier.applied.index + lag >= this.raft.commitIndex;
  }

  schedule(): void {
    this.#loop.schedule();
  }

  /** After something was proposed: a membership is in force as soon as it is logged. */
  followMembership(): void {
    this.#noteMembership();
    this.#loop.schedule();
  }

  /** Nobody counts on this member any more: it campaigns no longer, and its reads end. */
  leave(): void {
    this.#hasLeft = true;
    this.#reads.failAll(new RosettaError('STOPPING', 'this node was removed; ask another one'));
  }

  read(timeoutMs: number, isLocal: boolean, callback: Parameters<ReadTable['add']>[1]): void {
    const deadlineMs = this.#parts.clock.monotonicMs() + timeoutMs;
    const isTaken = isLocal
      ? this.#reads.addLocal(callback)
      : this.#reads.add(deadlineMs, callback);
    if (isTaken) {
      this.#loop.schedule();
      return;
    }
    const error = new RosettaError('OVERLOADED', 'too many reads are waiting; retry in a moment');
    this.#parts.clock.afterPoll(() => callback(error, null));
  }

  onMessage(from: NodeId, message: PeerMessage): void {
    if (this.#isStopped) return;
    switch (message.type) {
      case 'forward':
        this.proposer.handleForward(from, message);
        return;
      case 'forward-response':
        this.proposer.handleForwardResponse(from, message);
        return;
      case 'state-hash':
        this.#hashes.note(from, message, this.raft.membership.voters);
        return;
      default:
        if (this.#hasLeft) return;
        this.raft.step(message);
        this.#noteMembership();
        this.#loop.scheduleIfReady();
    }
  }

  onContact(from: NodeId): void {
    this.raft.noteContact(from);
  }

  /** A connection with `id` has come up, in either direction. */
  onReachable(id: NodeId): void {
    this.raft.reportReachable(id);
    this.#loop.scheduleIfReady();
  }

  onPeerUp(id: NodeId): void {
    this.raft.reportReachable(id);
    this.proposer.routeWaiting();
    this.#loop.schedule();
  }

  onPeerDown(id: NodeId): void {
    this.proposer.onPeerDown(id);
    this.raft.reportUnreachable(id);
    this.#loop.schedule();
  }

  /** Gives leadership to the member whose log is closest; false when there is nobody to take it. */
  handOver(): boolean {
    const hasBegun = handOver(this.raft, this.#parts.transport);
    if (hasBegun) this.#loop.schedule();
    return hasBegun;
  }

  /** Stops all activity and answers everybody who waits; the log is closed by the caller. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#loop.stop();
    this.checkpointer.stop();
    this.snapshotter.stop();
    this.proposer.failAll();
    this.#reads.failAll(new RosettaError('STOPPING', 'the node is stopping; ask another one'));
  }

  /**
   * One tick a turn, and after the sockets of that turn have been read: after a stall the heartbeat
   * that waits in the socket is seen before the timer is believed.
   */
  #armTimer(): void {
    this.#timer = this.#parts.clock.setTimer(tickMs, () => {
      this.#parts.clock.afterPoll(() => {
        if (this.#isStopped) return;
        this.#armTimer();
        this.#tick();
      });
    });
  }

  #tick(): void {
    this.#tickCount++;
    this.#noteMembership();
    const failure = this.#parts.log.store.failure();
    if (failure !== null) this.#parts.fail(failure);
    if (this.#disk.isStuck()) {
      // A leader that cannot write must not keep others from electing one that can.
      if (this.raft.role === 'leader') this.raft.stepDown();
    } else if (!this.#hasLeft || this.raft.role === 'leader') {
      this.raft.tick({mayCampaign: !this.isDiverged});
    }
    // A checkpoint holds whole commands.
    this.#applier.betweenCommands(() => {
      if (!this.snapshotter.isInstalling()) this.checkpointer.maybeStart();
    });
    this.#history.tick();
    this.#leases.tick();
    if (this.#tickCount % sweepTicks === 0) this.#sweep();
    if (this.raft.hasReady() || this.#applier.hasWork) this.#loop.schedule();
  }

  #noteMembership(): void {
    const {membership} = this.raft;
    if (membership === this.#membership) return;
    this.#membership = membership;
    this.#parts.onMembership();
  }

  #sweep(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.proposer.expire(nowMs);
    this.proposer.routeWaiting();
    this.#reads.expire(nowMs);
    if (this.#reads.count > 0) this.#loop.schedule();
    if (this.raft.role !== 'leader') return;
    if (this.isDiverged) this.handOver();
    else this.#disk.leaveFullDisk();
  }

  #onApplied(entry: Entry, result: CommandResult | null): void {
    this.proposer.table.settle(entry, result);
    if (entry.type === 'membership') this.#parts.onMembership();
    if (entry.index % stateHashInterval !== 0) return;
    const {machine, transport} = this.#parts;
    const report = {index: entry.index, hash: machine.stateHash()};
    this.#hashes.report(report, this.raft.membership.voters, transport);
  }

  #onSoftState(softState: SoftState): void {
    const before = this.#softState;
    this.#softState = softState;
    if (!tellLeadership({before, after: softState}, this.#parts)) return;
    this.#reads.onLeaderChange();
    this.proposer.routeWaiting();
    this.#parts.onMembership();
  }

  /** The checkpoint is the snapshot's: everything above it follows in this turn. */
  #onInstalled(meta: SnapshotMeta, hardState: HardState): void {
    const {state, machine, log, logger, observer} = this.#parts;
    state.resetToCheckpoint();
    machine.reload();
    log.store.reset(meta, hardState);
    this.#applier.reset(meta);
    this.proposer.table.settleUpTo(meta.index);
    this.#history.reset();
    this.#parts.onMembership();
    observer.onSnapshotInstalled();
    logger.info({index: meta.index}, 'snapshot installed');
  }
}

/** A replica that is this close to the commit index counts as having caught up. */
const lag = 1_000;
