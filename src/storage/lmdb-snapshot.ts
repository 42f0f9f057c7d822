/**
 * Snapshots out of and into LMDB, as the main thread sees them: the work is done in the
 * checkpoint's thread, here are only the order of calls and the blocks read ahead.
 */
import path from 'node:path';
import {assert, must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import {encodeMeta} from './checkpoint-row.ts';
import type {
  CheckpointMeta,
  SnapshotExport,
  SnapshotImport,
  SnapshotReader,
} from './checkpoint-store.ts';
import type {CheckpointThread} from './checkpoint-thread.ts';
import type {SnapshotPosition} from './snapshot-position.ts';
import {decodePosition, encodePosition} from './snapshot-position.ts';

/**
 * Blocks that are asked for before anyone wants them, so that disk and network overlap, also while
 * the thread writes a checkpoint in between.
 */
const readAheadCount = 4;

export class LmdbSnapshotExport implements SnapshotExport {
  readonly meta: CheckpointMeta;
  readonly sizeBytes: number;
  readonly #thread: CheckpointThread;
  readonly #copyId: number;
  readonly #nextStreamId: () => number;
  readonly #readers = new Set<LmdbSnapshotReader>();
  #isClosed = false;

  constructor(
    thread: CheckpointThread,
    options: {
      readonly copyId: number;
      readonly nextStreamId: () => number;
      readonly meta: CheckpointMeta;
      readonly sizeBytes: number;
    },
  ) {
    this.#thread = thread;
    this.#copyId = options.copyId;
    this.#nextStreamId = options.nextStreamId;
    this.meta = options.meta;
    this.sizeBytes = options.sizeBytes;
  }

  open(after: SnapshotPosition | null): SnapshotReader {
    const streamId = this.#nextStreamId();
    const reader = new LmdbSnapshotReader(this.#thread, streamId, () => {
      this.#readers.delete(reader);
    });
    // Whoever is about to stop may have closed the copy already.
    if (this.#isClosed) return reader;
    this.#readers.add(reader);
    reader.open(this.#copyId, after);
    return reader;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const reader of [...this.#readers]) reader.close();
    this.#thread.send({type: 'closeExport', copyId: this.#copyId}, () => undefined);
  }
}

class LmdbSnapshotReader implements SnapshotReader {
  readonly #thread: CheckpointThread;
  readonly #streamId: number;
  readonly #onClosed: () => void;
  readonly #ready: (Uint8Array | null)[] = [];
  /** For blocks that come: new memory for each would keep the collector of the main thread busy. */
  readonly #spare: ArrayBuffer[] = [];
  /** Of the block that was handed out last. */
  #lent: ArrayBufferLike | null = null;
  #requestedCount = 0;
  #waiting: ((error: Error | null, block: Uint8Array | null) => void) | null = null;
  #failure: Error | null = null;
  #isAtEnd = false;
  #isOpen = false;
  #isClosed = false;

  constructor(thread: CheckpointThread, streamId: number, onClosed: () => void) {
    this.#thread = thread;
    this.#streamId = streamId;
    this.#onClosed = onClosed;
  }

  /** Once, before anything else. */
  open(copyId: number, after: SnapshotPosition | null): void {
    this.#isOpen = true;
    const streamId = this.#streamId;
    const request = {type: 'openReader', copyId, streamId, after: encodePosition(after)} as const;
    this.#thread.send(request, error => {
      if (error !== null) this.#failure ??= error;
    });
  }

  next(callback: (error: Error | null, block: Uint8Array | null) => void): void {
    assert(this.#waiting === null, 'one block at a time');
    if (this.#isClosed || !this.#isOpen) return;
    this.#waiting = callback;
    this.#takeBack();
    this.#readAhead();
    // Never from within `next`, or a reader that asks again at once would pile up the stack.
    if (this.#ready.length > 0 || this.#failure !== null) process.nextTick(() => this.#deliver());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#waiting = null;
    this.#onClosed();
    if (!this.#isOpen) return;
    this.#thread.send({type: 'closeReader', streamId: this.#streamId}, () => undefined);
  }

  #readAhead(): void {
    while (!this.#isAtEnd && this.#requestedCount + this.#ready.length < readAheadCount) {
      this.#requestedCount += 1;
      const memory = this.#spare.pop() ?? new ArrayBuffer(limits.snapshotBlockSizeBytesMax);
      this.#thread.send({type: 'readBlock', streamId: this.#streamId, memory}, (error, answer) => {
        this.#requestedCount -= 1;
        if (error !== null) this.#failure ??= error;
        else this.#accept(answer?.bytes ?? null);
        this.#deliver();
      });
    }
  }

  /** Header and end have memory of their own size. */
  #takeBack(): void {
    const lent = this.#lent;
    this.#lent = null;
    if (lent instanceof ArrayBuffer && lent.byteLength === limits.snapshotBlockSizeBytesMax) {
      this.#spare.push(lent);
    }
  }

  #accept(block: Uint8Array | null): void {
    if (this.#isAtEnd) return;
    if (block === null) this.#isAtEnd = true;
    this.#ready.push(block);
  }

  #deliver(): void {
    const callback = this.#waiting;
    if (callback === null || this.#isClosed) return;
    const block = this.#ready.shift();
    if (block !== undefined) {
      this.#waiting = null;
      // The end is said as often as it is asked for.
      if (block === null) this.#ready.push(null);
      else this.#lent = block.buffer;
      callback(null, block);
    } else if (this.#failure !== null) {
      this.#waiting = null;
      callback(this.#failure, null);
    }
  }
}

export class LmdbSnapshotImport implements SnapshotImport {
  readonly #thread: CheckpointThread;
  readonly #streamId: number;
  readonly #directory: string;
  readonly #install: (callback: (error: Error | null) => void) => void;
  #state: 'open' | 'finished' | 'over' = 'open';
  #failure: Error | null = null;

  constructor(
    thread: CheckpointThread,
    options: {
      readonly streamId: number;
      readonly meta: CheckpointMeta;
      readonly sizeBytes: number;
      readonly path: string;
      readonly install: (callback: (error: Error | null) => void) => void;
    },
  ) {
    this.#thread = thread;
    this.#streamId = options.streamId;
    this.#directory = path.dirname(options.path);
    this.#install = options.install;
    const {streamId, path: file, sizeBytes} = options;
    const meta = encodeMeta(options.meta);
    thread.send({type: 'beginImport', streamId, path: file, meta, sizeBytes}, error => {
      if (error !== null) this.#fail(error);
    });
  }

  begin(callback: (error: Error | null, after: SnapshotPosition | null) => void): void {
    assert(this.#state === 'open' || this.#failure !== null, 'the import is over');
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure, null));
      return;
    }
    this.#thread.send({type: 'beginStream', streamId: this.#streamId}, (error, answer) => {
      if (error !== null || answer === null) callback(this.#fail(must(error, 'a reason')), null);
      else callback(null, decodePosition(must(answer.bytes, 'a position')));
    });
  }

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    assert(this.#state === 'open' || this.#failure !== null, 'the import is over');
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure));
      return;
    }
    this.#thread.send({type: 'importBlock', streamId: this.#streamId, block}, error => {
      callback(error === null ? null : this.#fail(error));
    });
  }

  finish(callback: (error: Error | null) => void): void {
    assert(this.#state === 'open' || this.#failure !== null, 'the import is over');
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure));
      return;
    }
    this.#thread.send({type: 'finishImport', streamId: this.#streamId}, error => {
      if (error === null && this.#state === 'open') this.#state = 'finished';
      callback(error === null ? null : this.#fail(error));
    });
  }

  install(callback: (error: Error | null) => void): void {
    assert(this.#state === 'finished', 'only a finished import is installed');
    this.#state = 'over';
    this.#install(callback);
  }

  abort(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    const request = {
      type: 'abortImport',
      streamId: this.#streamId,
      directory: this.#directory,
    } as const;
    this.#thread.send(request, () => undefined);
  }

  /** The first error is the one that is told; what was written goes away. */
  #fail(error: Error): Error {
    this.#failure ??= error;
    this.abort();
    return this.#failure;
  }
}
