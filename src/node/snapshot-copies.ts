/**
 * Copies of the checkpoint that snapshots are streamed from. One copy serves every member that it
 * is of use to, and stays for a while after a stream has broken off, so that the next one goes on
 * with it. A copy is of use as long as the log begins no later than behind it.
 */
import {assert} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {LogIndex} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointStore, SnapshotExport, SnapshotReader} from '../storage/checkpoint-store.ts';
import type {SnapshotSource} from '../transport/transport.ts';

export interface SnapshotCopiesParts {
  readonly checkpoint: CheckpointStore;
  readonly clock: Clock;
  /** First part of the ids: no other life of this member, or of another, has the same. */
  readonly life: string;
  readonly isOfUse: (meta: SnapshotMeta) => boolean;
  /** Why nobody may get any of the state; null: they may. A stream under way ends with it. */
  readonly refusal: () => Error | null;
}

type CopyCallback = (error: Error | null, copy: SnapshotSource | null) => void;

export class SnapshotCopies {
  readonly #parts: SnapshotCopiesParts;
  #current: SharedCopy | null = null;
  /** Streams still run from them; nobody new gets them. */
  readonly #former = new Set<SharedCopy>();
  /** For a copy that is being made. */
  readonly #waiting: CopyCallback[] = [];
  /** The copy that is being made stands for this index or a later one; null: none is made. */
  #pendingIndex: LogIndex | null = null;
  #copyCount = 0;
  #isStopped = false;

  constructor(parts: SnapshotCopiesParts) {
    this.#parts = parts;
  }

  /**
   * The oldest position that somebody is sent, or may be, or may be again, also from a copy that is
   * only being made; null: there is no copy.
   */
  oldestIndex(): LogIndex | null {
    let oldest = this.#pendingIndex;
    for (const copy of [...this.#former, ...(this.#current === null ? [] : [this.#current])]) {
      const {index} = copy.meta;
      if (oldest === null || index < oldest) oldest = index;
    }
    return oldest;
  }

  /** A copy to stream from, to be given back. Calls back later when it has to be made. */
  take(callback: CopyCallback): void {
    const refusal = this.#parts.refusal();
    if (refusal !== null) {
      callback(refusal, null);
      return;
    }
    const current = this.#current;
    if (current !== null && this.#parts.isOfUse(current.meta)) {
      current.use();
      callback(null, current);
      return;
    }
    this.#waiting.push(callback);
    if (this.#waiting.length === 1) this.#make();
  }

  /**
   * `isOfNoUse`: somebody has no use for it, so the next one gets a newer one; so it does when this
   * one cannot be read. Returns why it cannot; null: it can, as far as it was.
   */
  giveBack(source: SnapshotSource, isOfNoUse: boolean): Error | null {
    if (this.#isStopped) return null;
    const copies = [...this.#former, ...(this.#current === null ? [] : [this.#current])];
    const copy = copies.find(each => each === source);
    assert(copy !== undefined, 'a copy that was taken: %', source.id);
    copy.userCount -= 1;
    const {readError} = copy;
    if ((isOfNoUse || readError !== null) && copy === this.#current) this.#retire();
    if (copy.userCount > 0) return readError;
    if (copy === this.#current) copy.waitForUse(this.#parts.clock, () => this.#retire());
    else if (this.#former.has(copy)) this.#remove(copy);
    return readError;
  }

  stop(): void {
    this.#isStopped = true;
    for (const copy of this.#former) copy.close();
    this.#current?.close();
    this.#waiting.length = 0;
  }

  #make(): void {
    const {checkpoint, life, isOfUse, refusal} = this.#parts;
    // Before the former copy lets go of the log.
    this.#pendingIndex = checkpoint.meta().index;
    this.#retire();
    checkpoint.exportSnapshot((error, made) => {
      this.#pendingIndex = null;
      if (this.#isStopped) {
        made?.close();
        return;
      }
      if (made === null) {
        this.#fail(error);
        return;
      }
      if (!isOfUse(made.meta)) {
        // More was written meanwhile than is kept of the log. Whoever asks again gets another.
        made.close();
        this.#fail(new Error('the log has left the copy behind while it was made'));
        return;
      }
      const waiting = this.#waiting.splice(0);
      const copy = new SharedCopy(`${life}-${++this.#copyCount}`, made, refusal);
      this.#current = copy;
      // All at once: the first that gives it back must not be taken for the last.
      copy.use(waiting.length);
      for (const callback of waiting) callback(null, copy);
    });
  }

  #fail(error: Error | null): void {
    for (const callback of this.#waiting.splice(0)) callback(error, null);
  }

  /** The current copy is given to nobody any more. */
  #retire(): void {
    const copy = this.#current;
    if (copy === null) return;
    this.#current = null;
    this.#former.add(copy);
    if (copy.userCount === 0) this.#remove(copy);
  }

  #remove(copy: SharedCopy): void {
    this.#former.delete(copy);
    copy.close();
  }
}

class SharedCopy implements SnapshotSource {
  readonly id: string;
  readonly #copy: SnapshotExport;
  readonly #refusal: () => Error | null;
  userCount = 0;
  /** Why it cannot be read to its end; null: nobody has met a reason. */
  readError: Error | null = null;
  #timer: Timer | null = null;

  constructor(id: string, copy: SnapshotExport, refusal: () => Error | null) {
    this.id = id;
    this.#copy = copy;
    this.#refusal = refusal;
  }

  get meta(): SnapshotMeta {
    return this.#copy.meta;
  }

  get sizeBytes(): number {
    return this.#copy.sizeBytes;
  }

  open(after: Parameters<SnapshotSource['open']>[0]): SnapshotReader {
    const reader = this.#copy.open(after);
    return {
      next: callback => {
        reader.next((error, block) => {
          this.readError ??= error;
          const failure = error ?? this.#refusal();
          callback(failure, failure === null ? block : null);
        });
      },
      close: () => reader.close(),
    };
  }

  use(count = 1): void {
    this.#timer?.cancel();
    this.userCount += count;
  }

  waitForUse(clock: Clock, onUnused: () => void): void {
    this.#timer = clock.setTimer(limits.snapshotResumeTimeoutMs, onUnused);
  }

  close(): void {
    this.#timer?.cancel();
    this.#copy.close();
  }
}
