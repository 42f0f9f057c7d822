/**
 * The files as they are, and nothing changes them: what recovery would cut off, rewrite or remove
 * at a start stays. For looking at the directory of a node that does not run.
 */
import fs from 'node:fs';
import {AssertionError} from '../base/assert.ts';
import type {Disk, DiskFile} from './disk.ts';
import {nodeDisk} from './node-disk.ts';

class ReadOnlyFile implements DiskFile {
  /** Null: the file would have been created, and is empty. */
  readonly #descriptor: number | null;

  constructor(file: string | null) {
    this.#descriptor = file === null ? null : fs.openSync(file, 'r');
  }

  readSync(target: Uint8Array, position: number): number {
    const descriptor = this.#descriptor;
    if (descriptor === null) return 0;
    let done = 0;
    while (done < target.length) {
      const rest = target.length - done;
      const count = fs.readSync(descriptor, target, done, rest, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  sizeBytes(): number {
    return this.#descriptor === null ? 0 : fs.fstatSync(this.#descriptor).size;
  }

  closeSync(): void {
    if (this.#descriptor !== null) fs.closeSync(this.#descriptor);
  }

  writeSync(): void {
    // As if it were written: nobody reads it back.
  }

  syncSync(): void {
    // Nothing was written.
  }

  truncateSync(): void {
    // As if it were cut.
  }

  write(): never {
    throw isOfflineOnly();
  }

  sync(): never {
    throw isOfflineOnly();
  }

  close(): never {
    throw isOfflineOnly();
  }
}

class ReadOnlyDisk implements Disk {
  openSync(file: string, mode: 'create' | 'open'): DiskFile {
    return new ReadOnlyFile(mode === 'open' ? file : null);
  }

  existsSync(file: string): boolean {
    return nodeDisk.existsSync(file);
  }

  listSync(directory: string): readonly string[] {
    return nodeDisk.listSync(directory);
  }

  makeDirectorySync(): void {
    // It is there or it is not.
  }

  renameSync(): void {
    // As if it were renamed.
  }

  removeSync(): void {
    // As if it were removed.
  }

  syncDirectorySync(): void {
    // Nothing has changed.
  }

  create(): never {
    throw isOfflineOnly();
  }

  open(): never {
    throw isOfflineOnly();
  }

  rename(): never {
    throw isOfflineOnly();
  }

  remove(): never {
    throw isOfflineOnly();
  }

  syncDirectory(): never {
    throw isOfflineOnly();
  }
}

function isOfflineOnly(): AssertionError {
  return new AssertionError('a node runs on a disk that it can write');
}

export const readOnlyDisk: Disk = new ReadOnlyDisk();
