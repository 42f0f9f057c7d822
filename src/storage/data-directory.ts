/**
 * The directory that holds everything a member keeps: its layout, its permissions, and the lock
 * that keeps a second process out. The lock is an abstract unix socket, which the kernel frees when
 * the process dies, however it dies; the LOCK file says who holds it.
 */
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {makeDirectories} from './make-directories.ts';
import {StorageError, systemErrorCode} from './storage-error.ts';

export interface DataDirectory {
  readonly path: string;
  readonly identityFile: string;
  readonly startCountFile: string;
  readonly walDirectory: string;
  readonly checkpointDirectory: string;
  /** Emptied at start. */
  readonly temporaryDirectory: string;
  /** What the operator should know, one sentence each. */
  readonly warnings: readonly string[];
  /** Lets another process in. Nothing in the directory may be used afterwards. */
  release(): void;
}

interface LockHolder {
  readonly host: string;
  readonly bootId: string;
  readonly pid: number;
  /** Of the process, in clock ticks since boot; tells a reused pid. */
  readonly startTime: string;
}

type OpenCallback = (error: Error | null, directory: DataDirectory | null) => void;

/** Creates the directory if need be, checks that it can be used, and locks it. */
export function openDataDirectory(directory: string, callback: OpenCallback): void {
  const root = path.resolve(directory);
  const warnings: string[] = [];
  let name: string;
  try {
    prepareRoot(root, warnings);
    const {dev, ino} = fs.statSync(root, {bigint: true});
    name = `\0rosetta-${dev}-${ino}`;
  } catch (error) {
    callback(toStorageError(root, error), null);
    return;
  }
  lock(root, name, (error, server) => {
    if (error !== null) {
      callback(error, null);
      return;
    }
    try {
      callback(null, occupy(root, warnings, server));
    } catch (occupyError) {
      server?.close();
      callback(toStorageError(root, occupyError), null);
    }
  });
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

function occupy(root: string, warnings: string[], server: net.Server | null): DataDirectory {
  const lockFile = path.join(root, 'LOCK');
  const temporaryDirectory = path.join(root, 'tmp');
  const walDirectory = path.join(root, 'wal');
  const checkpointDirectory = path.join(root, 'checkpoint');
  fs.writeFileSync(lockFile, `${JSON.stringify(thisProcess())}\n`, {mode: 0o600});
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
    startCountFile: path.join(root, 'start-count.json'),
    walDirectory,
    checkpointDirectory,
    temporaryDirectory,
    warnings,
    release: () => {
      fs.rmSync(lockFile, {force: true});
      server?.close();
    },
  };
}

/** The server holds the lock; null where there are no abstract sockets and the file must do. */
function lock(
  root: string,
  name: string,
  callback: (error: StorageError | null, server: net.Server | null) => void,
): void {
  if (process.platform !== 'linux') {
    const holder = readHolder(root);
    callback(holder !== null && isAlive(holder) ? inUse(root, holder) : null, null);
    return;
  }
  // Nobody has business with this socket: whoever connects is sent away.
  const server = net.createServer(socket => socket.destroy());
  server.once('error', error => {
    const isHeld = systemErrorCode(error) === 'EADDRINUSE';
    callback(isHeld ? inUse(root, readHolder(root)) : toStorageError(root, error), null);
  });
  server.listen({path: name}, () => {
    // The lock alone keeps no process alive.
    server.unref();
    callback(null, server);
  });
}

function thisProcess(): LockHolder {
  return {
    host: os.hostname(),
    bootId: readText('/proc/sys/kernel/random/boot_id'),
    pid: process.pid,
    startTime: processStartTime(process.pid),
  };
}

function readHolder(root: string): LockHolder | null {
  try {
    const text = fs.readFileSync(path.join(root, 'LOCK'), 'utf8');
    const parsed = JSON.parse(text) as Partial<LockHolder> | null;
    if (typeof parsed?.pid !== 'number' || typeof parsed.host !== 'string') return null;
    const {host, pid, bootId = '', startTime = ''} = parsed;
    return {host, pid, bootId, startTime};
  } catch {
    // Who holds the lock is a courtesy of the message; that it is held does not depend on it.
    return null;
  }
}

function isAlive(holder: LockHolder): boolean {
  if (holder.host !== os.hostname() || holder.pid === process.pid) return false;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === 'EPERM';
  }
}

/** Field 22 of /proc/<pid>/stat, counted behind the command's name, which may hold spaces. */
function processStartTime(pid: number): string {
  const text = readText(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

function syncDirectory(directory: string): void {
  let descriptor: number;
  try {
    descriptor = fs.openSync(directory, 'r');
  } catch {
    // A parent this user may not read; its entry was there before us or is the operator's affair.
    return;
  }
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function inUse(root: string, holder: LockHolder | null): StorageError {
  const who = holder === null ? 'another process' : `process ${holder.pid} on ${holder.host}`;
  return new StorageError(`data directory ${root} is in use by ${who}`, {
    path: root,
    advice: 'stop it first, or choose another directory with -data',
  });
}

function notUsable(root: string, problem: string, cause?: unknown): StorageError {
  return new StorageError(`data directory ${root} cannot be used (${problem})`, {
    path: root,
    advice: 'make it a directory this user can read and write, or choose another with -data',
    cause,
  });
}

function toStorageError(root: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  return notUsable(root, error instanceof Error ? error.message : String(error), error);
}
