/**
 * Decides when the checkpoint's file gives its free space back: when more than half of a large file
 * is free, and no more often than it pays. Afterwards the file has to double before it is half free
 * again, so all copies together cost no more than the writes did.
 *
 * A checkpoint written during the copy makes it worthless, so checkpoints wait for it; but only as
 * long as the overlay has room, for apply must never wait for a copy, and the log does not grow too
 * large: entries that change no rows are in the log alone.
 */
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import {isSparse} from '../storage/checkpoint-space.ts';
import type {LogStore} from '../storage/log-store.ts';
import type {StateStore} from '../storage/state-store.ts';

export interface CheckpointShrinkerParts {
  readonly state: StateStore;
  readonly log: Pick<LogStore, 'size'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class CheckpointShrinker {
  readonly #parts: CheckpointShrinkerParts;
  #isRunning = false;
  #startedAtMs = 0;
  #logSizeBytesBefore = 0;
  #notBeforeMs = 0;
  #intervalMs: number = limits.shrinkIntervalMsMin;
  /** There may be more free space than at the last look. */
  #mayBeSparse = true;
  #hasWarned = false;

  constructor(parts: CheckpointShrinkerParts) {
    this.#parts = parts;
  }

  /** A checkpoint has been written. */
  noteCheckpoint(): void {
    this.#mayBeSparse = true;
  }

  /** A checkpoint that is not urgent had better wait. */
  isHoldingBack(): boolean {
    if (!this.#isRunning || !this.#hasRoom()) return false;
    const logGrowthBytes = this.#parts.log.size().sizeBytes - this.#logSizeBytesBefore;
    if (logGrowthBytes >= limits.shrinkLogSizeBytesMax) return false;
    return this.#parts.clock.monotonicMs() - this.#startedAtMs < limits.shrinkDurationMsMax;
  }

  /** Starts a copy when it is time for one; no checkpoint is being written. Cheap. */
  maybeStart(): void {
    if (!this.#mayBeSparse || this.#isRunning) return;
    const {state, clock} = this.#parts;
    // A full overlay would not wait for the end of it; after the next checkpoint there is time.
    if (clock.monotonicMs() < this.#notBeforeMs || !this.#hasRoom()) return;
    this.#mayBeSparse = false;
    if (isSparse(state.checkpointSpace())) this.#start();
  }

  #hasRoom(): boolean {
    return this.#parts.state.totalSizeBytes() < limits.shrinkOverlaySizeBytesMax;
  }

  #start(): void {
    const {state, log, clock, logger} = this.#parts;
    this.#isRunning = true;
    this.#startedAtMs = clock.monotonicMs();
    this.#logSizeBytesBefore = log.size().sizeBytes;
    const {sizeBytes} = state.checkpointSpace();
    state.shrinkCheckpoint((error, hasShrunk) => {
      this.#isRunning = false;
      this.#wait(hasShrunk);
      if (hasShrunk) {
        const durationMs = Math.round(clock.monotonicMs() - this.#startedAtMs);
        const toBytes = state.checkpointSpace().sizeBytes;
        logger.info({fromBytes: sizeBytes, toBytes, durationMs}, 'the checkpoint file has shrunk');
      } else if (error !== null) {
        this.#warn(error);
      }
    });
  }

  #wait(hasShrunk: boolean): void {
    if (hasShrunk) this.#intervalMs = limits.shrinkIntervalMsMin;
    this.#notBeforeMs = this.#parts.clock.monotonicMs() + this.#intervalMs;
    if (hasShrunk) return;
    this.#mayBeSparse = true;
    this.#intervalMs = Math.min(2 * this.#intervalMs, limits.shrinkIntervalMsMax);
  }

  /** Once: what keeps a file from shrinking today does so tomorrow, and nothing is lost by it. */
  #warn(error: Error): void {
    if (!this.#hasWarned) {
      const message = 'the checkpoint file cannot give its free space back; trying again later';
      this.#parts.logger.warn({error: error.message}, message);
    }
    this.#hasWarned = true;
  }
}
