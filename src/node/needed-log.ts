/**
 * What a leader keeps of its log, beyond the usual, for members that are on their way: those that
 * are being sent a snapshot, from its index on, or they would be behind again when it has arrived;
 * and those that are connected and behind. Who is down gets a snapshot when it comes back.
 */
import type {LogIndex} from '../raft/ids.ts';
import {minIndex} from '../raft/ids.ts';
import type {Raft} from '../raft/raft.ts';
import type {Transport} from '../transport/transport.ts';
import type {Snapshotter} from './snapshotter.ts';

/** The last entry that they all hold or are sent in a snapshot; null: nobody is on the way. */
export function neededAfter(parts: {
  readonly raft: Pick<Raft, 'membership' | 'progress'>;
  readonly transport: Pick<Transport, 'peer'>;
  readonly snapshotter: Pick<Snapshotter, 'oldestCopyIndex'>;
}): LogIndex | null {
  const {raft, transport, snapshotter} = parts;
  let needed = snapshotter.oldestCopyIndex();
  for (const {id} of raft.membership.members) {
    const progress = raft.progress(id);
    // A snapshot takes it past whatever it needs now.
    if (progress === undefined || progress.state === 'snapshot') continue;
    if (!transport.peer(id).isConnected) continue;
    needed = needed === null ? progress.matchIndex : minIndex(needed, progress.matchIndex);
  }
  return needed;
}
