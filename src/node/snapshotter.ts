/**
 * Snapshots between members. Sending: a copy of the newest durable checkpoint is streamed to a
 * follower that is behind the log, one stream a follower, and again after a break; nothing of a
 * state that is known to be wrong. Receiving:
 * blocks go into a directory beside the live checkpoint; when all are verified raft decides
 * whether the snapshot is still news, and only then it is installed.
 */
import {assert, must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import type {Raft} from '../raft/raft.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointStore, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {SnapshotOffer, SnapshotSource, Transport} from '../transport/transport.ts';
import {SnapshotRefusedError} from '../transport/transport.ts';
import type {Checkpointer} from './checkpointer.ts';
import {SnapshotCopies} from './snapshot-copies.ts';
import {SnapshotIntake} from './snapshot-intake.ts';

/**
 * Between an attempt that was refused, or had no copy, and the next one, in milliseconds. Doubles
 * for a member that goes on refusing, and starts again when one is delivered or of no use.
 */
const retryDelayMs = 1_000;
const retryDelayMsMax = 32_000;
/** Between a stream that broke off and the one that goes on with it. */
const resumeDelayMs = 100;

export interface SnapshotterParts {
  readonly raft: Raft;
  readonly transport: Transport;
  readonly checkpoint: CheckpointStore;
  readonly checkpointer: Checkpointer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** No other life of a member has the same: the beginning of the ids of what it sends. */
  readonly life: string;
  /** The first entry that the log holds. */
  readonly firstLogIndex: () => LogIndex;
  /** Why the state is not to be handed on; null: it may be. */
  readonly refusal: () => Error | null;
  readonly scheduleReady: () => void;
  readonly onSent: () => void;
}

interface ReceivedSnapshot {
  readonly meta: SnapshotMeta;
  readonly snapshot: SnapshotImport;
}

export class Snapshotter {
  readonly #parts: SnapshotterParts;
  readonly #sending = new Set<NodeId>();
  /** Of those whose last attempt was refused, or had no copy: how long they wait the next time. */
  readonly #retryDelaysMs = new Map<NodeId, number>();
  readonly #copies: SnapshotCopies;
  readonly #intake: SnapshotIntake;
  #received: ReceivedSnapshot | null = null;
  #isStopped = false;

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
    const {checkpoint, clock, life, firstLogIndex, refusal} = parts;
    const isOfUse = ({index}: SnapshotMeta): boolean => index + 1 >= firstLogIndex();
    this.#copies = new SnapshotCopies({checkpoint, clock, life, isOfUse, refusal});
    this.#intake = new SnapshotIntake({checkpoint, clock});
  }

  stop(): void {
    this.#isStopped = true;
    this.#copies.stop();
    this.#intake.stop();
  }

  /** What is or may be sent stands for this index and later ones; null: there is nothing. */
  oldestCopyIndex(): LogIndex | null {
    return this.#copies.oldestIndex();
  }

  send(to: NodeId): void {
    const {raft, clock, scheduleReady, logger} = this.#parts;
    if (this.#sending.has(to) || this.#isStopped) return;
    this.#sending.add(to);
    const report = (meta: SnapshotMeta | null): void => {
      this.#sending.delete(to);
      if (this.#isStopped) return;
      raft.reportSnapshot(to, meta);
      scheduleReady();
    };
    const failAfter = (delayMs: number): void => {
      clock.setTimer(delayMs, () => report(null));
    };
    const retryLater = (): void => failAfter(this.#takeRetryDelayMs(to));
    this.#copies.take((error, copy) => {
      if (copy === null) {
        logger.warn({to, error: error?.message}, 'cannot copy the checkpoint');
        retryLater();
        return;
      }
      this.#stream(to, copy, failure => {
        const refusal = failure instanceof SnapshotRefusedError ? failure.code : null;
        const isOfNoUse = refusal === 'SNAPSHOT_NOT_WANTED';
        const readError = this.#copies.giveBack(copy, isOfNoUse);
        // Others may have met what cannot be read; this one may have begun behind it.
        if (readError !== null && failure !== null && !isOfNoUse) {
          // Damage that a copy has from the checkpoint is in the next copy too.
          logger.error(
            {to, error: readError.message},
            'a copy of the checkpoint cannot be read; ./rosetta verify says what is damaged',
          );
          retryLater();
          return;
        }
        if (failure === null || isOfNoUse) this.#retryDelaysMs.delete(to);
        if (failure === null) report(copy.meta);
        else if (refusal === null) failAfter(resumeDelayMs);
        else retryLater();
      });
    });
  }

  #takeRetryDelayMs(to: NodeId): number {
    const delayMs = this.#retryDelaysMs.get(to) ?? retryDelayMs;
    this.#retryDelaysMs.set(to, Math.min(delayMs * 2, retryDelayMsMax));
    return delayMs;
  }

  #stream(to: NodeId, copy: SnapshotSource, done: (error: Error | null) => void): void {
    const {transport, logger, onSent} = this.#parts;
    const {index} = copy.meta;
    logger.info({to, index}, 'sending a snapshot');
    transport.sendSnapshot(to, copy, error => {
      if (error === null) {
        logger.info({to, index}, 'snapshot delivered');
        onSent();
      } else {
        logger.warn({to, index, error: error.message}, 'snapshot not delivered');
      }
      done(error);
    });
  }

  /** Null when the offer is no news, or another snapshot is being installed. */
  onOffer(from: NodeId, offer: SnapshotOffer): SnapshotImport | null {
    const {raft, scheduleReady} = this.#parts;
    if (raft.leaderId !== from || this.#isStopped) return null;
    const {meta} = offer;
    if (meta.index <= raft.commitIndex) {
      // Perhaps it came with an earlier stream and the answer was lost: raft says how far it is.
      raft.step({type: 'snapshot', from, to: raft.id, term: raft.term, meta});
      scheduleReady();
      return null;
    }
    return this.#received === null ? this.#intake.accept(from, offer) : null;
  }

  /** Its stream broke off. */
  onBroken(snapshot: SnapshotImport): void {
    if (this.#isStopped) snapshot.abort();
    else this.#intake.onBroken(snapshot);
  }

  onReceived(from: NodeId, meta: SnapshotMeta, snapshot: SnapshotImport): void {
    const {raft, checkpointer, scheduleReady} = this.#parts;
    // The checkpoint being written and the one to be installed must not meet.
    checkpointer.whenIdle(() => {
      if (this.#isStopped || raft.leaderId !== from || this.#received !== null) {
        snapshot.abort();
        return;
      }
      this.#received = {meta, snapshot};
      raft.step({type: 'snapshot', from, to: raft.id, term: raft.term, meta});
      // Raft may have no use for it: its log holds the entry, or is past it.
      if (raft.pendingSnapshot !== meta) this.#discard();
      scheduleReady();
    });
  }

  /** Raft accepted the snapshot: switches the checkpoint to it, as SnapshotImport.install. */
  install(meta: SnapshotMeta, callback: (error: Error | null) => void): void {
    const received = must(this.#received, 'raft installs a snapshot that was received');
    assert(received.meta.index === meta.index, '%, not %', meta.index, received.meta.index);
    received.snapshot.install(error => {
      this.#received = null;
      callback(error);
    });
  }

  /** While a received snapshot waits to be installed, or is, no checkpoint may start. */
  isInstalling(): boolean {
    return this.#received !== null;
  }

  #discard(): void {
    this.#received?.snapshot.abort();
    this.#received = null;
  }
}
