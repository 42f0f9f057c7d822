/** The node's options, in milliseconds, and the limits of the house as the protocol wants them. */
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import type {RaftOptions} from '../raft/options.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {NodeOptions} from './node-options.ts';
import {tickMs} from './node-options.ts';

export function raftOptions(
  parts: {
    readonly id: NodeId;
    readonly incarnation: string;
    readonly log: OpenedLog;
    readonly options: NodeOptions;
    readonly seed: number;
  },
  appliedIndex: LogIndex,
): RaftOptions {
  const {electionTimeoutMs, heartbeatMs} = parts.options;
  return {
    id: parts.id,
    incarnation: parts.incarnation,
    electionTimeoutTicks: Math.max(2, Math.round(electionTimeoutMs / tickMs)),
    heartbeatIntervalTicks: Math.max(1, Math.round(heartbeatMs / tickMs)),
    appendSizeBytesMax: limits.appendSizeBytesMax,
    inflightSizeBytesMax: limits.inflightSizeBytesMax,
    inflightCountMax: limits.inflightCountMax,
    uncommittedSizeBytesMax: limits.uncommittedSizeBytesMax,
    committedSizeBytesMax: limits.committedSizeBytesMax,
    prng: new Prng(parts.seed),
    log: parts.log.store,
    hardState: parts.log.hardState,
    memberships: parts.log.memberships,
    appliedIndex,
  };
}
