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

export class DiskWatch {
  readonly #parts: DiskWatchParts;
  readonly #handOver: () => boolean;
  #lastHandOverMs = -Infinity;

  constructor(parts: DiskWatchParts, handOver: () => boolean) {
    this.#parts = parts;
    this.#handOver = handOver;
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
    if (!log.store.isFull()) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lastHandOverMs < handOverIntervalMs) return;
    if (this.#handOver()) this.#lastHandOverMs = nowMs;
  }
}
