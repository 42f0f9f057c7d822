/**
 * Disk over node:fs. Writes carry their position, because concurrent writes without one arrive in
 * any order; short writes are continued. Files 0600, directories 0700.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert} from '../base/assert.ts';
import type {Disk, DiskFile} from './disk.ts';
import {makeDirectories} from './make-directories.ts';
import {isOutOfSpace} from './storage-error.ts';

const directWriteSizeBytesMax = 256 * 1024;
const retryDelayMs = 100;

class NodeDiskFile implements DiskFile {
  readonly #descriptor: number;
  #isOpen = true;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  write(bytes: Uint8Array, position: number, callback: (error: Error | null) => void): void {
    assert(this.#isOpen, 'write to a closed file');
    if (bytes.length <= directWriteSizeBytesMax) {
      this.#writeDirectly(bytes, position, callback);
      return;
    }
    fs.write(this.#descriptor, bytes, 0, bytes.length, position, (error, count) => {
      if (error !== null) callback(error);
      else if (count === bytes.length) callback(null);
      else this.write(bytes.subarray(count), position + count, callback);
    });
  }

  /**
   * Into the page cache, which takes microseconds: a way through the thread pool and back costs
   * several times more. The disk itself is waited for in `sync`.
   */
  #writeDirectly(
    bytes: Uint8Array,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    try {
      this.writeSync(bytes, position);
    } catch (error) {
      process.nextTick(callback, error);
      return;
    }
    callback(null);
  }

  sync(callback: (error: Error | null) => void): void {
    assert(this.#isOpen, 'sync of a closed file');
    fs.fdatasync(this.#descriptor, callback);
  }

  writeSync(bytes: Uint8Array, position: number): void {
    assert(this.#isOpen, 'write to a closed file');
    let done = 0;
    while (done < bytes.length) {
      const rest = bytes.length - done;
      done += fs.writeSync(this.#descriptor, bytes, done, rest, position + done);
    }
  }

  syncSync(): void {
    assert(this.#isOpen, 'sync of a closed file');
    fs.fsyncSync(this.#descriptor);
  }

  truncateSync(sizeBytes: number): void {
    assert(this.#isOpen, 'truncation of a closed file');
    fs.ftruncateSync(this.#descriptor, sizeBytes);
  }

  readSync(target: Uint8Array, position: number): number {
    assert(this.#isOpen, 'read of a closed file');
    let done = 0;
    while (done < target.length) {
      const rest = target.length - done;
      const count = fs.readSync(this.#descriptor, target, done, rest, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  sizeBytes(): number {
    assert(this.#isOpen, 'size of a closed file');
    return fs.fstatSync(this.#descriptor).size;
  }

  close(callback: (error: Error | null) => void): void {
    assert(this.#isOpen, 'a file is closed once');
    this.#isOpen = false;
    fs.close(this.#descriptor, error => callback(error ?? null));
  }

  closeSync(): void {
    assert(this.#isOpen, 'a file is closed once');
    this.#isOpen = false;
    fs.closeSync(this.#descriptor);
  }
}

class NodeDisk implements Disk {
  openSync(file: string, mode: 'create' | 'open'): DiskFile {
    return new NodeDiskFile(fs.openSync(file, mode === 'create' ? 'wx+' : 'r+', 0o600));
  }

  existsSync(file: string): boolean {
    return fs.existsSync(file);
  }

  listSync(directory: string): readonly string[] {
    return fs.readdirSync(directory).sort();
  }

  makeDirectorySync(directory: string): void {
    // Each new level is an entry of its parent, which must be durable too.
    for (const made of makeDirectories(directory)) this.syncDirectorySync(path.dirname(made));
  }

  create(file: string, callback: (result: DiskFile | Error) => void): void {
    fs.open(file, 'wx+', 0o600, (error, descriptor) => {
      callback(error ?? new NodeDiskFile(descriptor));
    });
  }

  open(file: string, callback: (result: DiskFile | Error) => void): void {
    fs.open(file, 'r+', (error, descriptor) => {
      callback(error ?? new NodeDiskFile(descriptor));
    });
  }

  rename(source: string, target: string, callback: (error: Error | null) => void): void {
    fs.rename(source, target, callback);
  }

  remove(file: string, callback: (error: Error | null) => void): void {
    fs.unlink(file, error => callback(error?.code === 'ENOENT' ? null : error));
  }

  syncDirectory(directory: string, callback: (error: Error | null) => void): void {
    fs.open(directory, 'r', (openError, descriptor) => {
      if (openError !== null && isOutOfSpace(openError)) {
        // No descriptor is left: that passes, and says nothing about the disk. What comes after the
        // opening is final.
        // eslint-disable-next-line no-restricted-globals -- The simulator replaces this whole disk.
        setTimeout(() => this.syncDirectory(directory, callback), retryDelayMs);
        return;
      }
      if (openError !== null) {
        callback(openError);
        return;
      }
      fs.fsync(descriptor, error => fs.close(descriptor, () => callback(error)));
    });
  }

  renameSync(source: string, target: string): void {
    fs.renameSync(source, target);
  }

  removeSync(file: string): void {
    fs.rmSync(file, {recursive: true, force: true});
  }

  syncDirectorySync(directory: string): void {
    const descriptor = fs.openSync(directory, 'r');
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }
}

export const nodeDisk: Disk = new NodeDisk();
