/** What a snapshot replaces: the log up to and including `index`. */
import type {LogIndex, Term} from './ids.ts';
import type {Membership} from './membership.ts';

export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  /** In force at `index`. */
  readonly membership: Membership;
}
