/**
 * The checkpoint in LMDB. This thread only reads; everything that writes or copies happens in the
 * checkpoint's own thread, in the order it was asked for. What was opened at start is trusted as
 * far as its checksums go: a damaged row throws CheckpointDamagedError from the read that meets it.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert, must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import type {RowRange} from '../kv/rows.ts';
import {noIndex, noTerm} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {CheckpointDirectory} from './checkpoint-directory.ts';
import {CheckpointDamagedError, decodeMeta, encodeMeta} from './checkpoint-row.ts';
import type {CheckpointSpace} from './checkpoint-space.ts';
import type {
  CheckpointMeta,
  CheckpointStore,
  SnapshotExport,
  SnapshotImport,
} from './checkpoint-store.ts';
import {CheckpointThread} from './checkpoint-thread.ts';
import {checkFileLength, isSystemError, LmdbEnvironment, messageOf} from './lmdb-environment.ts';
import {LmdbSnapshotExport, LmdbSnapshotImport} from './lmdb-snapshot.ts';
import {makeDirectories} from './make-directories.ts';
import type {FrozenOverlay} from './overlay.ts';
import {StorageError} from './storage-error.ts';

const emptyMeta: CheckpointMeta = {index: noIndex, term: noTerm, membership: emptyMembership};
const exportPrefix = 'snapshot-';

export interface LmdbCheckpointOptions {
  /** The data directory; `checkpoint/` and `tmp/` in it are used. */
  readonly directory: string;
  /** What a shrink leaves free on the disk; for tests on small ones. */
  readonly shrinkReserveSizeBytes?: number;
}

/**
 * Opens the checkpoint, an empty one in a new data directory. Synchronous; throws
 * CheckpointDamagedError, see moveDamagedCheckpointAside.
 */
export function openLmdbCheckpointStore(options: LmdbCheckpointOptions): LmdbCheckpointStore {
  const temporary = path.join(options.directory, 'tmp');
  makeDirectories(temporary);
  for (const name of fs.readdirSync(temporary)) {
    if (!name.startsWith(exportPrefix)) continue;
    fs.rmSync(path.join(temporary, name), {recursive: true, force: true});
  }
  const directory = new CheckpointDirectory(options.directory);
  const current = directory.readCurrent() ?? createFirst(directory);
  directory.beginOpening();
  let opened;
  try {
    opened = openEnvironment(directory.dataFile(current));
  } finally {
    // Only a start that died in there counts, not one that was told why it cannot open the file.
    directory.endOpening();
  }
  directory.removeLeftovers(current);
  const reserveSizeBytes = options.shrinkReserveSizeBytes ?? limits.shrinkReserveSizeBytes;
  return new LmdbCheckpointStore({directory, current, temporary, reserveSizeBytes, ...opened});
}

/** What the store is made of, once its environment is open. */
interface OpenedCheckpoint {
  readonly directory: CheckpointDirectory;
  readonly current: string;
  readonly temporary: string;
  readonly reserveSizeBytes: number;
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta;
}

export class LmdbCheckpointStore implements CheckpointStore {
  readonly #directory: CheckpointDirectory;
  readonly #temporary: string;
  readonly #reserveSizeBytes: number;
  readonly #thread = new CheckpointThread();
  #current: string;
  #environment: LmdbEnvironment;
  #meta: CheckpointMeta;
  #isWriting = false;
  #isShrinking = false;
  /** Writes begun and snapshots installed: what a copy that began before does not hold. */
  #changeCount = 0;
  #isClosed = false;
  #nextStreamId = 1;
  /** Why nothing more is written. */
  #failure: Error | null = null;

  /** Use openLmdbCheckpointStore. */
  constructor(opened: OpenedCheckpoint) {
    this.#directory = opened.directory;
    this.#temporary = opened.temporary;
    this.#reserveSizeBytes = opened.reserveSizeBytes;
    this.#current = opened.current;
    this.#environment = opened.environment;
    this.#meta = opened.meta;
    this.#openInThread(null);
  }

  meta(): CheckpointMeta {
    return this.#meta;
  }

  /** Bytes of the data file. */
  sizeBytes(): number {
    return fs.statSync(this.#environment.path).size;
  }

  get(rowKey: Uint8Array): Uint8Array | undefined {
    try {
      return this.#environment.get(rowKey);
    } catch (error) {
      throw this.#noteDamage(error);
    }
  }

  scan(range: RowRange, visit: (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean): void {
    try {
      this.#environment.scan(range, visit);
    } catch (error) {
      throw this.#noteDamage(error);
    }
  }

  write(
    frozen: FrozenOverlay,
    meta: CheckpointMeta,
    callback: (error: Error | null) => void,
  ): void {
    assert(!this.#isWriting, 'one write at a time');
    assert(!this.#isClosed, 'the checkpoint is closed');
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure));
      return;
    }
    this.#isWriting = true;
    this.#changeCount += 1;
    const environment = this.#environment;
    const records = frozen.share();
    this.#thread.send({type: 'write', records, meta: encodeMeta(meta)}, error => {
      this.#isWriting = false;
      // An installed snapshot has replaced what was written to; nobody waits for it any more.
      if (environment !== this.#environment) callback(null);
      else callback(error === null ? this.#adopt(meta) : this.#note(error));
    });
  }

  exportSnapshot(callback: (error: Error | null, snapshot: SnapshotExport | null) => void): void {
    assert(!this.#isClosed, 'the checkpoint is closed');
    const streamId = this.#nextStreamId++;
    const directory = path.join(this.#temporary, `${exportPrefix}${process.pid}-${streamId}`);
    this.#thread.send({type: 'export', streamId, directory}, (error, answer) => {
      if (error !== null || answer === null) {
        callback(error, null);
        return;
      }
      const meta = decodeMeta(must(answer.bytes, 'an export has a meta'));
      const {sizeBytes} = answer;
      callback(null, new LmdbSnapshotExport(this.#thread, {streamId, meta, sizeBytes}));
    });
  }

  beginImport(meta: CheckpointMeta): SnapshotImport {
    assert(!this.#isClosed, 'the checkpoint is closed');
    const streamId = this.#nextStreamId++;
    const generation = this.#directory.nextGeneration();
    return new LmdbSnapshotImport(this.#thread, {
      streamId,
      meta,
      path: this.#directory.dataFile(generation),
      install: () => this.#install(generation, meta),
    });
  }

  space(): CheckpointSpace {
    return {sizeBytes: this.sizeBytes(), usedSizeBytes: this.#environment.usedSizeBytes()};
  }

  shrink(callback: (error: Error | null, hasShrunk: boolean) => void): void {
    assert(!this.#isShrinking, 'one shrink at a time');
    assert(!this.#isWriting, 'no shrink during a write');
    assert(!this.#isClosed, 'the checkpoint is closed');
    const source = this.#current;
    const changeCount = this.#changeCount;
    try {
      if (this.#failure !== null) throw this.#failure;
      this.#directory.beginShrinking(source);
    } catch (error) {
      process.nextTick(() => callback(asError(error), false));
      return;
    }
    this.#isShrinking = true;
    const generation = this.#directory.nextGeneration();
    const file = this.#directory.dataFile(generation);
    const reserveSizeBytes = this.#reserveSizeBytes;
    this.#thread.send({type: 'compact', path: file, reserveSizeBytes}, error => {
      this.#isShrinking = false;
      this.#directory.endShrinking(source);
      if (error !== null) {
        callback(error, false);
      } else if (changeCount !== this.#changeCount || this.#isClosed) {
        this.#discard(generation);
        callback(null, false);
      } else {
        const failure = this.#shrinkTo(generation);
        callback(failure, failure === null);
      }
    });
  }

  close(callback: () => void): void {
    assert(!this.#isClosed, 'the checkpoint is closed twice');
    this.#isClosed = true;
    this.#thread.close(() => {
      this.#environment.close();
      callback();
    });
  }

  /** After the thread's commit: reads see it from here on, and the index proves it. */
  #adopt(meta: CheckpointMeta): Error | null {
    try {
      this.#environment.refresh();
      const found = this.#environment.readMeta();
      assert(found?.index === meta.index, `wrote ${meta.index}, read back ${found?.index ?? -1}`);
      this.#meta = meta;
      return null;
    } catch (error) {
      if (error instanceof CheckpointDamagedError) return this.#note(error);
      throw error;
    }
  }

  /** Every error but a full disk is the last one. */
  #note(error: Error): Error {
    const isNoSpace = 'code' in error && error.code === 'ENOSPC';
    if (!isNoSpace) this.#failure = error;
    this.#noteDamage(error);
    return error;
  }

  /** Damage that a read meets ends the process; the next start must know of it. */
  #noteDamage(error: unknown): unknown {
    if (error instanceof CheckpointDamagedError) this.#directory.markDamaged(error.message);
    return error;
  }

  #install(generation: string, meta: CheckpointMeta): void {
    assert(meta.index > this.#meta.index, `snapshot ${meta.index} over ${this.#meta.index}`);
    this.#changeCount += 1;
    this.#switchTo(generation, meta);
  }

  /** Null: the copy is in force. */
  #shrinkTo(generation: string): Error | null {
    const replaced = this.#current;
    try {
      this.#switchTo(generation, this.#meta);
      return null;
    } catch (error) {
      // The copy may be in force after the next start or not: whatever was written to either of
      // them could be lost. Both hold the same now, so both stay, and nothing more is written.
      if (!this.#directory.isCurrent(replaced)) return this.#note(asError(error));
      this.#discard(generation);
      return asError(error);
    }
  }

  /** Puts another environment in force, durably, and removes the one that was. */
  #switchTo(generation: string, meta: CheckpointMeta): void {
    const file = this.#directory.dataFile(generation);
    const opened = openEnvironment(file);
    try {
      if (opened.meta.index !== meta.index) {
        const problem = `index ${opened.meta.index} instead of ${meta.index}`;
        throw new CheckpointDamagedError(file, problem);
      }
      this.#directory.writeCurrent(generation);
    } catch (error) {
      opened.environment.close();
      throw error;
    }
    const replaced = this.#current;
    this.#environment.close();
    this.#environment = opened.environment;
    this.#meta = opened.meta;
    this.#current = generation;
    this.#openInThread(path.join(this.#directory.root, replaced));
  }

  #discard(generation: string): void {
    // A store that is closed has no thread; the next start removes what is left over.
    if (this.#isClosed) return;
    const directory = path.dirname(this.#directory.dataFile(generation));
    this.#thread.send({type: 'discard', directory}, () => undefined);
  }

  #openInThread(remove: string | null): void {
    const file = this.#environment.path;
    this.#thread.send({type: 'open', path: file, remove}, error => {
      if (error !== null) this.#note(error);
    });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The first directory of a new store, holding an empty checkpoint. */
function createFirst(directory: CheckpointDirectory): string {
  // Without CURRENT there is at most one directory, from a start that was interrupted right here.
  for (const name of directory.generations()) {
    const file = directory.dataFile(name);
    if (fs.existsSync(file) && !isBlank(file)) {
      const {environment, meta} = openExisting(file);
      environment.close();
      const isFresh = meta === null || meta.index === noIndex;
      if (!isFresh) throw new CheckpointDamagedError(directory.root, 'CURRENT is missing');
    }
    directory.remove(name);
  }
  const name = directory.nextGeneration();
  fs.mkdirSync(path.dirname(directory.dataFile(name)), {mode: 0o700});
  const environment = new LmdbEnvironment(directory.dataFile(name));
  environment.transaction(() => environment.putMeta(emptyMeta));
  environment.padFile();
  environment.close();
  directory.writeCurrent(name);
  return name;
}

/** A file whose first bytes were lost with the power before anything was relied upon. */
function isBlank(file: string): boolean {
  return (
    fs.statSync(file).size <= blankSizeBytesMax && fs.readFileSync(file).every(byte => byte === 0)
  );
}

const blankSizeBytesMax = 64 * 1024;

function openEnvironment(file: string): {
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta;
} {
  if (!fs.existsSync(file)) throw new CheckpointDamagedError(file, 'missing');
  const {environment, meta} = openExisting(file);
  if (meta !== null) return {environment, meta};
  environment.close();
  throw new CheckpointDamagedError(file, 'no format row');
}

function openExisting(file: string): {
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta | null;
} {
  let environment: LmdbEnvironment | null = null;
  try {
    checkFileLength(file);
    environment = new LmdbEnvironment(file);
    return {environment, meta: environment.readMeta()};
  } catch (error) {
    environment?.close();
    if (error instanceof CheckpointDamagedError) throw error;
    if (!isSystemError(error)) throw new CheckpointDamagedError(file, 'cannot be opened', error);
    throw new StorageError(`${file} cannot be opened (${messageOf(error)})`, {
      path: file,
      advice: 'it is not known to be damaged; remove the cause and start again',
      cause: error,
    });
  }
}
