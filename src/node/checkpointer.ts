/**
 * Writes the state to its checkpoint from time to time: rarely enough that the disk belongs to the
 * WAL, often enough that the overlay stays small and a restart replays little. Behind a durable
 * checkpoint the log may be recycled. Members take turns: what a checkpoint takes of a disk and a
 * processor is felt only where a majority does not need it.
 */
import type {Clock} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {LogStore} from '../storage/log-store.ts';
import type {StateStore} from '../storage/state-store.ts';
import {CheckpointShrinker} from './checkpoint-shrinker.ts';

export interface CheckpointerParts {
  readonly id: NodeId;
  readonly state: StateStore;
  readonly machine: KvStateMachine;
  readonly log: LogStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly applied: () => SnapshotMeta;
  /** As LogRelease.neededAfter. */
  readonly neededAfter: () => LogIndex | null;
  readonly onCheckpoint: (durationMs: number) => void;
  readonly fail: (error: Error) => void;
}

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  readonly #shrinker: CheckpointShrinker;
  #lastStartedAtMs: number;
  /** When the next one is due, unless the overlay grows large before. */
  #dueAtMs: number;
  #releasedAtMs: number;
  #isDiskFull = false;
  #isStopped = false;
  readonly #idleCallbacks: (() => void)[] = [];
  /** Who waits for a checkpoint of at least this index. */
  #covers: {readonly index: LogIndex; readonly callback: (error: Error | null) => void}[] = [];

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#shrinker = new CheckpointShrinker(parts);
    this.#lastStartedAtMs = parts.clock.monotonicMs();
    this.#dueAtMs = this.#lastStartedAtMs + limits.checkpointIntervalMs;
    this.#releasedAtMs = this.#lastStartedAtMs;
  }

  /** The disk cannot take a checkpoint and the overlay has reached its bound. */
  isStorageFull(): boolean {
    return this.#isDiskFull && !this.hasRoom();
  }

  /** False when nothing more may be applied until a checkpoint has made room. */
  hasRoom(): boolean {
    return this.#parts.state.totalSizeBytes() < limits.overlaySizeBytesMax;
  }

  isRunning(): boolean {
    return this.#parts.state.isCheckpointing();
  }

  stop(): void {
    this.#isStopped = true;
    this.#failCovers(new RosettaError('STOPPING', 'the node is stopping; ask another one'));
  }

  /**
   * Calls back, never at once, when a durable checkpoint holds everything that is applied now, or
   * with the reason why none can be written.
   */
  cover(callback: (error: Error | null) => void): void {
    this.#covers.push({index: this.#parts.applied().index, callback});
  }

  /** Starts a checkpoint, or a shrink of it, when it is time. Cheap; called with every tick. */
  maybeStart(): void {
    const {state, clock, applied} = this.#parts;
    if (this.#isStopped || state.isCheckpointing()) return;
    if (clock.monotonicMs() - this.#releasedAtMs >= limits.logReleaseIntervalMs) {
      this.#releaseLog();
    }
    if (this.#isAwaited()) {
      this.#start();
      return;
    }
    // Before the next checkpoint, which may be due at once under load.
    this.#shrinker.maybeStart();
    if (this.#shrinker.isHoldingBack()) return;
    const isNew = applied().index !== state.checkpointMeta().index || state.recordCount() > 0;
    if (!isNew && !state.hasToPrune()) return;
    const isLarge =
      state.recordCount() >= limits.overlayRecordCountTarget ||
      state.sizeBytes() >= limits.overlaySizeBytesTarget;
    const dueAtMs = isLarge
      ? this.#lastStartedAtMs + limits.checkpointIntervalMsMin
      : this.#dueAtMs;
    if (clock.monotonicMs() >= dueAtMs) this.#start();
  }

  /** Calls back once no checkpoint is being written. */
  whenIdle(callback: () => void): void {
    if (this.isRunning()) this.#idleCallbacks.push(callback);
    else callback();
  }

  /** Answers those who waited for what the checkpoint holds; true when somebody waits for more. */
  #isAwaited(): boolean {
    if (this.#covers.length === 0) return false;
    const {index} = this.#parts.state.checkpointMeta();
    const covered = this.#covers.filter(cover => cover.index <= index);
    this.#covers = this.#covers.filter(cover => cover.index > index);
    for (const {callback} of covered) callback(null);
    return this.#covers.length > 0;
  }

  #failCovers(error: Error): void {
    for (const {callback} of this.#covers.splice(0)) callback(error);
  }

  #start(): void {
    const {state, machine, clock, applied, onCheckpoint} = this.#parts;
    const startedAtMs = clock.monotonicMs();
    this.#lastStartedAtMs = startedAtMs;
    this.#dueAtMs = startedAtMs + this.#untilTurnMs();
    const meta = applied();
    machine.saveMeta();
    state.checkpoint(meta, error => {
      if (error === null) {
        this.#isDiskFull = false;
        this.#shrinker.noteCheckpoint();
        // A node that stops has closed its log already.
        if (!this.#isStopped) this.#releaseLog();
        onCheckpoint(clock.monotonicMs() - startedAtMs);
      } else {
        this.#onError(error);
      }
      for (const callback of this.#idleCallbacks.splice(0)) callback();
    });
  }

  /**
   * To this member's next turn, between a half and one and a half intervals away. Members divide an
   * interval of the wall clock among themselves; clocks that differ cost no more than that they
   * write at one time.
   */
  #untilTurnMs(): number {
    const {id, clock, applied} = this.#parts;
    const {members} = applied().membership;
    const place = members.findIndex(member => member.id === id);
    const intervalMs = limits.checkpointIntervalMs;
    if (members.length < 2 || place < 0) return intervalMs;
    const turnMs = (intervalMs * place) / members.length;
    const nowMs = Math.max(0, clock.wallMs());
    const untilMs = intervalMs - ((nowMs + intervalMs - turnMs) % intervalMs);
    return untilMs < intervalMs / 2 ? untilMs + intervalMs : untilMs;
  }

  #releaseLog(): void {
    const {state, log, clock, neededAfter} = this.#parts;
    this.#releasedAtMs = clock.monotonicMs();
    log.release({upTo: state.checkpointMeta().index, neededAfter: neededAfter()});
  }

  #onError(error: Error): void {
    this.#failCovers(error);
    if (!isNoSpace(error)) {
      this.#parts.fail(error);
      return;
    }
    if (!this.#isDiskFull) {
      this.#parts.logger.error({error: error.message}, 'no space for a checkpoint; trying again');
    }
    this.#isDiskFull = true;
  }
}

function isNoSpace(error: Error): boolean {
  return 'code' in error && error.code === 'ENOSPC';
}
