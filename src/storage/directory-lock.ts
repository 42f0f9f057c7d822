/**
 * The lock that keeps a second process out of a data directory. The kernel frees both of its parts
 * when the process dies, however it dies. First an abstract unix socket: the kernel lets one of all
 * processes in a network namespace have the name. Its winner announces itself in the directory,
 * where processes of other namespaces, containers that share a volume say, find it. Neither part
 * reaches another kernel. The LOCK file says who holds the lock and decides nothing.
 */
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {assert} from '../base/assert.ts';
import {announce} from './directory-lock-announcement.ts';
import type {AnnounceOutcome, Announcement} from './directory-lock-announcement.ts';
import {makeDirectories} from './make-directories.ts';
import {StorageError, systemErrorCode} from './storage-error.ts';

/** Who holds the lock, and where its winner announces itself. */
const lockName = 'LOCK';
export const holderName = 'holder';
/** What the lock keeps in a directory, also that of a process that was killed. */
export const lockNames: ReadonlySet<string> = new Set([lockName, holderName]);

export interface DirectoryLock {
  /** What the operator should know, one sentence each. */
  readonly warnings: readonly string[];
  /** Lets another process in. */
  release(): void;
}

interface LockHolder {
  readonly host: string;
  readonly bootId: string;
  readonly pid: number;
  /** Of the process, in clock ticks since boot; tells a reused pid. */
  readonly startTime: string;
}

/** What a process that holds the lock has. */
interface Hold {
  /** Null where there are no abstract sockets and the file must do. */
  readonly server: net.Server | null;
  /** Null where there are no sockets in the file system. */
  readonly announcement: Announcement | null;
  readonly warnings: readonly string[];
}

type LockCallback = (error: Error | null, lock: DirectoryLock | null) => void;

/** Directories that this process has locked: the LOCK file does not keep it out of its own. */
const ownRoots = new Set<string>();

/** Locks `root`, which exists. Tests announce in ways of their own. */
export function lockDirectory(root: string, callback: LockCallback, announceIn = announce): void {
  if (ownRoots.has(identityOf(root))) {
    callback(inUse(root, readHolder(root)), null);
    return;
  }
  if (process.platform !== 'linux') {
    const holder = readHolder(root);
    if (holder !== null && isAlive(holder)) callback(inUse(root, holder), null);
    else take(root, {server: null, announcement: null, warnings: []}, callback);
    return;
  }
  let announcements: string;
  let name: string;
  try {
    announcements = path.join(root, holderName);
    makeDirectories(announcements);
    const {dev, ino} = fs.statSync(root, {bigint: true});
    name = `\0rosetta-${dev}-${ino}`;
  } catch (error) {
    callback(toError(error), null);
    return;
  }
  claimName(root, name, (error, server) => {
    if (server === null) {
      callback(error, null);
      return;
    }
    announceIn(announcements, outcome => {
      decide(root, server, outcome, callback);
    });
  });
}

/** The server holds the name while it listens. */
function claimName(
  root: string,
  name: string,
  callback: (error: Error | null, server: net.Server | null) => void,
): void {
  // Nobody has business with this socket: whoever connects is sent away.
  const server = net.createServer(socket => socket.destroy());
  server.once('error', error => {
    const isHeld = systemErrorCode(error) === 'EADDRINUSE';
    callback(isHeld ? inUse(root, readHolder(root)) : error, null);
  });
  server.listen({path: name}, () => {
    // That a stranger cannot be accepted changes nothing in who has the name.
    server.removeAllListeners('error').on('error', () => undefined);
    // The lock alone keeps no process alive.
    server.unref();
    callback(null, server);
  });
}

function decide(
  root: string,
  server: net.Server,
  outcome: AnnounceOutcome,
  callback: LockCallback,
): void {
  switch (outcome.type) {
    case 'alone':
      take(root, {server, announcement: outcome.announcement, warnings: []}, callback);
      break;
    case 'unheard': {
      const warning =
        `processes in other containers are not kept out of ${root} (${outcome.reason}): ` +
        'make sure that none uses it';
      take(root, {server, announcement: null, warnings: [warning]}, callback);
      break;
    }
    case 'met':
      server.close();
      callback(inUse(root, readHolder(root)), null);
      break;
    case 'failed':
      server.close();
      callback(outcome.error, null);
  }
}

/** The lock is held; what remains is to say by whom. */
function take(root: string, hold: Hold, callback: LockCallback): void {
  const letGo = (): void => {
    hold.announcement?.withdraw();
    hold.server?.close();
  };
  try {
    fs.writeFileSync(lockFile(root), `${JSON.stringify(thisProcess())}\n`, {mode: 0o600});
  } catch (error) {
    letGo();
    callback(toError(error), null);
    return;
  }
  const identity = identityOf(root);
  ownRoots.add(identity);
  let isHeld = true;
  const release = (): void => {
    assert(isHeld, 'a lock is released once');
    isHeld = false;
    ownRoots.delete(identity);
    try {
      // Before the lock: afterwards it may be the next holder's.
      fs.rmSync(lockFile(root), {force: true});
    } finally {
      letGo();
    }
  };
  callback(null, {warnings: hold.warnings, release});
}

/** Of the directory itself, by whatever name it is given. */
function identityOf(root: string): string {
  try {
    const {dev, ino} = fs.statSync(root, {bigint: true});
    return ino === 0n ? fs.realpathSync(root) : `${dev}-${ino}`;
  } catch {
    return path.resolve(root);
  }
}

function lockFile(root: string): string {
  return path.join(root, lockName);
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
    const text = fs.readFileSync(lockFile(root), 'utf8');
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

function inUse(root: string, holder: LockHolder | null): StorageError {
  const who = holder === null ? 'another process' : `process ${holder.pid} on ${holder.host}`;
  return new StorageError(`data directory ${root} is in use by ${who}`, {
    path: root,
    advice: 'stop it first, or choose another directory with -data',
  });
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
