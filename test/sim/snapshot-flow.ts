/**
 * One snapshot on its way between two simulated members, block by block. Whatever ends it, a broken
 * connection or the death of either process, both sides hear of it: the receiver keeps an import
 * that is not complete for the next stream, the sender gets its one callback.
 */
import type {NodeId} from '../../src/raft/ids.ts';
import {decodeMembership, encodeMembership} from '../../src/raft/membership.ts';
import type {SnapshotImport, SnapshotReader} from '../../src/storage/checkpoint-store.ts';
import type {
  SnapshotOffer,
  SnapshotSource,
  TransportHandler,
} from '../../src/transport/transport.ts';
import {SnapshotRefusedError} from '../../src/transport/transport.ts';
import {supersededMessage} from '../../src/node/snapshot-intake.ts';
import type {Coverage} from './coverage.ts';

/** While the path is cut, so often it looks again. */
const stalledMs = 100;

export interface FlowParts {
  readonly from: NodeId;
  readonly snapshot: SnapshotSource;
  readonly receiver: TransportHandler;
  /** Both run later, in the turn of the one process or the other, if it lives so long. */
  readonly atReceiver: (delayMs: number, action: () => void) => void;
  readonly delayMs: () => number;
  readonly isPathOpen: () => boolean;
  /** Drawn before every block: the connection of this stream alone breaks. */
  readonly mustBreak: () => boolean;
  readonly coverage: Coverage;
  /** The sender's side has ended. Called once. */
  readonly onEnd: (error: Error | null) => void;
}

export class SnapshotFlow {
  readonly #parts: FlowParts;
  readonly #offer: SnapshotOffer;
  #import: SnapshotImport | null = null;
  #reader: SnapshotReader | null = null;
  #isSenderDone = false;
  /** The import works on something, and is not touched meanwhile. */
  #isWorking = false;
  #isBroken = false;

  constructor(parts: FlowParts) {
    this.#parts = parts;
    const {id, meta, sizeBytes} = parts.snapshot;
    const {index, term, membership} = meta;
    const copy = decodeMembership(encodeMembership(membership));
    this.#offer = {id, meta: {index, term, membership: copy}, sizeBytes};
  }

  begin(): void {
    const {atReceiver, delayMs, receiver, from} = this.#parts;
    atReceiver(delayMs(), () => {
      if (this.#isBroken) return;
      this.#import = receiver.onSnapshotOffer(from, this.#offer);
      if (this.#import === null) {
        this.#endSender(refused('SNAPSHOT_NOT_WANTED', 'of no use here'));
        return;
      }
      this.#open(this.#import);
    });
  }

  /** The connection is gone, or one of the processes. */
  break(): void {
    this.#endSender(new Error('the connection was closed'));
    this.#parts.atReceiver(0, () => this.#breakAtReceiver());
  }

  #open(snapshot: SnapshotImport): void {
    const {snapshot: source, coverage} = this.#parts;
    this.#isWorking = true;
    snapshot.begin((error, after) => {
      if (!this.#goOn(error)) return;
      if (after !== null) coverage.count('snapshot resumed');
      if (this.#isSenderDone) return;
      this.#reader = source.open(after);
      this.#nextBlock(this.#reader);
    });
  }

  #nextBlock(reader: SnapshotReader): void {
    const {atReceiver, delayMs, isPathOpen, mustBreak, coverage} = this.#parts;
    atReceiver(delayMs(), () => {
      if (this.#import === null || this.#isSenderDone) return;
      if (!isPathOpen()) {
        atReceiver(stalledMs, () => this.#nextBlock(reader));
        return;
      }
      if (mustBreak()) {
        coverage.count('snapshot stream broken');
        this.break();
        return;
      }
      reader.next((error, block) => {
        if (this.#import === null) return;
        if (error !== null) this.#fail(error);
        else if (block === null) this.#finish(this.#import);
        else this.#write(this.#import, block, reader);
      });
    });
  }

  #write(snapshot: SnapshotImport, block: Uint8Array, reader: SnapshotReader): void {
    this.#isWorking = true;
    snapshot.write(new Uint8Array(block), error => {
      if (this.#goOn(error)) this.#nextBlock(reader);
    });
  }

  /** The import has ended what it worked on; false when the stream has ended, too. */
  #goOn(error: Error | null): boolean {
    this.#isWorking = false;
    if (error !== null) {
      this.#fail(error);
      return false;
    }
    if (this.#isBroken) this.#breakAtReceiver();
    return !this.#isBroken;
  }

  #finish(snapshot: SnapshotImport): void {
    const {receiver, from} = this.#parts;
    this.#import = null;
    snapshot.finish(error => {
      if (error === null) receiver.onSnapshotReceived(from, this.#offer.meta, snapshot);
      else snapshot.abort();
      this.#endSender(error === null ? null : refused('SNAPSHOT_FAILED', error.message));
    });
  }

  #fail(error: Error): void {
    if (error.message === supersededMessage) this.#parts.coverage.count('snapshot superseded');
    this.#import?.abort();
    this.#import = null;
    this.#endSender(refused('SNAPSHOT_FAILED', error.message));
  }

  #breakAtReceiver(): void {
    this.#isBroken = true;
    const snapshot = this.#import;
    if (snapshot === null || this.#isWorking) return;
    this.#import = null;
    this.#parts.receiver.onSnapshotBroken(this.#parts.from, snapshot);
  }

  #endSender(error: Error | null): void {
    if (this.#isSenderDone) return;
    this.#isSenderDone = true;
    this.#reader?.close();
    this.#parts.onEnd(error);
  }
}

function refused(code: string, detail: string): Error {
  return new SnapshotRefusedError({code, detail});
}
