/**
 * Makes, renames and removes the files of segments while the log runs, one after the other in the
 * background and with one fsync of the directory behind all that wait: on a busy disk each of them
 * can take seconds. Nobody hears of a segment before its name is durable; whoever wrote to it
 * earlier would see a crash take the whole file away. A name that a crash brings back does no harm,
 * see "The log's files" in docs/io-ordering.md.
 */
import {assert} from '../base/assert.ts';
import type {Disk, DiskFile} from './disk.ts';
import {isOutOfSpace} from './storage-error.ts';
import {WalSegment, segmentFileName} from './wal-segment.ts';

type Change =
  | {readonly type: 'create'}
  | {readonly type: 'reuse'; readonly segment: WalSegment}
  | {readonly type: 'remove'; readonly segment: WalSegment};

export interface WalSegmentFilesParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly incarnation: string;
  readonly segmentSizeBytes: number;
  /** The highest sequence number any file had. */
  readonly lastSequence: number;
  /** In the order of their sequence numbers, which follow those of the ones before. */
  readonly onPrepared: (segments: readonly WalSegment[]) => void;
  /** A segment could not be made for lack of space. */
  readonly onSpaceMissing: (error: Error) => void;
  readonly onFailure: (error: Error) => void;
}

export class WalSegmentFiles {
  readonly #parts: WalSegmentFilesParts;
  #queue: Change[] = [];
  /** Have their names, which are not durable yet. */
  #unsynced: WalSegment[] = [];
  /** Changes and syncs follow each other until nothing waits. */
  #isRunning = false;
  #mustSync = false;
  #isStopped = false;
  /** Taken up by changes that succeeded only: without a gap whatever fails in between. */
  #lastSequence: number;
  /** Segments that were asked for, and neither reported nor given up. */
  #comingCount = 0;
  #finishCallback: (() => void) | null = null;

  constructor(parts: WalSegmentFilesParts) {
    this.#parts = parts;
    this.#lastSequence = parts.lastSequence;
  }

  get comingCount(): number {
    return this.#comingCount;
  }

  create(): void {
    this.#comingCount++;
    this.#add({type: 'create'});
  }

  /** Takes a segment that is not needed any more and makes the next one of its file. */
  reuse(segment: WalSegment): void {
    this.#comingCount++;
    this.#add({type: 'reuse', segment});
  }

  remove(segment: WalSegment): void {
    this.#add({type: 'remove', segment});
  }

  /** After an error: nothing more is begun or reported, what is on its way ends by itself. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    for (const change of this.#queue.splice(0))
      if (change.type !== 'create') change.segment.close();
    for (const segment of this.#unsynced.splice(0)) segment.close();
    this.#finish();
  }

  /** Makes no more segments and calls back when what waits has been done. */
  finish(callback: () => void): void {
    assert(this.#finishCallback === null, 'the files are finished once');
    this.#finishCallback = callback;
    this.#queue = this.#queue.filter(change => change.type !== 'create');
    if (!this.#isRunning || this.#isStopped) this.#finish();
  }

  #add(change: Change): void {
    if (this.#isStopped) {
      if (change.type !== 'create') change.segment.close();
      return;
    }
    this.#queue.push(change);
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#next();
  }

  #next(): void {
    const change = this.#queue.shift();
    if (change?.type === 'create') this.#create();
    else if (change?.type === 'reuse') this.#reuse(change.segment);
    else if (change?.type === 'remove') this.#remove(change.segment);
    else if (this.#mustSync) this.#sync();
    else this.#finish();
  }

  #create(): void {
    const {disk, onSpaceMissing} = this.#parts;
    disk.create(this.#nextPath(), result => {
      if (!(result instanceof Error)) {
        this.#take(result, 0);
        return;
      }
      this.#comingCount--;
      if (this.#isStopped) return;
      if (!isOutOfSpace(result)) {
        this.#fail(result);
        return;
      }
      onSpaceMissing(result);
      this.#next();
    });
  }

  #reuse(segment: WalSegment): void {
    // The file stays open: what frees its blocks would be a removal, and nobody asks for one.
    this.#detach(segment, file => {
      this.#parts.disk.rename(segment.path, this.#nextPath(), error => {
        if (error === null) {
          this.#take(file, segment.filled);
          return;
        }
        this.#comingCount--;
        if (!this.#isStopped && isOutOfSpace(error)) {
          // Even a name may need space; a removal gives some back.
          this.#removeFile(segment.path, file);
          return;
        }
        file.closeSync();
        if (!this.#isStopped) this.#fail(error);
      });
    });
  }

  #remove(segment: WalSegment): void {
    this.#detach(segment, file => this.#removeFile(segment.path, file));
  }

  #detach(segment: WalSegment, callback: (file: DiskFile) => void): void {
    // Zeros may still be on their way to it, and the log may fail before they are there.
    segment.detach(file => {
      if (this.#isStopped) file.closeSync();
      else callback(file);
    });
  }

  #removeFile(path: string, file: DiskFile): void {
    this.#parts.disk.remove(path, error => {
      // The last reference frees the blocks. What a removed file's closing says is of no concern.
      file.close(() => {
        if (this.#isStopped) return;
        // Without space to remove it the file waits for the next start, which removes it.
        if (error !== null && !isOutOfSpace(error)) {
          this.#fail(error);
          return;
        }
        this.#mustSync = true;
        this.#next();
      });
    });
  }

  /** The file has the name of the next segment. */
  #take(file: DiskFile, filled: number): void {
    this.#lastSequence++;
    const {directory, incarnation, segmentSizeBytes: limit} = this.#parts;
    const fields = {file, incarnation, filled, limit};
    const segment = new WalSegment(directory, this.#lastSequence, fields);
    if (this.#isStopped) {
      segment.close();
      return;
    }
    this.#unsynced.push(segment);
    this.#mustSync = true;
    this.#next();
  }

  #sync(): void {
    const {disk, directory, onPrepared} = this.#parts;
    disk.syncDirectory(directory, error => {
      if (this.#isStopped) return;
      if (error !== null) {
        // Which names are on the disk nobody knows, and a second fsync would not tell.
        this.#fail(error);
        return;
      }
      this.#mustSync = false;
      const prepared = this.#unsynced.splice(0);
      this.#comingCount -= prepared.length;
      if (prepared.length > 0) onPrepared(prepared);
      this.#next();
    });
  }

  #nextPath(): string {
    return `${this.#parts.directory}/${segmentFileName(this.#lastSequence + 1)}`;
  }

  #fail(error: Error): void {
    this.#parts.onFailure(error);
    assert(this.#isStopped, 'who hears of a failure stops the log');
  }

  #finish(): void {
    this.#isRunning = false;
    const callback = this.#finishCallback;
    this.#finishCallback = null;
    callback?.();
  }
}
