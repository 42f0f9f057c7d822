/**
 * The thread that writes checkpoints, copies them for other members or without their free pages,
 * and builds received ones, so that none of it stops the main thread. The only writer of the
 * environment. It sorts what it writes: neighbouring rows share pages.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import {parentPort, workerData} from 'node:worker_threads';
import {must, unreachable} from '../base/assert.ts';
import {pruneHistory} from '../kv/history-pruner.ts';
import type {PrunedRows} from '../kv/history-pruner.ts';
import {CheckpointDamagedError, decodeMeta, encodeMeta} from './checkpoint-row.ts';
import type {
  CheckpointError,
  CheckpointReply,
  CheckpointRequest,
  CheckpointRequestMessage,
  CheckpointRequestOf,
} from './checkpoint-worker-protocol.ts';
import {dataFileName, prepareCurrent} from './checkpoint-directory.ts';
import {ExitGate} from './exit-gate.ts';
import {GradualRemoval} from './gradual-removal.ts';
import {beginFreeList, LmdbEnvironment, messageOf} from './lmdb-environment.ts';
import {makeDirectories} from './make-directories.ts';
import {PackedRecords} from './packed-records.ts';
import {RecordOrder} from './record-order.ts';
import {decodePosition, encodePosition} from './snapshot-position.ts';
import {SnapshotBuilder, SnapshotCopy, SnapshotRows} from './snapshot-rows.ts';
import {systemErrorCode} from './storage-error.ts';

/** Below this much free space an I/O error of LMDB, which hides the reason, is taken for ENOSPC. */
const scarceSpaceBytes = 64 * 1024 * 1024;

/** Rows of a checkpoint that are written as one part of its transaction. */
const partRowCount = 256;

/** Of one read of a fresh copy. */
const readThroughSizeBytes = 1024 * 1024;

const errnoEio = 5;
const errnoEnospc = 28;
const errnoEdquot = 122;
const lmdbMapFull = -30792;

type Answer = Omit<CheckpointReply, 'id' | 'error'>;
const noAnswer: Answer = {bytes: null, sizeBytes: 0};

class CheckpointWorker {
  #environment: LmdbEnvironment | null = null;
  /** By copy id. */
  readonly #exports = new Map<number, SnapshotCopy>();
  /** By stream id. */
  readonly #readers = new Map<number, SnapshotRows>();
  readonly #imports = new Map<number, SnapshotBuilder>();
  /** Copies under way in LMDB's thread: an environment is not closed under them. */
  readonly #copies = new Set<Promise<void>>();
  readonly #removal = new GradualRemoval();
  #isClosing = false;

  /** The answer, or a promise of it for what LMDB does in its own thread. */
  perform(request: CheckpointRequest): Answer | Promise<Answer> {
    switch (request.type) {
      case 'open':
        return this.#open(request.path, request.remove);
      case 'write':
        return this.#write(request);
      case 'compact':
        return this.#compact(request.path, request.reserveSizeBytes);
      case 'discard':
        this.#removal.remove(request.path);
        return noAnswer;
      case 'export':
        return this.#export(request);
      case 'closeExport':
        this.#closeExport(request.copyId);
        return noAnswer;
      case 'openReader':
        return this.#openReader(request.copyId, request.streamId, request.after);
      case 'readBlock':
        return {bytes: this.#reader(request.streamId).next(request.memory), sizeBytes: 0};
      case 'closeReader':
        this.#readers.delete(request.streamId);
        return noAnswer;
      case 'beginImport':
        this.#requireSpace(path.dirname(request.path), request.sizeBytes);
        this.#imports.set(
          request.streamId,
          new SnapshotBuilder(request.path, decodeMeta(request.meta)),
        );
        return noAnswer;
      case 'beginStream': {
        const position = this.#import(request.streamId).begin();
        return {bytes: encodePosition(position), sizeBytes: 0};
      }
      case 'importBlock':
        this.#import(request.streamId).takeBlock(request.block);
        return noAnswer;
      case 'finishImport':
        this.#import(request.streamId).finish();
        this.#imports.delete(request.streamId);
        return noAnswer;
      case 'abortImport':
        this.#imports.get(request.streamId)?.close();
        this.#imports.delete(request.streamId);
        this.#removal.remove(request.directory);
        return noAnswer;
      case 'close':
        return this.#close();
      default:
        return unreachable(request);
    }
  }

  #open(file: string, remove: string | null): Answer {
    const replaced = this.#environment;
    this.#environment = new LmdbEnvironment(file);
    this.#afterCopies(() => {
      replaced?.close();
      if (remove !== null) this.#removal.remove(remove);
    }).catch(() => undefined);
    return noAnswer;
  }

  #write(request: CheckpointRequestOf<'write'>): Answer {
    const environment = must(this.#environment, 'no environment');
    const records = PackedRecords.fromShared(request.records);
    const order = new RecordOrder(records);
    for (let id = 0; id < records.recordCount; id++) order.add(id);
    order.update();
    try {
      environment.transaction(() => {
        writeInParts(environment, records, order.sortedView());
        environment.putMeta(decodeMeta(request.meta));
      });
    } catch (error) {
      throw withSpaceVerdict(error, environment.path);
    }
    environment.padFile();
    const prunedTo = prune(environment, request);
    if (prunedTo !== null) environment.padFile();
    return {bytes: prunedTo, sizeBytes: 0};
  }

  async #export(request: CheckpointRequestOf<'export'>): Promise<Answer> {
    const {copyId, directory, reserveSizeBytes} = request;
    const environment = must(this.#environment, 'no environment');
    makeDirectories(directory);
    const file = path.join(directory, dataFileName);
    try {
      this.#requireSpace(file, environment.usedSizeBytes() + reserveSizeBytes);
      await this.#awaited(environment.copyTo(file));
      const copy = new SnapshotCopy(directory);
      this.#exports.set(copyId, copy);
      return {bytes: encodeMeta(copy.meta), sizeBytes: fs.statSync(file).size};
    } catch (error) {
      this.#removal.remove(directory);
      throw withSpaceVerdict(error, environment.path);
    }
  }

  /** A copy that filled the disk would stop the log. */
  #requireSpace(file: string, sizeBytes: number): void {
    if (freeBytes(file) >= sizeBytes) return;
    // What goes piece by piece may be what is missing.
    this.#removal.finish();
    const available = freeBytes(file);
    if (available >= sizeBytes) return;
    throw Object.assign(new Error(`${sizeBytes} bytes are wanted, ${available} are free`), {
      code: 'ENOSPC',
    });
  }

  #closeExport(copyId: number): void {
    const copy = this.#exports.get(copyId);
    if (copy === undefined) return;
    this.#exports.delete(copyId);
    copy.close();
    this.#removal.remove(copy.directory);
  }

  async #compact(file: string, reserveSizeBytes: number): Promise<Answer> {
    const environment = must(this.#environment, 'no environment');
    const directory = path.dirname(file);
    fs.mkdirSync(directory, {mode: 0o700});
    try {
      this.#requireSpace(file, environment.usedSizeBytes() + reserveSizeBytes);
      await this.#awaited(this.#copyDurably(environment, file));
      return noAnswer;
    } catch (error) {
      this.#removal.remove(directory);
      throw withSpaceVerdict(error, environment.path);
    }
  }

  /** Checkpoints are written meanwhile: nothing here may hold up this thread. */
  async #copyDurably(environment: LmdbEnvironment, file: string): Promise<void> {
    await environment.copyTo(file);
    gate.run(() => beginFreeList(file));
    const copy = await fs.promises.open(file, 'r');
    try {
      await copy.sync();
      // LMDB wrote past the page cache. What the disk cannot give back is noticed now, while there
      // is another copy of it, and reads after the switch do not stop the main thread for the disk.
      const block = Buffer.allocUnsafe(readThroughSizeBytes);
      while (!this.#isClosing) {
        const {bytesRead} = await copy.read(block, 0, block.length, null);
        if (bytesRead === 0) break;
      }
    } finally {
      await copy.close();
    }
    prepareCurrent(path.dirname(file));
  }

  async #awaited(copy: Promise<void>): Promise<void> {
    this.#copies.add(copy);
    try {
      await copy;
    } finally {
      this.#copies.delete(copy);
    }
  }

  async #afterCopies(action: () => void): Promise<void> {
    await Promise.allSettled(this.#copies);
    gate.run(action);
  }

  async #close(): Promise<Answer> {
    this.#isClosing = true;
    await this.#afterCopies(() => {
      for (const copyId of this.#exports.keys()) this.#closeExport(copyId);
      for (const stream of this.#imports.values()) stream.close();
      this.#environment?.close();
      this.#environment = null;
      // Whoever ends has no time.
      this.#removal.finish();
    });
    return noAnswer;
  }

  #openReader(copyId: number, streamId: number, after: Uint8Array): Answer {
    const copy = must(this.#exports.get(copyId), 'no export %', copyId);
    this.#readers.set(streamId, new SnapshotRows(copy, decodePosition(after)));
    return noAnswer;
  }

  #reader(streamId: number): SnapshotRows {
    return must(this.#readers.get(streamId), 'no reader %', streamId);
  }

  #import(streamId: number): SnapshotBuilder {
    return must(this.#imports.get(streamId), 'no import %', streamId);
  }
}

/**
 * In a transaction of its own: the memory that LMDB keeps is that of its largest one. Null: there
 * was no space, and another checkpoint will try again; the rows are durable by now.
 */
function prune(
  environment: LmdbEnvironment,
  request: CheckpointRequestOf<'write'>,
): Uint8Array | null {
  const range = request.prune;
  if (range === null) return null;
  let prunedTo: Uint8Array | null = null;
  try {
    environment.transaction(() => {
      prunedTo = pruneHistory(prunedRows(environment), range, request.pruneRowCountMax);
    });
    return prunedTo;
  } catch (error) {
    const verdict = withSpaceVerdict(error, environment.path);
    if (systemErrorCode(verdict) === 'ENOSPC') return null;
    throw verdict;
  }
}

function prunedRows(environment: LmdbEnvironment): PrunedRows {
  return {
    get: rowKey => environment.get(rowKey),
    scan: (range, visit) => environment.scan(range, visit),
    delete: rowKey => environment.remove(rowKey),
  };
}

function writeInParts(
  environment: LmdbEnvironment,
  records: PackedRecords,
  ids: Uint32Array,
): void {
  const partsEnd = ids.length > partRowCount ? environment.partedRowCountMax() : 0;
  if (partsEnd > 0) environment.removeMeta();
  const parted = ids.subarray(0, partsEnd);
  for (let start = 0; start < parted.length; start += partRowCount) {
    const part = parted.subarray(start, start + partRowCount);
    environment.part(() => writeRows(environment, records, part));
  }
  writeRows(environment, records, ids.subarray(partsEnd));
}

function writeRows(environment: LmdbEnvironment, records: PackedRecords, ids: Uint32Array): void {
  for (const id of ids) {
    if (records.isDeleted(id)) environment.remove(records.keyView(id));
    else environment.put(records.keyView(id), records.valueView(id));
  }
}

/** LMDB reports a full disk as an I/O error when a write came out short. */
function withSpaceVerdict(error: unknown, file: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const {code} = error;
  const isShortWrite = code === errnoEio && freeBytes(file) < scarceSpaceBytes;
  if (code === errnoEnospc || code === errnoEdquot || code === lmdbMapFull || isShortWrite) {
    return Object.assign(new Error(`no space for the checkpoint: ${error.message}`), {
      code: 'ENOSPC',
    });
  }
  return error;
}

function freeBytes(file: string): number {
  const {bavail, bsize} = fs.statfsSync(path.dirname(file));
  return bavail * bsize;
}

function describeError(error: unknown): CheckpointError {
  const damagedPath = error instanceof CheckpointDamagedError ? error.path : null;
  return {message: messageOf(error), code: systemErrorCode(error), damagedPath};
}

/** A block has memory of its own, which moves to the other thread instead of being copied. */
function movedWith(request: CheckpointRequest, {bytes}: Answer): ArrayBuffer[] {
  if (request.type !== 'readBlock' || bytes === null) return [];
  return [bytes.buffer as ArrayBuffer];
}

const port = must(parentPort, 'checkpoint-worker runs as a worker thread');
const worker = new CheckpointWorker();
const gate = new ExitGate(workerData as SharedArrayBuffer);

port.on('message', ({id, request}: CheckpointRequestMessage) => {
  const succeed = (answer: Answer): void => {
    const reply: CheckpointReply = {id, error: null, ...answer};
    port.postMessage(reply, movedWith(request, answer));
    // With its last port closed the thread ends by itself.
    if (request.type === 'close') port.close();
  };
  const fail = (error: unknown): void => {
    const reply: CheckpointReply = {id, error: describeError(error), ...noAnswer};
    port.postMessage(reply);
  };
  if (!gate.enter()) return;
  try {
    const answer = worker.perform(request);
    if (answer instanceof Promise) answer.then(succeed, fail);
    else succeed(answer);
  } catch (error) {
    fail(error);
  } finally {
    gate.leave();
  }
});
