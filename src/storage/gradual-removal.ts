/**
 * Takes large files away piece by piece. A file system gives back a whole file in one piece of
 * work, and every fdatasync on the same disk waits for its end: a quarter of a second for 400 MB,
 * so with somewhat more the leader is silent for an election timeout. What is taken away here is of
 * no use to anybody any more; what is left of it when the process ends, the next start removes.
 */
import fs from 'node:fs';
import path from 'node:path';
import type {Clock, Timer} from '../base/clock.ts';

/** A file that is not larger goes at once. */
export const removalStepSizeBytes = 4 * 1024 * 1024;
/** Before every piece: 80 MB a second go, more than snapshots bring. */
const removalPauseMs = 50;

export class GradualRemoval {
  readonly #setTimer: Clock['setTimer'];
  /** Files and directories; the first one is being made shorter. */
  readonly #targets: string[] = [];
  #timer: Timer | null = null;

  constructor(setTimer = setSystemTimer) {
    this.#setTimer = setTimer;
  }

  /** A file or a directory, which need not exist. What holds no large file has gone on return. */
  remove(target: string): void {
    if (findLarge(target) === null) {
      removeAtOnce(target);
      return;
    }
    this.#targets.push(target);
    // Whoever had it mapped may still be about to let go.
    if (this.#timer === null) this.#continueLater();
  }

  /** Takes away at once what is left, and ends. */
  finish(): void {
    this.#timer?.cancel();
    this.#timer = null;
    for (const target of this.#targets.splice(0)) removeAtOnce(target);
  }

  #continueLater(): void {
    this.#timer = this.#setTimer(removalPauseMs, () => {
      this.#timer = null;
      this.#step();
    });
  }

  #step(): void {
    const [target] = this.#targets;
    if (target === undefined) return;
    const file = findLarge(target);
    if (file === null || !shorten(file)) {
      removeAtOnce(target);
      this.#targets.shift();
    }
    if (this.#targets.length > 0) this.#continueLater();
  }
}

interface LargeFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly inode: bigint;
}

/** Null also when the disk refuses to say: then it goes as a whole, or not. */
function findLarge(target: string): LargeFile | null {
  try {
    return findLargeIn(target);
  } catch {
    return null;
  }
}

/** A file that takes more than one step and that nobody else has under another name. */
function findLargeIn(target: string): LargeFile | null {
  const stats = fs.lstatSync(target, {bigint: true, throwIfNoEntry: false});
  if (stats === undefined) return null;
  if (stats.isDirectory()) {
    for (const name of fs.readdirSync(target)) {
      const file = findLargeIn(path.join(target, name));
      if (file !== null) return file;
    }
    return null;
  }
  const isAlone = stats.isFile() && stats.nlink === 1n;
  if (!isAlone || stats.size <= removalStepSizeBytes) return null;
  return {path: target, sizeBytes: Number(stats.size), inode: stats.ino};
}

/** False: it may only go as a whole. */
function shorten(file: LargeFile): boolean {
  if (isMapped(file)) return false;
  try {
    fs.truncateSync(file.path, file.sizeBytes - removalStepSizeBytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether this process may have the file in its memory: a look at a page behind its end would kill
 * it. A file of another disk with the same number counts, and so does every file where the system
 * does not say.
 */
function isMapped({path: file, inode}: LargeFile): boolean {
  const name = path.resolve(file);
  try {
    const maps = fs.readFileSync('/proc/self/maps', 'utf8');
    // With file systems on top of others the number may be that of the lower one.
    return maps
      .split('\n')
      .some(line => line.split(/ +/, 5)[4] === String(inode) || line.endsWith(name));
  } catch {
    return true;
  }
}

/** Best effort: what cannot be removed now the next start tries again. */
function removeAtOnce(target: string): void {
  try {
    fs.rmSync(target, {recursive: true, force: true});
  } catch {
    // The disk will say so to those who need it.
  }
}

function setSystemTimer(delayMs: number, callback: () => void): Timer {
  // eslint-disable-next-line no-restricted-globals -- The simulator has no such files.
  const timeout = setTimeout(callback, delayMs);
  return {cancel: () => clearTimeout(timeout)};
}
