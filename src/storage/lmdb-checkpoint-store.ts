/**
 * The checkpoint in LMDB. This thread only reads; everything that writes or copies happens in the
 * checkpoint's own thread, in the order it was asked for. What was opened at start is trusted as
 * far as its checksums go: a damaged row throws CheckpointDamagedError from the read that meets it.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert, must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import {pruneRowCountBehind} from '../kv/history-pruner.ts';
import type {RowRange} from '../kv/rows.ts';
import {CheckpointDirectory} from './checkpoint-directory.ts';
import {checkPages, createFirst, openAt, openEnvironment} from './checkpoint-opening.ts';
import {CheckpointDamagedError, decodeMeta, encodeMeta} from './checkpoint-row.ts';
import type {CheckpointSpace} from './checkpoint-space.ts';
import type {
  CheckpointMeta,
  CheckpointStore,
  SnapshotExport,
  SnapshotImport,
} from './checkpoint-store.ts';
import {CheckpointThread} from './checkpoint-thread.ts';
import type {Disk} from './disk.ts';
import type {LmdbEnvironment} from './lmdb-environment.ts';
import {LmdbSnapshotExport, LmdbSnapshotImport} from './lmdb-snapshot.ts';
import {makeDirectories} from './make-directories.ts';
import {nodeDisk} from './node-disk.ts';
import {cannotWriteError} from './storage-error.ts';

const exportPrefix = 'snapshot-';

type WriteArguments = Parameters<CheckpointStore['write']>;

export interface LmdbCheckpointOptions {
  /** The data directory; `checkpoint/` and `tmp/` in it are used. */
  readonly directory: string;
  /** What a copy leaves free on the disk; for tests on small ones. */
  readonly shrinkReserveSizeBytes?: number;
  /** Changes the name that says which environment is in force; nothing else goes through it. */
  readonly disk?: Disk;
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
  if (directory.isSuspicious()) {
    checkPages(directory.dataFile(current));
    directory.forgetLives();
  }
  directory.beginOpening();
  let opened;
  try {
    opened = openEnvironment(directory.dataFile(current));
  } finally {
    // Only a start that died in there counts, not one that was told why it cannot open the file.
    directory.endOpening();
  }
  directory.beginLife();
  directory.removeLeftovers(current);
  const reserveSizeBytes = options.shrinkReserveSizeBytes ?? limits.shrinkReserveSizeBytes;
  const disk = options.disk ?? nodeDisk;
  return new LmdbCheckpointStore({
    directory,
    disk,
    current,
    temporary,
    reserveSizeBytes,
    ...opened,
  });
}

/** What the store is made of, once its environment is open. */
interface OpenedCheckpoint {
  readonly directory: CheckpointDirectory;
  readonly disk: Disk;
  readonly current: string;
  readonly temporary: string;
  readonly reserveSizeBytes: number;
  readonly environment: LmdbEnvironment;
  readonly meta: CheckpointMeta;
}

export class LmdbCheckpointStore implements CheckpointStore {
  readonly #directory: CheckpointDirectory;
  readonly #disk: Disk;
  readonly #temporary: string;
  readonly #reserveSizeBytes: number;
  readonly #thread = new CheckpointThread(() => this.#openInThread(null));
  #current: string;
  #environment: LmdbEnvironment;
  #meta: CheckpointMeta;
  #isWriting = false;
  #isShrinking = false;
  /** Another environment is being put in force: what comes meanwhile waits. */
  #isSwitching = false;
  readonly #afterSwitch: (() => void)[] = [];
  /** Writes begun and snapshots installed: what a copy that began before does not hold. */
  #changeCount = 0;
  /** This life has written a checkpoint. */
  #isSettled = false;
  #isClosed = false;
  #nextStreamId = 1;
  /** Why nothing more is written. */
  #failure: Error | null = null;

  /** Use openLmdbCheckpointStore. */
  constructor(opened: OpenedCheckpoint) {
    this.#directory = opened.directory;
    this.#disk = opened.disk;
    this.#temporary = opened.temporary;
    this.#reserveSizeBytes = opened.reserveSizeBytes;
    this.#current = opened.current;
    this.#environment = opened.environment;
    this.#meta = opened.meta;
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

  write(...write: WriteArguments): void {
    assert(!this.#isWriting, 'one write at a time');
    assert(!this.#isClosed, 'the checkpoint is closed');
    this.#isWriting = true;
    this.#changeCount += 1;
    // To the old environment it would be lost: the next start may find the new one.
    if (this.#isSwitching) this.#afterSwitch.push(() => this.#write(...write));
    else this.#write(...write);
  }

  #write(...[frozen, meta, callback, prune = null]: WriteArguments): void {
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => {
        this.#isWriting = false;
        callback(failure, null);
      });
      return;
    }
    const environment = this.#environment;
    const pruneRowCountMax = pruneRowCountBehind(frozen.recordCount);
    const request = {records: frozen.share(), meta: encodeMeta(meta), prune, pruneRowCountMax};
    this.#thread.send({type: 'write', ...request}, (error, answer) => {
      this.#isWriting = false;
      // An installed snapshot has replaced what was written to; nobody waits for it any more.
      if (environment !== this.#environment) callback(null, null);
      else if (error !== null) callback(this.#note(error), null);
      else callback(this.#adopt(meta), answer?.bytes ?? null);
    });
  }

  exportSnapshot(callback: (error: Error | null, snapshot: SnapshotExport | null) => void): void {
    assert(!this.#isClosed, 'the checkpoint is closed');
    const copyId = this.#nextStreamId++;
    const directory = path.join(this.#temporary, `${exportPrefix}${process.pid}-${copyId}`);
    const reserveSizeBytes = this.#reserveSizeBytes;
    const request = {type: 'export', copyId, directory, reserveSizeBytes} as const;
    this.#thread.send(request, (error, answer) => {
      if (error !== null || answer === null) {
        callback(error, null);
        return;
      }
      const meta = decodeMeta(must(answer.bytes, 'an export has a meta'));
      const {sizeBytes} = answer;
      const nextStreamId = (): number => this.#nextStreamId++;
      callback(null, new LmdbSnapshotExport(this.#thread, {copyId, nextStreamId, meta, sizeBytes}));
    });
  }

  beginImport(meta: CheckpointMeta, sizeBytes = 0): SnapshotImport {
    assert(!this.#isClosed, 'the checkpoint is closed');
    const streamId = this.#nextStreamId++;
    const generation = this.#directory.nextGeneration();
    return new LmdbSnapshotImport(this.#thread, {
      streamId,
      meta,
      sizeBytes,
      path: this.#directory.dataFile(generation),
      install: callback => this.#install(generation, meta, callback),
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
        this.#switchTo(generation, this.#meta, failure => callback(failure, failure === null));
      }
    });
  }

  close(callback: () => void): void {
    assert(!this.#isClosed, 'the checkpoint is closed twice');
    this.#isClosed = true;
    const closeAll = (): void => {
      this.#thread.close(() => {
        this.#environment.close();
        this.#directory.forgetLives();
        callback();
      });
    };
    if (this.#isSwitching) this.#afterSwitch.push(closeAll);
    else closeAll();
  }

  /** After the thread's commit: reads see it from here on, and the index proves it. */
  #adopt(meta: CheckpointMeta): Error | null {
    try {
      this.#environment.refresh();
      const found = this.#environment.readMeta();
      assert(found?.index === meta.index, `wrote ${meta.index}, read back ${found?.index ?? -1}`);
      this.#meta = meta;
      // In its turn, before the thread ends: later it would take what another life has counted.
      if (!this.#isSettled) this.#removeInThread(this.#directory.unsettledFile());
      this.#isSettled = true;
      return null;
    } catch (error) {
      if (error instanceof CheckpointDamagedError) return this.#note(error);
      throw error;
    }
  }

  /** Every error but a full disk is the last one, and says which file it is about. */
  #note(error: Error): Error {
    if ('code' in error && error.code === 'ENOSPC') return error;
    const failure = asError(cannotWriteError(this.#environment.path, error));
    this.#failure = failure;
    this.#noteDamage(failure);
    return failure;
  }

  /** Damage that a read meets ends the process; the next start must know of it. */
  #noteDamage(error: unknown): unknown {
    if (error instanceof CheckpointDamagedError) this.#directory.markDamaged(error.message);
    return error;
  }

  #install(
    generation: string,
    meta: CheckpointMeta,
    callback: (error: Error | null) => void,
  ): void {
    assert(meta.index > this.#meta.index, 'snapshot % over %', meta.index, this.#meta.index);
    this.#changeCount += 1;
    const install = (): void => this.#switchTo(generation, meta, callback);
    // To a copy of what the snapshot replaces.
    if (this.#isSwitching) this.#afterSwitch.push(install);
    else install();
  }

  /**
   * Puts another environment in force and removes the one that was. Reads go on from the old one
   * until the new one is in force durably, then change over in one turn.
   */
  #switchTo(
    generation: string,
    meta: CheckpointMeta,
    callback: (error: Error | null) => void,
  ): void {
    assert(!this.#isSwitching, 'one switch at a time');
    this.#isSwitching = true;
    const done = (error: Error | null, environment: LmdbEnvironment | null): void => {
      this.#isSwitching = false;
      if (error === null) {
        this.#adoptEnvironment(generation, must(environment, 'an open environment'), meta);
        callback(null);
      } else {
        environment?.close();
        callback(this.#afterFailedSwitch(generation, error));
      }
      this.#goOn();
    };
    let environment: LmdbEnvironment;
    try {
      environment = openAt(this.#directory.dataFile(generation), meta);
    } catch (error) {
      process.nextTick(() => done(asError(error), null));
      return;
    }
    this.#directory.switchTo(generation, this.#disk, error => done(error, environment));
  }

  /** What waited for the switch; the rest waits on if that begins another. */
  #goOn(): void {
    if (this.#isSwitching) return;
    const next = this.#afterSwitch.shift();
    if (next === undefined) return;
    next();
    this.#goOn();
  }

  #adoptEnvironment(generation: string, environment: LmdbEnvironment, meta: CheckpointMeta): void {
    const replaced = this.#current;
    this.#environment.close();
    this.#environment = environment;
    this.#meta = meta;
    this.#current = generation;
    // A store that is closed has no thread; the next start removes what is left over.
    if (!this.#isClosed) this.#openInThread(path.join(this.#directory.root, replaced));
  }

  #afterFailedSwitch(generation: string, error: Error): Error {
    if (this.#directory.isCurrent(this.#current)) {
      this.#discard(generation);
      return error;
    }
    // The new environment may be in force after the next start or not: whatever was written to
    // either of them could be lost. So both stay, and nothing more is written.
    const failure = asError(cannotWriteError(this.#directory.root, error));
    this.#failure = failure;
    return failure;
  }

  #discard(generation: string): void {
    // A store that is closed has no thread; the next start removes what is left over.
    if (this.#isClosed) return;
    this.#removeInThread(path.dirname(this.#directory.dataFile(generation)));
  }

  #removeInThread(target: string): void {
    this.#thread.send({type: 'discard', path: target}, () => undefined);
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
