/** What a log is continued from: the files as recovery left them, and what they say. */
import type {Clock} from '../base/clock.ts';
import type {EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {Disk} from './disk.ts';
import type {ContentsCollector} from './segment-contents.ts';
import type {WalOptions} from './wal-options.ts';
import type {WalIdentity, WalSegment} from './wal-segment.ts';

export interface WalStart {
  readonly disk: Disk;
  readonly directory: string;
  readonly clock: Clock;
  readonly options: WalOptions;
  readonly identity: WalIdentity;
  /** Written and synced, oldest first; the last one is continued. */
  readonly segments: readonly WalSegment[];
  readonly prepared: readonly WalSegment[];
  readonly hardState: HardState;
  readonly last: EntryId;
  /** In force at the start of the log, then every later membership entry. */
  readonly memberships: readonly MembershipRecord[];
  /** Of the last segment. */
  readonly contents: ContentsCollector;
  /** A sync that writes waited for has ended. */
  readonly onSync: (durationMs: number) => void;
  /** A batch with entries begins at this place. */
  readonly onBatch: (batch: {
    readonly firstIndex: LogIndex;
    /** Last index of the batches before; not below firstIndex: this one supersedes. */
    readonly lastIndex: LogIndex;
    readonly segment: WalSegment;
    readonly offset: number;
  }) => void;
}
