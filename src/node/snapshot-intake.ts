/**
 * The one snapshot that is on its way into this member. A stream that broke off leaves it here for
 * a while, and the next stream of the same copy goes on with it; an offer of any other snapshot
 * takes its place, because whoever may offer has been checked before.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {NodeId} from '../raft/ids.ts';
import type {CheckpointStore, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {SnapshotPosition} from '../storage/snapshot-position.ts';
import type {SnapshotOffer} from '../transport/transport.ts';

/** What the stream of an import is told that has given way. */
export const supersededMessage = 'another snapshot has taken its place';

export interface SnapshotIntakeParts {
  readonly checkpoint: CheckpointStore;
  readonly clock: Clock;
}

export class SnapshotIntake {
  readonly #parts: SnapshotIntakeParts;
  #current: IncomingSnapshot | null = null;
  /** Runs while nobody streams into it. */
  #parkTimer: Timer | null = null;

  constructor(parts: SnapshotIntakeParts) {
    this.#parts = parts;
  }

  /** Somebody streams at the moment. */
  get isStreaming(): boolean {
    return this.#current !== null && this.#parkTimer === null;
  }

  /** What the accepted offer is written to. */
  accept(from: NodeId, offer: SnapshotOffer): SnapshotImport {
    const current = this.#current;
    if (current !== null && !this.isStreaming && current.isOf(from, offer)) {
      this.#unpark();
      return current;
    }
    current?.supersede();
    const snapshot = this.#parts.checkpoint.beginImport(offer.meta, offer.sizeBytes);
    const incoming = new IncomingSnapshot({from, id: offer.id}, snapshot, () => {
      if (this.#current === incoming) this.#release();
    });
    this.#current = incoming;
    return incoming;
  }

  /** Keeps what has arrived for the next stream, unless something else has taken its place. */
  onBroken(snapshot: SnapshotImport): void {
    if (snapshot !== this.#current) {
      snapshot.abort();
      return;
    }
    this.#unpark();
    const {clock} = this.#parts;
    this.#parkTimer = clock.setTimer(limits.snapshotResumeTimeoutMs, () => snapshot.abort());
  }

  stop(): void {
    this.#current?.abort();
  }

  #release(): void {
    this.#current = null;
    this.#unpark();
  }

  #unpark(): void {
    this.#parkTimer?.cancel();
    this.#parkTimer = null;
  }
}

/** However it ends, it makes room once. */
class IncomingSnapshot implements SnapshotImport {
  readonly #origin: {readonly from: NodeId; readonly id: string};
  readonly #snapshot: SnapshotImport;
  readonly #onGone: () => void;
  #isSuperseded = false;

  constructor(
    origin: {readonly from: NodeId; readonly id: string},
    snapshot: SnapshotImport,
    onGone: () => void,
  ) {
    this.#origin = origin;
    this.#snapshot = snapshot;
    this.#onGone = onGone;
  }

  isOf(from: NodeId, offer: SnapshotOffer): boolean {
    return this.#origin.from === from && this.#origin.id === offer.id;
  }

  /** Its stream learns of it with its next block. */
  supersede(): void {
    this.#isSuperseded = true;
    this.#snapshot.abort();
    this.#onGone();
  }

  begin(callback: (error: Error | null, after: SnapshotPosition | null) => void): void {
    if (this.#isSuperseded) {
      callback(superseded(), null);
      return;
    }
    this.#snapshot.begin((error, after) => {
      const failure = this.#note(error);
      callback(failure, failure === null ? after : null);
    });
  }

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    if (this.#isSuperseded) callback(superseded());
    else this.#snapshot.write(block, error => callback(this.#note(error)));
  }

  finish(callback: (error: Error | null) => void): void {
    if (this.#isSuperseded) {
      callback(superseded());
      return;
    }
    this.#snapshot.finish(error => {
      const failure = this.#note(error);
      this.#onGone();
      callback(failure);
    });
  }

  install(callback: (error: Error | null) => void): void {
    this.#snapshot.install(callback);
  }

  abort(): void {
    if (this.#isSuperseded) return;
    this.#snapshot.abort();
    this.#onGone();
  }

  #note(error: Error | null): Error | null {
    if (this.#isSuperseded) return superseded();
    if (error !== null) this.#onGone();
    return error;
  }
}

function superseded(): Error {
  return new Error(supersededMessage);
}
