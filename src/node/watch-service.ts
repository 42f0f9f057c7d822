/**
 * Watches as the front doors see them. A watch tells every change of the keys it asks for, from a
 * revision on: in order, each once, none left out, those of one revision together.
 */
import type {RosettaError} from '../base/errors.ts';
import type {KeyRange} from '../kv/command.ts';
import type {WatchRun} from './watch-run.ts';

export interface WatchRequest {
  readonly range: KeyRange;
  /** The first revision to tell of, which may lie ahead; 0: the next one. */
  readonly from: number;
  readonly wantsPrevious: boolean;
}

/** Who is told. Never called inside `open`. */
export interface WatchSink {
  /** Nothing else is told between two runs of a revision, but it may end between them. */
  onRun(run: WatchRun): void;
  /**
   * What it was told may be kept until here, and leaves now. Called soon behind `onRun`, once for
   * all runs that were told meanwhile.
   */
  flush(): void;
  /** Everything up to and including `revision` has been told. */
  onProgress(revision: number): void;
  /**
   * The last call. A new watch from `resumeFrom` goes on without a gap: a revision that was told
   * in part is told again as a whole.
   */
  onEnd(error: RosettaError, resumeFrom: number): void;
  /** Asked behind each `onRun` and `flush`. True: nothing is told until `resume`. */
  isFull(): boolean;
}

export interface Watch {
  /** Of the state at the beginning. */
  readonly revision: number;
  /** The first revision that will be told. */
  readonly from: number;
  /** After `isFull`: there is room again. */
  resume(): void;
  /** Nobody listens any more. Any number of times. */
  close(): void;
}

export interface WatchService {
  /**
   * On any node, from its own state. Throws RosettaError REVISION_COMPACTED, OVERLOADED (too many
   * watches), or what ended all of them.
   */
  open(request: WatchRequest, sink: WatchSink): Watch;
}
