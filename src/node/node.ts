/**
 * One member, from its first start to its stop: forms or joins its cluster, then runs a replica,
 * and is the Service that the front doors speak to all along.
 */
import {must} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {isRemoved} from '../raft/membership.ts';
import {isFailedSync, isOutOfSpace} from '../storage/storage-error.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {LocalIdentity, LogPosition, PeerCounters} from '../transport/transport.ts';
import {Backups} from './backups.ts';
import {CheckpointRepair, repairAddresses} from './checkpoint-repair.ts';
import {writeFirstEntry} from './first-entry.ts';
import type {IdentityRecord} from './identity-record.ts';
import {MembershipKeeper} from './membership-keeper.ts';
import {removedRefusal} from './membership-rules.ts';
import type {Newcomer} from './newcomer.ts';
import {createNewcomer} from './newcomer.ts';
import type {NodeParts} from './node-parts.ts';
import {localIdentity} from './node-parts.ts';
import {leaderStatus, nodeCounts, nodeMembers, nodePeers, nodeStatus} from './node-status.ts';
import {PeerAddresses} from './peer-addresses.ts';
import {PeerGate} from './peer-gate.ts';
import {peerRows} from './peer-rows.ts';
import type {NodePhase} from './readiness.ts';
import {whyNotReady, whyRefused} from './readiness.ts';
import {Replica} from './replica.ts';
import type {
  BackupCallback,
  ClusterChange,
  ClusterChangeCallback,
  LeaderStatus,
  MemberStatus,
  NodeStatus,
  ProposeCallback,
  ReadCallback,
  ReadOptions,
  Service,
} from './service.ts';

export class Node implements Service {
  readonly #parts: NodeParts;
  readonly #startedAtMs: number;
  readonly #gate: PeerGate;
  readonly #addresses: PeerAddresses;
  readonly #backups: Backups;
  #record: IdentityRecord;
  #newcomer: Newcomer | null = null;
  #log: OpenedLog | null = null;
  #repair: CheckpointRepair | null = null;
  #replica: Replica | null = null;
  #keeper: MembershipKeeper | null = null;
  #isStopping = false;
  #hasLeft = false;
  #hasFailed = false;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#record = parts.record;
    this.#startedAtMs = parts.clock.monotonicMs();
    this.#gate = new PeerGate({
      self: parts.self,
      node: parts,
      newcomer: () => this.#newcomer,
      replica: () => this.#replica,
      keeper: () => this.#keeper,
      repair: () => this.#repair,
      record: () => this.#record,
      loggedMembers: () => this.#log?.memberships.at(-1)?.membership.members ?? [],
      peers: parts.peers,
      fail: error => this.#fail(error),
      onAddresses: () => this.#setPeers(),
      onRemoved: detail => this.#leave(detail),
    });
    this.#addresses = new PeerAddresses({
      ...parts,
      advertised: member => this.#gate.advertised(member),
      onTurn: () => this.#setPeers(),
    });
    this.#backups = new Backups(parts, () => this.#record.clusterId ?? '');
  }

  /** Listens on the Raft address; the callback reports whether that worked. */
  start(callback: (error: Error | null) => void): void {
    const {transport} = this.#parts;
    transport.setIdentity(this.#identity());
    transport.start(this.#gate, error => {
      if (error === null) this.#begin();
      callback(error);
    });
  }

  propose(
    command: Uint8Array,
    options: {readonly timeoutMs: number},
    callback: ProposeCallback,
  ): void {
    const replica = this.#serving(error => callback(error, null));
    replica?.proposer.propose(command, options.timeoutMs, callback);
  }

  read(options: ReadOptions, callback: ReadCallback): void {
    const replica = this.#serving(error => callback(error, null));
    replica?.read(options.timeoutMs, options.consistency === 'local', callback);
  }

  backup(options: ReadOptions, callback: BackupCallback): void {
    const replica = this.#serving(error => callback(error, null));
    if (replica !== null) this.#backups.begin(replica, options, callback);
  }

  changeCluster(
    change: ClusterChange,
    options: {readonly timeoutMs: number},
    callback: ClusterChangeCallback,
  ): void {
    if (this.#serving(callback) === null) return;
    const {changer} = must(this.#keeper, 'a replica has a keeper');
    changer.change(change, options.timeoutMs, callback);
  }

  notReady(): RosettaError | null {
    return whyNotReady(this.#phase());
  }

  status(): NodeStatus {
    return nodeStatus({
      self: this.#parts.self,
      record: this.#record,
      replica: this.#replica,
      log: this.#log,
      machine: this.#parts.machine,
      state: this.#parts.state,
      version: this.#parts.options.version,
      uptimeMs: this.#parts.clock.monotonicMs() - this.#startedAtMs,
      isReady: this.notReady() === null,
    });
  }

  leader(): LeaderStatus | null {
    return this.#replica === null ? null : leaderStatus(this.#replica.raft);
  }

  members(): readonly MemberStatus[] {
    if (this.#replica === null) return [];
    const members = nodeMembers(this.#replica.raft, this.#parts.transport);
    return this.#hasLeft ? members.filter(({id}) => id !== this.#parts.self.id) : members;
  }

  /** Entries proposed here and applied here since the start, for the metrics. */
  counts(): {readonly proposed: number; readonly applied: number} {
    return nodeCounts(this.#replica);
  }

  /** The connections with the other members. */
  peers(): readonly (PeerCounters & {readonly id: string})[] {
    return nodePeers(this.#replica?.raft ?? null, this.#parts.transport);
  }

  walPendingSizeBytes(): number {
    return this.#log?.store.pendingSizeBytes() ?? 0;
  }

  /** New requests are refused from here on; leadership goes to somebody else. */
  beginStop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#newcomer?.stop();
    this.#repair?.stop();
    this.#keeper?.stop();
    this.#replica?.handOver();
  }

  /**
   * Whether nobody waits for an answer any more and no transfer of leadership is under way. A
   * transfer gives up by itself after an election timeout.
   */
  isQuiet(): boolean {
    const replica = this.#replica;
    return replica === null || !(replica.raft.isTransferring() || replica.proposer.hasPending());
  }

  /** Ends everything: connections, log, checkpoint. After `beginStop`. */
  stop(callback: () => void): void {
    this.#isStopping = true;
    this.#addresses.stop();
    this.#replica?.stop();
    this.#keeper?.failAll();
    const {transport, checkpoint} = this.#parts;
    const closeCheckpoint = (): void => {
      if (this.#replica === null) checkpoint.close(callback);
      else this.#replica.checkpointer.whenIdle(() => checkpoint.close(callback));
    };
    transport.stop(() => {
      if (this.#log === null) closeCheckpoint();
      else this.#log.store.close(closeCheckpoint);
    });
  }

  #begin(): void {
    const {record} = this.#parts;
    if (record.stage === 'member' || record.stage === 'adopted') {
      this.#run(record);
      return;
    }
    this.#newcomer = createNewcomer(this.#parts, record, {
      save: changed => this.#save(changed),
      writeFirstEntry: (founded, callback) => this.#writeFirstEntry(founded, callback),
      onMember: formed => this.#run(formed),
      onFatal: error => this.#fail(error),
      onRemoved: detail => this.#leave(detail),
    });
    this.#newcomer.start();
  }

  #save(record: IdentityRecord): void {
    this.#record = record;
    this.#parts.saveIdentity(record);
    this.#parts.transport.setIdentity(this.#identity());
  }

  #identity(): LocalIdentity {
    return localIdentity(this.#parts, this.#record, () => this.#logPosition());
  }

  /** Also while a lost checkpoint is being fetched: the log is what it was when it was opened. */
  #logPosition(): LogPosition | null {
    const raft = this.#replica?.raft;
    if (raft !== undefined) return {term: raft.term, lastIndex: raft.lastIndex};
    const log = this.#log;
    return log && {term: log.hardState.term, lastIndex: log.store.lastIndex()};
  }

  #writeFirstEntry(record: IdentityRecord, callback: () => void): void {
    const opened = this.#parts.openLog(record);
    this.#log = opened;
    if (opened.store.lastIndex() >= 1) {
      this.#parts.clock.afterPoll(callback);
      return;
    }
    writeFirstEntry(opened, record.members, (error, written) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      this.#log = written;
      callback();
    });
  }

  #run(record: IdentityRecord): void {
    if (this.#isStopping || this.#hasFailed) return;
    const {self} = this.#parts;
    this.#newcomer = null;
    try {
      this.#log ??= this.#parts.openLog(record);
      if (record.stage !== 'member') this.#save({...record, stage: 'member'});
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (this.#log.needsSnapshot) {
      this.#startRepair(record, this.#log);
      return;
    }
    const replica = new Replica({
      ...this.#parts,
      id: self.id,
      incarnation: self.incarnation,
      log: this.#log,
      startCount: this.#parts.starts.count,
      divergence: record.divergence ?? null,
      onDiverged: divergence => this.#save({...this.#record, divergence}),
      onMembership: () => this.#onMembership(),
      fail: error => this.#fail(error),
    });
    this.#replica = replica;
    this.#keeper = this.#createKeeper(replica);
    this.#keeper.start();
    replica.start();
  }

  /** The log begins behind the checkpoint: see checkpoint-repair.ts. */
  #startRepair(record: IdentityRecord, log: OpenedLog): void {
    const {self, peers, checkpoint, state, machine, transport, clock, logger} = this.#parts;
    const last = log.memberships.at(-1)?.membership.members ?? [];
    const addresses = repairAddresses(self, peers, [...record.members, ...last]);
    if (addresses.length === 0) {
      const detail =
        'the checkpoint is lost and the log does not reach back to the first entry; ' +
        'restore this single node from a backup';
      this.#fail(new RosettaError('INVALID_REQUEST', detail));
      return;
    }
    transport.setPeers(last.length > 0 ? last : record.members);
    this.#repair = new CheckpointRepair({
      self,
      clusterId: must(record.clusterId, 'a member has a cluster id'),
      addresses,
      indexMin: log.store.firstIndex() - 1,
      transport,
      checkpoint,
      clock,
      logger,
      fail: error => this.#fail(error),
      onRepaired: () => {
        this.#repair = null;
        state.resetToCheckpoint();
        machine.reload();
        // Opened again, so that log and checkpoint are checked against each other. Who stops
        // meanwhile must not close it a second time.
        this.#log = null;
        log.store.close(() => {
          this.#run({...record, stage: 'member'});
        });
      },
    });
    this.#repair.start();
  }

  #createKeeper(replica: Replica): MembershipKeeper {
    const {self, peers, join, transport, clock, logger, options} = this.#parts;
    return new MembershipKeeper({
      self,
      contacts: join?.contacts ?? [],
      clusterId: must(this.#record.clusterId, 'a member has a cluster id'),
      peers,
      replica,
      transport,
      clock,
      logger,
      electionTimeoutMs: options.electionTimeoutMs,
      advertised: member => this.#gate.advertised(member),
      onFarewellOver: () => this.#setPeers(),
    });
  }

  /** Another one is in force, or the one in force is committed. */
  #onMembership(): void {
    const replica = this.#replica;
    if (replica === null) return;
    this.#gate.onMembership();
    const {committedMembership} = replica.raft;
    this.#keeper?.farewell.note(committedMembership);
    this.#setPeers();
    const {id, incarnation} = this.#parts.self;
    if (isRemoved(committedMembership, incarnation)) this.#leave(removedRefusal(id).detail);
  }

  #setPeers(): void {
    const replica = this.#replica;
    if (replica === null) return;
    const {members} = replica.raft.membership;
    const sources = {
      guests: this.#gate.guests(),
      members: members.length > 0 ? members : this.#record.members,
      committed: replica.raft.committedMembership.members,
      leaving: this.#keeper?.farewell.members ?? [],
    };
    this.#parts.transport.setPeers(peerRows(sources, this.#addresses));
  }

  #leave(detail: string): void {
    if (this.#hasLeft || this.#isStopping || this.#hasFailed) return;
    this.#hasLeft = true;
    this.#replica?.leave();
    this.#keeper?.changer.onRemoved();
    this.#parts.onRemoved(new RosettaError('STOPPING', detail));
  }

  #serving(refuse: (error: RosettaError) => void): Replica | null {
    const replica = this.#replica;
    const error = whyRefused(this.#phase());
    if (error === null) return replica;
    this.#parts.clock.afterPoll(() => refuse(error));
    return null;
  }

  #phase(): NodePhase {
    return {
      replica: this.#replica,
      waitsFor: this.#newcomer?.aim ?? null,
      isLeaving: this.#isStopping || this.#hasFailed || this.#hasLeft,
    };
  }

  #fail(error: Error): void {
    if (this.#hasFailed) return;
    // What waited for space was promised to nobody, and a stop waits for no space.
    if (this.#isStopping && isOutOfSpace(error) && !isFailedSync(error)) return;
    this.#hasFailed = true;
    this.#newcomer?.stop();
    this.#keeper?.stop();
    this.#replica?.stop();
    this.#parts.onFatal(error);
  }
}
