/** What a node is made of: its place in the cluster, its stores, connections and options. */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Member} from '../raft/membership.ts';
import type {CheckpointStore} from '../storage/checkpoint-store.ts';
import type {StartHistory} from '../storage/start-history.ts';
import type {StateStore} from '../storage/state-store.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {LocalIdentity, LogPosition, Transport} from '../transport/transport.ts';
import type {FormationPeer} from './formation-messages.ts';
import type {IdentityRecord} from './identity-record.ts';
import type {JoinPlace} from './newcomer.ts';
import type {NodeOptions} from './node-options.ts';
import type {NodeObserver} from './observer.ts';
import type {SeenStarts} from './older-copies.ts';

export interface NodeParts {
  readonly self: Member;
  readonly starts: StartHistory;
  readonly record: IdentityRecord;
  readonly peers: readonly FormationPeer[];
  /** How a new directory comes into a running cluster; null: it does not, `peers` form one. */
  readonly join: JoinPlace | null;
  readonly transport: Transport;
  readonly state: StateStore;
  readonly machine: KvStateMachine;
  readonly checkpoint: CheckpointStore;
  /** Opens or creates the log of a directory whose identity is known. Throws StorageError. */
  readonly openLog: (record: IdentityRecord) => OpenedLog;
  readonly saveIdentity: (record: IdentityRecord) => void;
  readonly seenStarts: SeenStarts;
  /** A peer says why this directory is an older copy; no later start may forget it. Durable. */
  readonly noteStale: (detail: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: NodeOptions;
  readonly observer: NodeObserver;
  readonly drawClusterId: () => string;
  readonly seed: number;
  readonly onFatal: (error: Error) => void;
  /** The cluster has removed this member: it should stop, in order. Called at most once. */
  readonly onRemoved: (error: Error) => void;
}

/** As the members' handshakes are to carry it from now on. */
export function localIdentity(
  {self, starts}: NodeParts,
  {clusterId, stage}: IdentityRecord,
  log: () => LogPosition | null,
): LocalIdentity {
  const {id, incarnation, listen, http} = self;
  return {
    clusterId: stage === 'fresh' ? null : clusterId,
    id,
    incarnation,
    starts,
    listen,
    http,
    get log() {
      return log();
    },
  };
}
