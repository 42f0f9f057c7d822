/**
 * The highest start count seen of every peer's directory, kept in `peers.json`. The file is written
 * in the background, once for all counts that wait, one write at a time.
 */
import type {StartCounts} from '../node/peer-gate.ts';
import type {Disk} from '../storage/disk.ts';
import {isJsonObject, readDurableFile, replaceDurableFile} from '../storage/durable-file.ts';
import {isOutOfSpace} from '../storage/storage-error.ts';

/** Directories remembered; the ones seen first are forgotten first. */
const incarnationCountMax = 64;

export class StartCountsFile implements StartCounts {
  readonly #disk: Disk;
  readonly #file: string;
  readonly #counts = new Map<string, number>();
  /**
   * As of the last write that has ended. Durable, unless there was no space: a full disk must not
   * keep peers away, so what it refused is believed in memory, and written with a later connection.
   */
  #settled: ReadonlyMap<string, number>;
  /** Something in `#counts` is not in the file, nor on its way there. */
  #isUnsaved = false;
  #isWriting = false;
  #hasFailed = false;
  readonly #idleCallbacks: (() => void)[] = [];

  constructor(disk: Disk, file: string) {
    this.#disk = disk;
    this.#file = file;
    const content = readDurableFile(disk, file);
    if (isJsonObject(content)) {
      for (const [incarnation, count] of Object.entries(content)) {
        if (typeof count === 'number') this.#counts.set(incarnation, count);
      }
    }
    this.#settled = new Map(this.#counts);
  }

  get(incarnation: string): number {
    return this.#counts.get(incarnation) ?? 0;
  }

  record(incarnation: string, startCount: number, fail: (error: Error) => void): boolean {
    if (this.#counts.get(incarnation) !== startCount) {
      this.#counts.set(incarnation, startCount);
      for (const oldest of this.#counts.keys()) {
        if (this.#counts.size <= incarnationCountMax) break;
        this.#counts.delete(oldest);
      }
      this.#isUnsaved = true;
    }
    this.#maybeWrite(fail);
    return this.#settled.get(incarnation) === startCount;
  }

  /** Calls back once nothing is being written. Record nothing afterwards. */
  whenIdle(callback: () => void): void {
    if (this.#isWriting) this.#idleCallbacks.push(callback);
    else callback();
  }

  #maybeWrite(fail: (error: Error) => void): void {
    if (!this.#isUnsaved || this.#isWriting || this.#hasFailed) return;
    this.#isWriting = true;
    this.#isUnsaved = false;
    const written = new Map(this.#counts);
    replaceDurableFile(this.#disk, this.#file, Object.fromEntries(written), error => {
      this.#isWriting = false;
      if (error === null) {
        this.#settled = written;
        this.#maybeWrite(fail);
      } else if (isOutOfSpace(error)) {
        this.#settled = written;
        this.#isUnsaved = true;
      } else {
        this.#hasFailed = true;
        fail(error);
      }
      this.#maybeIdle();
    });
  }

  #maybeIdle(): void {
    if (this.#isWriting) return;
    for (const callback of this.#idleCallbacks.splice(0)) callback();
  }
}
