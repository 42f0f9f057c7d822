/**
 * One snapshot on its way between two simulated members, block by block. Whatever ends it, a broken
 * connection or the death of either process, both sides hear of it: the receiver aborts an import
 * that is not complete, the sender gets its one callback.
 */
import type {NodeId} from '../../src/raft/ids.ts';
import {decodeMembership, encodeMembership} from '../../src/raft/membership.ts';
import type {
  CheckpointMeta,
  SnapshotExport,
  SnapshotImport,
} from '../../src/storage/checkpoint-store.ts';
import type {TransportHandler} from '../../src/transport/transport.ts';

/** While the path is cut, so often it looks again. */
const stalledMs = 100;

export interface FlowParts {
  readonly from: NodeId;
  readonly snapshot: SnapshotExport;
  readonly receiver: TransportHandler;
  /** Both run later, in the turn of the one process or the other, if it lives so long. */
  readonly atReceiver: (delayMs: number, action: () => void) => void;
  readonly delayMs: () => number;
  readonly isPathOpen: () => boolean;
  /** The sender's side has ended. Called once. */
  readonly onEnd: (error: Error | null) => void;
}

export class SnapshotFlow {
  readonly #parts: FlowParts;
  #import: SnapshotImport | null = null;
  #isSenderDone = false;
  /** All blocks are there, or the import was given up. */
  #isReceiverDone = false;

  constructor(parts: FlowParts) {
    this.#parts = parts;
  }

  begin(): void {
    const {atReceiver, delayMs, receiver, snapshot, from} = this.#parts;
    atReceiver(delayMs(), () => {
      if (this.#isReceiverDone) return;
      const {index, term, membership} = snapshot.meta;
      const meta = {index, term, membership: decodeMembership(encodeMembership(membership))};
      this.#import = receiver.onSnapshotOffer(from, meta);
      if (this.#import === null) {
        this.#fail(new Error('SNAPSHOT_NOT_WANTED: it is of no use here'));
        return;
      }
      this.#nextBlock(meta);
    });
  }

  /** The connection is gone, or one of the processes. */
  break(): void {
    this.#endSender(new Error('the connection was closed'));
    this.#parts.atReceiver(0, () => this.#abort());
  }

  #nextBlock(meta: CheckpointMeta): void {
    const {atReceiver, delayMs, isPathOpen, snapshot} = this.#parts;
    atReceiver(delayMs(), () => {
      if (this.#isReceiverDone || this.#isSenderDone) return;
      if (!isPathOpen()) {
        atReceiver(stalledMs, () => this.#nextBlock(meta));
        return;
      }
      snapshot.next((error, block) => {
        if (this.#isReceiverDone) return;
        if (error !== null) this.#fail(error);
        else if (block === null) this.#finish(meta);
        else this.#write(block, meta);
      });
    });
  }

  #write(block: Uint8Array, meta: CheckpointMeta): void {
    this.#import?.write(block.slice(), error => {
      if (error === null) this.#nextBlock(meta);
      else this.#fail(error);
    });
  }

  #finish(meta: CheckpointMeta): void {
    const {receiver, from} = this.#parts;
    const snapshot = this.#import;
    if (snapshot === null) return;
    this.#isReceiverDone = true;
    snapshot.finish(error => {
      if (error === null) receiver.onSnapshotReceived(from, meta, snapshot);
      else snapshot.abort();
      this.#endSender(error);
    });
  }

  #fail(error: Error): void {
    this.#abort();
    this.#endSender(error);
  }

  #abort(): void {
    if (this.#isReceiverDone) return;
    this.#isReceiverDone = true;
    this.#import?.abort();
  }

  #endSender(error: Error | null): void {
    if (this.#isSenderDone) return;
    this.#isSenderDone = true;
    this.#parts.snapshot.close();
    this.#parts.onEnd(error);
  }
}
