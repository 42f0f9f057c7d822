/** Whom a leader that goes gives its place to (dissertation §3.10). */
import type {Raft} from '../raft/raft.ts';
import type {Transport} from '../transport/transport.ts';

/** To the voter whose log is closest; false when there is nobody to take it. */
export function handOver(raft: Raft, transport: Transport): boolean {
  if (raft.role !== 'leader') return false;
  const [best] = raft.membership.voters
    .filter(id => id !== raft.id && transport.peer(id).isConnected)
    .map(id => ({id, matchIndex: raft.progress(id)?.matchIndex ?? 0}))
    .sort((a, b) => b.matchIndex - a.matchIndex);
  return best !== undefined && raft.transferLeadership(best.id);
}
