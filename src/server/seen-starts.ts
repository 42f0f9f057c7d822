/**
 * The last start seen of every peer's directory, kept in `peers.json`. The file is written in the
 * background, once for all starts that wait, one write at a time.
 */
import type {SeenStarts} from '../node/older-copies.ts';
import type {Disk} from '../storage/disk.ts';
import type {JsonValue} from '../storage/durable-file.ts';
import {isJsonObject, readDurableFile, replaceDurableFile} from '../storage/durable-file.ts';
import type {Start} from '../storage/start-history.ts';
import {isSameStart, lastStart, toStartHistory} from '../storage/start-history.ts';
import {isOutOfSpace} from '../storage/storage-error.ts';

/**
 * Directories remembered. Those that have not shown themselves for longest are forgotten first; of
 * the time before a start it is known in which order they had started.
 */
const incarnationCountMax = 64;

export class SeenStartsFile implements SeenStarts {
  readonly #disk: Disk;
  readonly #file: string;
  readonly #starts = new Map<string, Start>();
  /**
   * As of the last write that has ended. Durable, unless there was no space: a full disk must not
   * keep peers away, so what it refused is believed in memory, and written with a later connection.
   */
  #settled: ReadonlyMap<string, Start>;
  /** Something in `#starts` is not in the file, nor on its way there. */
  #isUnsaved = false;
  #isWriting = false;
  #hasFailed = false;
  readonly #idleCallbacks: (() => void)[] = [];

  constructor(disk: Disk, file: string) {
    this.#disk = disk;
    this.#file = file;
    const content = readDurableFile(disk, file);
    if (isJsonObject(content)) {
      for (const [incarnation, value] of Object.entries(content)) {
        const start = readStart(value);
        if (start !== null) this.#starts.set(incarnation, start);
      }
    }
    this.#settled = new Map(this.#starts);
  }

  get(incarnation: string): Start | null {
    return this.#starts.get(incarnation) ?? null;
  }

  record(incarnation: string, start: Start, fail: (error: Error) => void): boolean {
    const isKnown = isSameStart(this.get(incarnation), start);
    this.#starts.delete(incarnation);
    this.#starts.set(incarnation, start);
    if (!isKnown) {
      for (const oldest of this.#starts.keys()) {
        if (this.#starts.size <= incarnationCountMax) break;
        this.#starts.delete(oldest);
      }
      this.#isUnsaved = true;
    }
    this.#maybeWrite(fail);
    return isSameStart(this.#settled.get(incarnation) ?? null, start);
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
    const written = new Map(this.#starts);
    const content = Object.fromEntries([...written].map(([key, {...start}]) => [key, start]));
    replaceDurableFile(this.#disk, this.#file, content, error => {
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

/** Earlier builds kept the count alone. */
function readStart(value: JsonValue | undefined): Start | null {
  if (typeof value === 'number') return {count: value, mark: null};
  if (!isJsonObject(value)) return null;
  const {count, mark} = value;
  const history = toStartHistory(count, mark === null ? [] : [mark]);
  return history === null ? null : lastStart(history);
}
