/**
 * How processes that share a directory, and perhaps nothing else, find each other: each announces
 * itself by a unix socket with a path, and looks for the announcements of others. A path leads to
 * its socket from every network and pid namespace of one kernel, which abstract names do not.
 *
 * The order is the whole argument: 1. listen under an unfinished name, 2. rename to a finished one,
 * 3. look at all finished names, 4. be alone. Of two processes one renames first; the other looks
 * after its own rename, finds the first one's name, and is heard, because whoever has a finished
 * name listens until it withdraws or dies. So two are never alone together. Both may meet each
 * other, and then neither is.
 *
 * A finished name nobody listens to is therefore a dead process's, and since names are drawn at
 * random and never used twice, anyone may remove it at any time.
 */
import {randomBytes} from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import {systemErrorCode} from './storage-error.ts';

export interface Announcement {
  /** From here on others may be alone. */
  withdraw(): void;
}

export type AnnounceOutcome =
  /** Nobody else is, until the announcement is withdrawn. */
  | {readonly type: 'alone'; readonly announcement: Announcement}
  /** Another process has announced itself, or is about to. */
  | {readonly type: 'met'}
  /** Sockets do not work here: nothing is known about others. */
  | {readonly type: 'unheard'; readonly reason: string}
  | {readonly type: 'failed'; readonly error: Error};

type AnnounceCallback = (outcome: AnnounceOutcome) => void;

/** Silent: the name is there and nobody listens. An error leaves it open. */
type Presence = 'alive' | 'silent' | 'missing' | Error;

const finishedPattern = /^[0-9a-f]{16}$/;
const unfinishedPattern = /^[0-9a-f]{16}\.new$/;

/** What bind answers where the file system holds no sockets. */
const noSocketCodes = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/** `directory` belongs to the announcements alone. Calls back once, later or at once. */
export function announce(directory: string, callback: AnnounceCallback): void {
  let descriptor: number;
  try {
    descriptor = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch (error) {
    callback(failure(error));
    return;
  }
  // A socket's path is at most 107 bytes and silently cut behind them; this one is always short.
  const place = `/proc/self/fd/${descriptor}`;
  if (!fs.existsSync(place)) {
    fs.closeSync(descriptor);
    callback({type: 'unheard', reason: '/proc is not mounted'});
    return;
  }
  const announcement = new SocketAnnouncement(descriptor, place);
  announcement.begin(outcome => {
    if (outcome.type !== 'alone') announcement.withdraw();
    callback(outcome);
  });
}

class SocketAnnouncement implements Announcement {
  readonly #descriptor: number;
  /** The directory, whatever it is called by now. */
  readonly #place: string;
  readonly #name = randomBytes(8).toString('hex');
  // Nobody has business with this socket: that it answers is all there is to learn.
  readonly #server = net.createServer(socket => socket.destroy());

  constructor(descriptor: number, place: string) {
    this.#descriptor = descriptor;
    this.#place = place;
  }

  begin(callback: AnnounceCallback): void {
    const unfinished = this.#path(`${this.#name}.new`);
    this.#server.once('error', error => {
      const isNowhere = noSocketCodes.has(systemErrorCode(error) ?? '');
      callback(isNowhere ? {type: 'unheard', reason: error.message} : failure(error));
    });
    this.#server.listen({path: unfinished}, () => {
      // Who cannot be accepted has been heard all the same.
      this.#server.removeAllListeners('error').on('error', () => undefined);
      this.#server.unref();
      try {
        fs.renameSync(unfinished, this.#path(this.#name));
      } catch (error) {
        // Somebody who looked between bind and listen took it for a dead process's.
        callback(systemErrorCode(error) === 'ENOENT' ? {type: 'met'} : failure(error));
        return;
      }
      this.#hearItself(callback);
    });
  }

  withdraw(): void {
    removeName(this.#path(this.#name));
    this.#server.close();
    fs.closeSync(this.#descriptor);
  }

  /** Where a process does not hear itself, silence says nothing about others. */
  #hearItself(callback: AnnounceCallback): void {
    knock(this.#path(this.#name), presence => {
      if (presence === 'alive') this.#lookAround(callback);
      else if (presence === 'silent') callback({type: 'unheard', reason: 'sockets do not answer'});
      else if (presence === 'missing') callback({type: 'met'});
      else callback(failure(presence));
    });
  }

  #lookAround(callback: AnnounceCallback): void {
    let names: string[];
    try {
      names = fs.readdirSync(this.#place);
    } catch (error) {
      callback(failure(error));
      return;
    }
    if (names.includes(this.#name)) {
      const others = names.filter(name => name !== this.#name);
      this.#visit(others, 0, callback);
    } else {
      // Removed by someone who could not hear it, and who may be alone now.
      callback({type: 'met'});
    }
  }

  /** One after the other: a process takes one descriptor for it, however many there are. */
  #visit(others: readonly string[], position: number, callback: AnnounceCallback): void {
    const other = others[position];
    if (other === undefined) {
      callback({type: 'alone', announcement: this});
      return;
    }
    const isFinished = finishedPattern.test(other);
    if (!isFinished && !unfinishedPattern.test(other)) {
      this.#visit(others, position + 1, callback);
      return;
    }
    knock(this.#path(other), presence => {
      if (presence instanceof Error) {
        callback(failure(presence));
      } else if (presence === 'alive' && isFinished) {
        callback({type: 'met'});
      } else {
        // One that is still unfinished looks later than this one, and will meet it.
        if (presence === 'silent') removeName(this.#path(other));
        this.#visit(others, position + 1, callback);
      }
    });
  }

  #path(name: string): string {
    return `${this.#place}/${name}`;
  }
}

/** Whether somebody listens at `path`. */
function knock(path: string, callback: (presence: Presence) => void): void {
  let isAnswered = false;
  const socket = net.connect({path});
  const answer = (presence: Presence): void => {
    if (isAnswered) return;
    isAnswered = true;
    socket.destroy();
    callback(presence);
  };
  socket.once('connect', () => answer('alive'));
  socket.on('error', error => {
    switch (systemErrorCode(error)) {
      case 'ECONNREFUSED':
        answer('silent');
        break;
      case 'ENOENT':
        answer('missing');
        break;
      // So many wait to be accepted, by a process that is stopped perhaps, that no more may.
      case 'EAGAIN':
      // It listened, and left before it accepted: as good as met.
      case 'ECONNRESET':
        answer('alive');
        break;
      default:
        answer(error);
    }
  });
}

function removeName(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // What stays is asked, and found silent, again.
  }
}

function failure(error: unknown): AnnounceOutcome {
  return {type: 'failed', error: error instanceof Error ? error : new Error(String(error))};
}
