/**
 * The directory `checkpoint/`: which environment is in force, how one replaces another without a
 * moment in which neither is, and counts of what died while opening, using or copying one. Format:
 * docs/formats.md, "Checkpoint". Runs at start and when an environment replaces another.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import {assert} from '../base/assert.ts';
import {checksum} from '../base/checksum.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import type {Disk} from './disk.ts';
import {syncFile} from './lmdb-environment.ts';
import {makeDirectories} from './make-directories.ts';
import {cannotWriteError} from './storage-error.ts';

export const dataFileName = 'data.mdb';
const currentFileName = 'CURRENT';
const openingFileName = 'OPENING';
const damagedFileName = 'DAMAGED';
const shrinkingFileName = 'SHRINKING';
const unsettledFileName = 'UNSETTLED';
const generationPattern = /^[0-9]{6,12}$/;

/**
 * Starts in a row that may end while the environment is being opened. One is no proof of damage: a
 * node may be killed at any moment. LMDB crashes at every start when the file is what kills it.
 */
const failedOpenCountMax = 3;
/**
 * Lives in a row that ended without a checkpoint and not in order. So many are suspicious: opening
 * looks at little of a file, and what kills the process may be the first commit.
 */
const suspiciousLifeCount = 3;
/** The same about copying: LMDB walks through all pages, and a damaged one may crash it. */
const failedShrinkCountMax = 3;

export class CheckpointDirectory {
  readonly root: string;
  #newest = 0;

  constructor(dataDirectory: string) {
    this.root = path.join(dataDirectory, 'checkpoint');
    // Also where a damaged one was moved out of the way.
    for (const made of makeDirectories(this.root)) syncFile(path.dirname(made));
  }

  /** Name of the environment in force; null when none has been chosen. */
  readCurrent(): string | null {
    const file = path.join(this.root, currentFileName);
    let text;
    try {
      text = fs.readFileSync(file, 'latin1');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    }
    const [name = ''] = text.split('\n');
    if (!generationPattern.test(name) || text !== currentText(name)) {
      throw new CheckpointDamagedError(file, 'checksum');
    }
    return name;
  }

  /** Whether CURRENT names this environment and no other; false when it cannot be read. */
  isCurrent(name: string): boolean {
    try {
      return this.readCurrent() === name;
    } catch {
      return false;
    }
  }

  /** Puts a prepared directory in force; durable when the callback runs without error. */
  switchTo(name: string, disk: Disk, callback: (error: Error | null) => void): void {
    const prepared = path.join(this.root, name, currentFileName);
    disk.rename(prepared, path.join(this.root, currentFileName), error => {
      if (error === null) disk.syncDirectory(this.root, callback);
      else callback(error);
    });
  }

  /** As `prepareCurrent` and `switchTo`, for start-up. */
  switchSync(name: string): void {
    const directory = path.join(this.root, name);
    prepareCurrent(directory);
    fs.renameSync(path.join(directory, currentFileName), path.join(this.root, currentFileName));
    syncFile(this.root);
  }

  dataFile(name: string): string {
    return path.join(this.root, name, dataFileName);
  }

  generations(): readonly string[] {
    return fs.readdirSync(this.root).filter(name => generationPattern.test(name));
  }

  /** A name above all that exist or were handed out before. The directory is not created. */
  nextGeneration(): string {
    for (const name of this.generations()) this.#newest = Math.max(this.#newest, Number(name));
    this.#newest += 1;
    return String(this.#newest).padStart(6, '0');
  }

  remove(name: string): void {
    fs.rmSync(path.join(this.root, name), {recursive: true, force: true});
  }

  /** Removes every environment but `current`. */
  removeLeftovers(current: string): void {
    const leftovers = this.generations().filter(name => name !== current);
    // A crash may have come between the rename of CURRENT and its sync: what it named before goes
    // only when it is sure not to be named again.
    if (leftovers.length > 0) syncFile(this.root);
    for (const name of leftovers) this.remove(name);
  }

  /** Opening is refused from here on. Best effort: the reader that met the damage stops anyway. */
  markDamaged(problem: string): void {
    try {
      fs.writeFileSync(path.join(this.root, damagedFileName), `${problem}\n`, {mode: 0o600});
    } catch {
      // The disk may refuse this too; the damage will be met again.
    }
  }

  /**
   * Call before LMDB sees the file: throws when a read has met damage, or when the last starts all
   * died in there.
   */
  beginOpening(): void {
    const problem = readDamagedMark(this.root);
    if (problem !== null) {
      throw new CheckpointDamagedError(this.root, `the last run found: ${problem}`);
    }
    const file = path.join(this.root, openingFileName);
    const failedCount = readCount(file);
    if (failedCount >= failedOpenCountMax) {
      throw new CheckpointDamagedError(this.root, `${failedCount} starts died while opening it`);
    }
    try {
      fs.writeFileSync(file, String(failedCount + 1), {mode: 0o600});
    } catch (error) {
      throw cannotWriteError(file, error);
    }
  }

  endOpening(): void {
    fs.rmSync(path.join(this.root, openingFileName), {force: true});
  }

  /** Whether the file in force may be what ended the last lives. */
  isSuspicious(): boolean {
    return readCount(this.unsettledFile()) >= suspiciousLifeCount;
  }

  /** A life begins. Best effort: one that is not counted hides nothing for ever. */
  beginLife(): void {
    const file = this.unsettledFile();
    try {
      fs.writeFileSync(file, String(readCount(file) + 1), {mode: 0o600});
    } catch {
      // No space, perhaps.
    }
  }

  /** Counts the lives; to be removed once a life has written a checkpoint. */
  unsettledFile(): string {
    return path.join(this.root, unsettledFileName);
  }

  /** The life ends in order, or the file was looked at: it is not what ended those before. */
  forgetLives(): void {
    try {
      fs.rmSync(this.unsettledFile(), {force: true});
    } catch {
      // They count on.
    }
  }

  /** Call before LMDB copies the environment: throws when the last attempts all died in there. */
  beginShrinking(name: string): void {
    const file = path.join(this.root, name, shrinkingFileName);
    const failedCount = readCount(file);
    if (failedCount >= failedShrinkCountMax) {
      throw new Error(`the process died in each of the last ${failedCount} attempts`);
    }
    fs.writeFileSync(file, String(failedCount + 1), {mode: 0o600});
  }

  endShrinking(name: string): void {
    fs.rmSync(path.join(this.root, name, shrinkingFileName), {force: true});
  }
}

/** What a read met, when opening `checkpoint/` is refused for it; null: nothing. */
export function readDamagedMark(checkpointDirectory: string): string | null {
  const damaged = path.join(checkpointDirectory, damagedFileName);
  return fs.existsSync(damaged) ? fs.readFileSync(damaged, 'utf8').trim() : null;
}

/**
 * Makes a new directory durable, its entry in `checkpoint/` included, and with it the file that
 * puts it in force: only a rename is missing. Nothing changes by it. Takes its time.
 */
export function prepareCurrent(directory: string): void {
  const name = path.basename(directory);
  assert(generationPattern.test(name), 'not a checkpoint directory: %', name);
  const file = path.join(directory, currentFileName);
  fs.writeFileSync(file, currentText(name), {mode: 0o600});
  syncFile(file);
  syncFile(directory);
  syncFile(path.dirname(directory));
}

/**
 * Renames `checkpoint/`, so that the next opening begins with an empty one; the log is untouched.
 * One damaged checkpoint is kept, the larger of this one and the one that is there already: what
 * was begun anew and damaged again holds less to rescue. Returns where it is.
 */
export function moveDamagedCheckpointAside(dataDirectory: string): string {
  const damaged = path.join(dataDirectory, 'checkpoint');
  const target = path.join(dataDirectory, 'checkpoint.damaged');
  if (directorySizeBytes(target) > directorySizeBytes(damaged)) {
    // Renamed first: half removed it could be taken for one that is whole.
    const temporary = path.join(dataDirectory, 'tmp');
    const discarded = path.join(temporary, path.basename(target));
    makeDirectories(temporary);
    fs.rmSync(discarded, {recursive: true, force: true});
    fs.renameSync(damaged, discarded);
    syncFile(dataDirectory);
    fs.rmSync(discarded, {recursive: true, force: true});
    return target;
  }
  fs.rmSync(target, {recursive: true, force: true});
  fs.renameSync(damaged, target);
  syncFile(dataDirectory);
  return target;
}

/** Of all files in it; 0 when it does not exist. */
function directorySizeBytes(directory: string): number {
  if (!fs.existsSync(directory)) return 0;
  let sizeBytes = 0;
  for (const item of fs.readdirSync(directory, {withFileTypes: true})) {
    const child = path.join(directory, item.name);
    sizeBytes += item.isDirectory() ? directorySizeBytes(child) : fs.lstatSync(child).size;
  }
  return sizeBytes;
}

/** 0 when there is no such file, or no count in it: whoever wrote it may have lost its bytes. */
function readCount(file: string): number {
  if (!fs.existsSync(file)) return 0;
  const text = fs.readFileSync(file, 'latin1');
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
}

function currentText(name: string): string {
  const sum = checksum(Buffer.from(name, 'latin1')).toString(16).padStart(8, '0');
  return `${name}\n${sum}\n`;
}
