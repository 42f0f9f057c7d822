/** A leader must not keep others from electing one whose disk works: when it is to make room. */
import type {Clock} from '../base/clock.ts';
import type {LogStore} from '../storage/log-store.ts';

/** A disk that has not answered for so many election timeouts is stuck. */
const stuckElectionTimeouts = 8;

/** A leader without space hands over once in so long. */
const handOverIntervalMs = 10_000;

export interface DiskWatchParts {
  readonly log: {readonly store: LogStore};
  readonly clock: Clock;
  readonly options: {readonly electionTimeoutMs: number};
}

export interface WatchedReplica {
  readonly checkpointer: {
    /** Nothing more can be applied until the disk takes a checkpoint. */
    isStorageFull(): boolean;
  };
  /** False: there is nobody to take its place. */
  handOver(): boolean;
}

export class DiskWatch {
  readonly #parts: DiskWatchParts;
  readonly #replica: WatchedReplica;
  #lastHandOverMs = -Infinity;

  constructor(parts: DiskWatchParts, replica: WatchedReplica) {
    this.#parts = parts;
    this.#replica = replica;
  }

  isStuck(): boolean {
    const {log, options} = this.#parts;
    // A full disk answers: it refuses writes, and its node goes on with reads.
    if (log.store.isFull()) return false;
    return log.store.pendingForMs() > stuckElectionTimeouts * options.electionTimeoutMs;
  }

  /** On a leader. Not again and again: when all disks are full, leadership would never rest. */
  leaveFullDisk(): void {
    const {log, clock} = this.#parts;
    const replica = this.#replica;
    // The log may go on in segments that it has, while writes are refused for the checkpoint alone.
    if (!log.store.isFull() && !replica.checkpointer.isStorageFull()) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lastHandOverMs < handOverIntervalMs) return;
    if (replica.handOver()) this.#lastHandOverMs = nowMs;
  }
}
