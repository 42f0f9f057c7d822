/**
 * Pages one behind the other into a file that is read by nobody yet: gathered, and sent to the disk
 * part by part while more arrive.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';

const writeSizeBytes = 1024 * 1024;
/**
 * So much goes to the disk while the next part arrives: the end has little to wait for, and so has
 * the log of whoever shares the disk.
 */
const syncSizeBytes = 8 * writeSizeBytes;

export class PageOutput {
  readonly #descriptor: number;
  /**
   * Of the same file. The system tells each descriptor once what the disk could not take: what this
   * one hears nobody listens to, `sync` hears all of it again.
   */
  readonly #syncDescriptor: number;
  /** Where the part begins that nothing was done for yet. */
  #unsyncedPosition = 0;
  #isSyncing = false;
  /** Pages that are not in the file yet. */
  readonly #gathered = Buffer.allocUnsafeSlow(writeSizeBytes);
  #gatheredSize = 0;
  #position: number;
  #isClosed = false;

  /** Into a file that is there, from a byte on. */
  constructor(path: string, position: number) {
    this.#position = position;
    this.#descriptor = fs.openSync(path, 'r+');
    try {
      this.#syncDescriptor = fs.openSync(path, 'r');
    } catch (error) {
      fs.closeSync(this.#descriptor);
      throw error;
    }
  }

  append(pages: Buffer): void {
    if (this.#gatheredSize + pages.length > this.#gathered.length) this.flush();
    if (pages.length > this.#gathered.length) {
      this.#write(pages, this.#position);
      this.#position += pages.length;
    } else {
      this.#gathered.set(pages, this.#gatheredSize);
      this.#gatheredSize += pages.length;
    }
  }

  /** All that was appended is in the file. Returns where it ends. */
  flush(): number {
    this.#write(this.#gathered.subarray(0, this.#gatheredSize), this.#position);
    this.#position += this.#gatheredSize;
    this.#gatheredSize = 0;
    if (this.#position - this.#unsyncedPosition >= syncSizeBytes) this.#beginSync();
    return this.#position;
  }

  /** To the beginning of the file. */
  writeFirst(bytes: Buffer): void {
    this.#write(bytes, 0);
  }

  /** Durable when it returns: all that was written, and what others wrote to the file. */
  sync(): void {
    fs.fsyncSync(this.#descriptor);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#descriptor);
    if (!this.#isSyncing) fs.closeSync(this.#syncDescriptor);
  }

  /** In the thread pool. */
  #beginSync(): void {
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    this.#unsyncedPosition = this.#position;
    fs.fdatasync(this.#syncDescriptor, () => {
      this.#isSyncing = false;
      if (this.#isClosed) fs.closeSync(this.#syncDescriptor);
    });
  }

  #write(bytes: Buffer, position: number): void {
    let at = 0;
    while (at < bytes.length) {
      at += fs.writeSync(this.#descriptor, bytes, at, bytes.length - at, position + at);
    }
  }
}
