/**
 * Who this data directory is, as kept in its identity file. The incarnation is drawn once; the
 * cluster id is written once. Stages only move forward.
 */
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';

export interface IdentityRecord {
  readonly nodeId: NodeId;
  readonly incarnation: string;
  /** Null while fresh. */
  readonly clusterId: string | null;
  /**
   * `founded`: the first entry of the log is (to be) written from `members`. `adopted`: an existing
   * cluster takes this node in; its log starts empty. `member`: the log exists and must not vanish.
   */
  readonly stage: 'fresh' | 'founded' | 'adopted' | 'member';
  /** Those it was founded or adopted with; whom to greet before the log says more. */
  readonly members: readonly Member[];
  /** While fresh, after `-rejoin`: the cluster of the directory whose place it takes. */
  readonly formerClusterId?: string;
  /**
   * How the state here was found to differ from the majority's: it must not be served, after a
   * restart neither. Absent: it was not.
   */
  readonly divergence?: string;
}
