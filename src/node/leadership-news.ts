/** What the log and the metrics are told when role, term or leader change. */
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {SoftState} from '../raft/ready.ts';
import type {NodeObserver} from './observer.ts';

/** False: neither leader nor term has changed. */
export function tellLeadership(
  change: {readonly before: SoftState; readonly after: SoftState},
  listeners: {readonly id: NodeId; readonly logger: Logger; readonly observer: NodeObserver},
): boolean {
  const {before, after} = change;
  const {id, logger, observer} = listeners;
  const {role, leaderId, term} = after;
  if (role === 'pre-candidate' && before.role !== role) observer.onElectionStarted();
  if (leaderId === before.leaderId && term === before.term) return false;
  if (leaderId !== null) {
    logger.info({leader: leaderId, term}, leaderId === id ? 'leading' : 'following');
  } else if (before.leaderId !== null) {
    logger.info({term}, `lost the leader ${before.leaderId}`);
  }
  if (leaderId !== before.leaderId) observer.onLeaderChange();
  return true;
}
