/**
 * A checkpoint's file that nobody writes to, open for reading. A copy is read once, from its
 * beginning to its end, and thrown away, so its windows come past the page cache.
 */
import type {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {assert} from '../base/assert.ts';
import type {PageMeta} from './checkpoint-page.ts';
import {newestMeta} from './checkpoint-page.ts';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import {directFlag, makeDirectMemory} from './direct-io.ts';

/**
 * Read at once: a copy has its pages in the order of the tree. Half as much takes a tenth longer,
 * twice as much is no faster.
 */
const windowSizeBytes = 1024 * 1024;

/** What `readWindow` reads into. */
export function makeWindow(): Buffer {
  return makeDirectMemory(windowSizeBytes);
}

/** An open file and what its meta page says. Cursors share it. */
export class CheckpointFile {
  readonly path: string;
  readonly meta: PageMeta;
  readonly #descriptor: number;
  /** Past the page cache; null: it has to be the other way. */
  #direct: number | null;
  #isClosed = false;

  /** Throws CheckpointDamagedError, and the system's errors. */
  constructor(path: string) {
    this.path = path;
    this.#descriptor = fs.openSync(path, 'r');
    this.#direct = null;
    try {
      const meta = newestMeta(this.#descriptor);
      if (meta === null) throw new CheckpointDamagedError(path, 'neither meta page is valid');
      this.meta = meta;
      this.#direct = openDirect(path);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Bytes read, fewer at the end of the file. Throws the system's errors. */
  read(bytes: Buffer, position: number): number {
    assert(!this.#isClosed, 'the copy is closed');
    return fs.readSync(this.#descriptor, bytes, 0, bytes.length, position);
  }

  /** The same for many pages at once. `window`: of `makeWindow`; `position`: of a page. */
  readWindow(window: Buffer, position: number): number {
    assert(!this.#isClosed, 'the copy is closed');
    if (this.#direct === null) return this.read(window, position);
    try {
      return fs.readSync(this.#direct, window, 0, window.length, position);
    } catch {
      // Neither the file system nor the memory has to be fit for it. Other errors come again.
      fs.closeSync(this.#direct);
      this.#direct = null;
      return this.read(window, position);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#descriptor);
    if (this.#direct !== null) fs.closeSync(this.#direct);
  }
}

/** Null: it is not to be had here. */
function openDirect(path: string): number | null {
  if (directFlag === null) return null;
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | directFlag);
  } catch {
    return null;
  }
}
