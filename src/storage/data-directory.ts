/**
 * The directory that holds everything a member keeps: its layout and its permissions. It is opened
 * by one process at a time, which `directory-lock.ts` sees to.
 */
import fs from 'node:fs';
import path from 'node:path';
import {lockDirectory, lockNames} from './directory-lock.ts';
import type {DirectoryLock} from './directory-lock.ts';
import {makeDirectories} from './make-directories.ts';
import {freeSpaceAdvice, isOutOfSpace, StorageError} from './storage-error.ts';

export interface DataDirectory {
  readonly path: string;
  readonly identityFile: string;
  readonly startHistoryFile: string;
  readonly walDirectory: string;
  readonly checkpointDirectory: string;
  /** Emptied at start. */
  readonly temporaryDirectory: string;
  /** What the operator should know, one sentence each. */
  readonly warnings: readonly string[];
  /** Lets another process in. Nothing in the directory may be used afterwards. */
  release(): void;
}

type OpenCallback = (error: Error | null, directory: DataDirectory | null) => void;

/** Creates the directory if need be, checks that it can be used, and locks it. */
export function openDataDirectory(directory: string, callback: OpenCallback): void {
  const root = path.resolve(directory);
  const warnings: string[] = [];
  try {
    prepareRoot(root, warnings);
    refuseForeign(root);
  } catch (error) {
    callback(toStorageError(root, error), null);
    return;
  }
  lockDirectory(root, (error, lock) => {
    if (lock === null) {
      callback(toStorageError(root, error), null);
      return;
    }
    let occupied: DataDirectory;
    try {
      occupied = occupy(root, [...warnings, ...lock.warnings], lock);
    } catch (occupyError) {
      lock.release();
      callback(toStorageError(root, occupyError), null);
      return;
    }
    callback(null, occupied);
  });
}

/**
 * Moves what a member kept into `replaced/`, where only the last such member's stays, and leaves an
 * empty directory. The identity goes last, when all else is durably there: until then the next
 * start finds a member whose log is missing, which does not run, and with `-rejoin` this goes on.
 * `writeIdentity` puts the new identity in place of the former one. Returns where the former is.
 */
export function setDirectoryAside(directory: DataDirectory, writeIdentity: () => void): string {
  const aside = path.join(directory.path, 'replaced');
  const {identityFile, startHistoryFile, walDirectory, checkpointDirectory} = directory;
  const kept = path.join(aside, path.basename(identityFile));
  // One that is the same was put there by an attempt that a crash ended.
  if (fs.existsSync(kept) && !fs.readFileSync(kept).equals(fs.readFileSync(identityFile))) {
    fs.rmSync(aside, {recursive: true, force: true});
  }
  makeDirectories(aside);
  const peersFile = path.join(directory.path, 'peers.json');
  for (const item of [startHistoryFile, peersFile, walDirectory, checkpointDirectory]) {
    moveInto(aside, item);
  }
  for (const child of [walDirectory, checkpointDirectory]) makeDirectories(child);
  syncDirectory(aside);
  syncDirectory(directory.path);
  // Never there in part: it would pass for an earlier member's, and everything here be removed.
  const copy = `${kept}.tmp`;
  fs.copyFileSync(identityFile, copy);
  syncPath(copy);
  fs.renameSync(copy, kept);
  syncPath(aside);
  writeIdentity();
  return aside;
}

/** What is there stays: a start after a crash may have made the item anew. */
function moveInto(aside: string, item: string): void {
  if (!fs.existsSync(item)) return;
  const name = path.basename(item);
  let target = path.join(aside, name);
  if (fs.existsSync(target)) {
    if (fs.statSync(item).isDirectory() && fs.readdirSync(item).length === 0) return;
    for (let i = 2; fs.existsSync(target); i++) target = path.join(aside, `${name}-${i}`);
  }
  fs.renameSync(item, target);
}

function prepareRoot(root: string, warnings: string[]): void {
  const found = fs.statSync(root, {throwIfNoEntry: false});
  if (found?.isDirectory() === false) throw notUsable(root, 'it is not a directory');
  for (const made of makeDirectories(root)) syncDirectory(path.dirname(made));
  const stats = fs.statSync(root);
  fs.accessSync(root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  if ((stats.mode & 0o022) !== 0) {
    warnings.push(`${root} can be written by other users; run: chmod 700 ${root}`);
  }
}

/** What a data directory without an identity may hold: a first start may have ended early. */
const ownNames = new Set([
  ...lockNames,
  ...['tmp', 'wal', 'checkpoint', 'start-count.json', 'peers.json'],
  ...['prepared', 'replaced', 'lost+found'],
]);

const ownPrefixes = /^(before-|checkpoint\.damaged)/;

/** A start empties `tmp/`, and a mistyped directory may have one with somebody else's files. */
function refuseForeign(root: string): void {
  const names = fs.readdirSync(root);
  if (names.includes('identity.json') || !names.includes('tmp')) return;
  if (fs.readdirSync(path.join(root, 'tmp')).length === 0) return;
  const foreign = names.find(name => !ownNames.has(name) && !ownPrefixes.test(name));
  if (foreign === undefined) return;
  const problem = `it holds "${foreign}", and no node has kept its data there`;
  const advice = 'name an empty directory, or one that is not there yet, as -data';
  throw new StorageError(`${root} cannot be used as data directory: ${problem}`, {
    path: root,
    advice,
  });
}

function occupy(root: string, warnings: readonly string[], lock: DirectoryLock): DataDirectory {
  const temporaryDirectory = path.join(root, 'tmp');
  const walDirectory = path.join(root, 'wal');
  const checkpointDirectory = path.join(root, 'checkpoint');
  fs.rmSync(temporaryDirectory, {recursive: true, force: true});
  for (const child of [temporaryDirectory, walDirectory, checkpointDirectory]) {
    makeDirectories(child);
    fs.accessSync(child, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  }
  syncDirectory(root);
  syncDirectory(path.dirname(root));
  return {
    path: root,
    identityFile: path.join(root, 'identity.json'),
    startHistoryFile: path.join(root, 'start-count.json'),
    walDirectory,
    checkpointDirectory,
    temporaryDirectory,
    warnings,
    release: () => {
      lock.release();
    },
  };
}

function syncDirectory(directory: string): void {
  try {
    fs.accessSync(directory, fs.constants.R_OK);
  } catch {
    // A parent this user may not read; its entry was there before us or is the operator's affair.
    return;
  }
  syncPath(directory);
}

function syncPath(file: string): void {
  const descriptor = fs.openSync(file, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function notUsable(root: string, problem: string, cause?: unknown): StorageError {
  return new StorageError(`data directory ${root} cannot be used (${problem})`, {
    path: root,
    advice: isOutOfSpace(cause)
      ? freeSpaceAdvice
      : 'make it a directory this user can read and write, or choose another with -data',
    cause,
  });
}

function toStorageError(root: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  return notUsable(root, error instanceof Error ? error.message : String(error), error);
}
