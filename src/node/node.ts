/**
 * One member, from its first start to its stop: forms or joins its cluster, then runs a replica,
 * and is the Service that the front doors speak to all along.
 */
import {must} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {isFailedSync, isOutOfSpace} from '../storage/storage-error.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {LocalIdentity, PeerCounters} from '../transport/transport.ts';
import {Backups} from './backups.ts';
import {CheckpointRepair, repairAddresses} from './checkpoint-repair.ts';
import {ClusterGrower} from './cluster-grower.ts';
import {writeFirstEntry} from './first-entry.ts';
import {Formation} from './formation.ts';
import type {IdentityRecord} from './identity-record.ts';
import type {NodeParts} from './node-parts.ts';
import {leaderStatus, nodeCounts, nodeMembers, nodePeers, nodeStatus} from './node-status.ts';
import {PeerGate} from './peer-gate.ts';
import {Replica} from './replica.ts';
import type {
  BackupCallback,
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
  readonly #backups: Backups;
  #record: IdentityRecord;
  #formation: Formation | null = null;
  #log: OpenedLog | null = null;
  #repair: CheckpointRepair | null = null;
  #replica: Replica | null = null;
  #grower: ClusterGrower | null = null;
  #isStopping = false;
  #hasFailed = false;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#record = parts.record;
    this.#startedAtMs = parts.clock.monotonicMs();
    this.#gate = new PeerGate({
      self: parts.self,
      logger: parts.logger,
      startCounts: parts.startCounts,
      formation: () => this.#formation,
      replica: () => this.#replica,
      repair: () => this.#repair,
      record: () => this.#record,
      loggedMembers: () => this.#log?.memberships.at(-1)?.membership.members ?? [],
      peers: parts.peers,
      fail: error => this.#fail(error),
      onAddresses: () => this.#setPeers(),
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

  notReady(): RosettaError | null {
    if (this.#isStopping) return stopping();
    const replica = this.#replica;
    if (replica === null) return this.#starting();
    if (replica.divergence !== null) {
      return new RosettaError('DIVERGED', `${replica.divergence}; ask another node`);
    }
    if (!replica.hasReplayed())
      return new RosettaError('STARTING', 'this node is replaying its log');
    if (replica.raft.leaderId === null) {
      return new RosettaError('NO_LEADER', 'this node knows no leader at the moment');
    }
    // Not STARTING: requests that wait for the leader's confirmation are served correctly already.
    if (replica.isCaughtUp()) return null;
    return new RosettaError('NO_LEADER', 'this node has not caught up with its leader yet');
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
    return nodeMembers(this.#replica.raft, this.#parts.transport);
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
    this.#formation?.stop();
    this.#repair?.stop();
    this.#grower?.stop();
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
    this.#replica?.stop();
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
    if (record.stage === 'member' || record.stage === 'adopted') this.#run(record);
    else this.#form(record);
  }

  #form(record: IdentityRecord): void {
    const {self, peers, transport, clock, logger, drawClusterId} = this.#parts;
    const formation = new Formation(
      {
        self,
        peers,
        transport,
        clock,
        logger,
        drawClusterId,
        save: changed => this.#save(changed),
        writeFirstEntry: (founded, callback) => this.#writeFirstEntry(founded, callback),
        onFormed: formed => this.#run(formed),
        onFatal: error => this.#fail(error),
      },
      record,
    );
    this.#formation = formation;
    formation.start();
  }

  #save(record: IdentityRecord): void {
    this.#record = record;
    this.#parts.saveIdentity(record);
    this.#parts.transport.setIdentity(this.#identity());
  }

  #identity(): LocalIdentity {
    const {self, startCount} = this.#parts;
    const {clusterId, stage} = this.#record;
    return {
      clusterId: stage === 'fresh' ? null : clusterId,
      id: self.id,
      incarnation: self.incarnation,
      startCount,
      listen: self.listen,
      http: self.http,
    };
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
    const {self, state, machine, checkpoint, transport, clock, logger} = this.#parts;
    this.#formation = null;
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
      id: self.id,
      log: this.#log,
      state,
      machine,
      checkpoint,
      transport,
      clock,
      logger,
      options: this.#parts.options,
      observer: this.#parts.observer,
      seed: this.#parts.seed,
      startCount: this.#parts.startCount,
      onMembership: () => this.#setPeers(),
      fail: error => this.#fail(error),
    });
    this.#replica = replica;
    this.#startGrower(replica);
    replica.start();
    this.#setPeers();
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

  #startGrower(replica: Replica): void {
    const {self, peers, transport, clock, logger} = this.#parts;
    const clusterId = must(this.#record.clusterId, 'a member has a cluster id');
    const grower = new ClusterGrower({
      raft: replica.raft,
      transport,
      clock,
      logger,
      clusterId,
      peers,
      hello: {
        type: 'hello',
        id: self.id,
        incarnation: self.incarnation,
        clusterId,
        listen: self.listen,
        http: self.http,
        ids: [self.id, ...peers.map(peer => peer.id)].sort(),
      },
      advertised: id => this.#gate.advertised(id),
      scheduleReady: () => replica.schedule(),
    });
    this.#grower = grower;
    const look = (): void => {
      if (this.#isStopping || this.#hasFailed) return;
      grower.tick();
      clock.setTimer(100, look);
    };
    look();
  }

  /** The members of the log, or, before it says anything, those the identity names. */
  #setPeers(): void {
    const replica = this.#replica;
    if (replica === null) return;
    const {members} = replica.raft.membership;
    const known = members.length > 0 ? members : this.#record.members;
    this.#parts.transport.setPeers(
      known.map(member => ({...member, ...this.#gate.advertised(member.id)})),
    );
  }

  #serving(refuse: (error: RosettaError) => void): Replica | null {
    const replica = this.#replica;
    const error = this.#refusal(replica);
    if (error === null) return replica;
    this.#parts.clock.afterPoll(() => refuse(error));
    return null;
  }

  #refusal(replica: Replica | null): RosettaError | null {
    if (this.#isStopping || this.#hasFailed) return stopping();
    if (replica === null) return this.#starting();
    if (replica.divergence === null) return null;
    return new RosettaError('DIVERGED', `${replica.divergence}; ask another node`);
  }

  #starting(): RosettaError {
    const detail =
      this.#formation === null
        ? 'the node is starting'
        : 'the first members of the cluster have not all met yet';
    return new RosettaError('STARTING', detail);
  }

  #fail(error: Error): void {
    if (this.#hasFailed) return;
    // What waited for space was promised to nobody, and a stop waits for no space.
    if (this.#isStopping && isOutOfSpace(error) && !isFailedSync(error)) return;
    this.#hasFailed = true;
    this.#formation?.stop();
    this.#replica?.stop();
    this.#parts.onFatal(error);
  }
}

function stopping(): RosettaError {
  return new RosettaError('STOPPING', 'the node is stopping; ask another one');
}
