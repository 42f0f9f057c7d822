/** What a node says of itself and of the others, for GET /status and GET /cluster/members. */
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Member} from '../raft/membership.ts';
import {isLearner, isVoter} from '../raft/membership.ts';
import type {Raft} from '../raft/raft.ts';
import type {StateStore} from '../storage/state-store.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';
import type {PeerCounters, Transport} from '../transport/transport.ts';
import type {IdentityRecord} from './identity-record.ts';
import type {Replica} from './replica.ts';
import type {LeaderStatus, MemberStatus, NodeStatus} from './service.ts';

export function nodeStatus(parts: {
  readonly self: Member;
  readonly record: IdentityRecord;
  readonly replica: Replica | null;
  readonly log: OpenedLog | null;
  readonly machine: KvStateMachine;
  readonly state: StateStore;
  readonly version: string;
  readonly uptimeMs: number;
  readonly isReady: boolean;
}): NodeStatus {
  const {self, record, replica, log, machine, state} = parts;
  const size = log?.store.size() ?? {entryCount: 0, sizeBytes: 0};
  return {
    id: self.id,
    clusterId: record.clusterId,
    version: parts.version,
    state: replica === null ? 'follower' : roleOf(replica.raft),
    term: replica?.raft.term ?? 0,
    leader: replica?.raft.leaderId ?? null,
    ready: parts.isReady,
    commitIndex: replica?.raft.commitIndex ?? 0,
    appliedIndex: replica?.applied.index ?? state.checkpointMeta().index,
    lastLogIndex: replica?.raft.lastIndex ?? 0,
    log: {entries: size.entryCount, bytes: size.sizeBytes},
    revision: machine.revision(),
    compactedRevision: machine.compactedRevision(),
    keys: machine.keyCount(),
    checkpointIndex: state.checkpointMeta().index,
    uptimeSeconds: Math.round(parts.uptimeMs / 100) / 10,
    stateHash: machine.stateHash(),
    diverged: replica?.isDiverged ?? false,
  };
}

function roleOf(raft: Raft): NodeStatus['state'] {
  if (raft.role === 'leader') return 'leader';
  if (raft.role === 'candidate' || raft.role === 'pre-candidate') return 'candidate';
  const {membership, id} = raft;
  return isLearner(membership, id) && !isVoter(membership, id) ? 'learner' : 'follower';
}

/** Entries proposed here and applied here since the start. */
export function nodeCounts(replica: Replica | null): {
  readonly proposed: number;
  readonly applied: number;
} {
  return {proposed: replica?.proposer.proposedCount ?? 0, applied: replica?.appliedCount ?? 0};
}

/** The connections with the other members. */
export function nodePeers(
  raft: Raft | null,
  transport: Transport,
): readonly (PeerCounters & {readonly id: string})[] {
  if (raft === null) return [];
  return raft.membership.members
    .filter(member => member.id !== raft.id)
    .map(member => ({id: member.id, ...transport.peer(member.id)}));
}

export function leaderStatus(raft: Raft): LeaderStatus | null {
  const {leaderId, membership, term} = raft;
  const member = membership.members.find(row => row.id === leaderId);
  if (leaderId === null || member === undefined) return null;
  return {id: leaderId, listen: member.listen, http: member.http, term};
}

export function nodeMembers(raft: Raft, transport: Transport): MemberStatus[] {
  const {membership} = raft;
  return membership.members
    .filter(member => isVoter(membership, member.id) || isLearner(membership, member.id))
    .map(member => ({
      id: member.id,
      listen: member.listen,
      http: member.http,
      role: isVoter(membership, member.id) ? ('voter' as const) : ('learner' as const),
      ...memberState(raft, transport, member),
    }));
}

/** Only the leader knows who is alive and how far; others know their leader and their wires. */
function memberState(
  raft: Raft,
  transport: Transport,
  member: Member,
): Pick<MemberStatus, 'state' | 'matchIndex'> {
  const isLeader = raft.role === 'leader';
  if (member.id === raft.id) {
    return {state: isLeader ? 'leader' : 'follower', matchIndex: raft.lastIndex};
  }
  if (isLeader) {
    const progress = raft.progress(member.id);
    const isAlive = progress?.isActive === true && transport.peer(member.id).isConnected;
    return {
      state: isAlive ? 'follower' : 'unreachable',
      matchIndex: progress?.matchIndex ?? null,
    };
  }
  if (!transport.peer(member.id).isConnected) return {state: 'unreachable', matchIndex: null};
  return {state: member.id === raft.leaderId ? 'leader' : 'unknown', matchIndex: null};
}
