/**
 * Snapshots between members. Sending: the newest durable checkpoint is copied and streamed to a
 * follower that is behind the log, one stream a follower. Receiving: blocks go into a directory
 * beside the live checkpoint; when all are verified raft decides whether the snapshot is still
 * news, and only then it is installed.
 */
import {assert, must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Raft} from '../raft/raft.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointStore, SnapshotExport, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {Transport} from '../transport/transport.ts';
import type {Checkpointer} from './checkpointer.ts';

/** Between a stream that failed and the next attempt, in milliseconds. */
const retryDelayMs = 1_000;

export interface SnapshotterParts {
  readonly raft: Raft;
  readonly transport: Transport;
  readonly checkpoint: CheckpointStore;
  readonly checkpointer: Checkpointer;
  readonly clock: Clock;
  readonly logger: Logger;
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
  #isReceiving = false;
  #received: ReceivedSnapshot | null = null;
  #isStopped = false;

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#isStopped = true;
  }

  send(to: NodeId): void {
    const {checkpoint, raft, clock, scheduleReady} = this.#parts;
    if (this.#sending.has(to) || this.#isStopped) return;
    this.#sending.add(to);
    const report = (meta: SnapshotMeta | null): void => {
      this.#sending.delete(to);
      if (this.#isStopped) return;
      raft.reportSnapshot(to, meta);
      scheduleReady();
    };
    const done = (meta: SnapshotMeta | null): void => {
      // Each attempt copies the whole checkpoint: a refused one is not repeated at once.
      if (meta === null) clock.setTimer(retryDelayMs, () => report(null));
      else report(meta);
    };
    checkpoint.exportSnapshot((error, snapshot) => {
      if (error !== null || snapshot === null) {
        this.#parts.logger.warn({to, error: error?.message}, 'cannot copy the checkpoint');
        done(null);
      } else {
        this.#stream(to, snapshot, done);
      }
    });
  }

  #stream(to: NodeId, snapshot: SnapshotExport, done: (meta: SnapshotMeta | null) => void): void {
    const {transport, logger, onSent} = this.#parts;
    const {index} = snapshot.meta;
    logger.info({to, index}, 'sending a snapshot');
    transport.sendSnapshot(to, snapshot, error => {
      if (error === null) {
        logger.info({to, index}, 'snapshot delivered');
        onSent();
        done(snapshot.meta);
      } else {
        logger.warn({to, index, error: error.message}, 'snapshot not delivered');
        done(null);
      }
    });
  }

  /** Null when the offer is no news, or another snapshot is on its way in. */
  onOffer(from: NodeId, meta: SnapshotMeta): SnapshotImport | null {
    const {raft, checkpoint} = this.#parts;
    const isWanted = raft.leaderId === from && meta.index > raft.commitIndex;
    if (!isWanted || this.#isReceiving || this.#received !== null || this.#isStopped) return null;
    this.#isReceiving = true;
    const snapshot = checkpoint.beginImport(meta);
    // Every way an import can end frees the place for the next offer.
    return {
      write: (block, callback) => {
        snapshot.write(block, error => {
          if (error !== null) this.#isReceiving = false;
          callback(error);
        });
      },
      finish: callback => {
        snapshot.finish(error => {
          this.#isReceiving = false;
          callback(error);
        });
      },
      install: callback => snapshot.install(callback),
      abort: () => {
        this.#isReceiving = false;
        snapshot.abort();
      },
    };
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
