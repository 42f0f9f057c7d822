/** Writes a large file from its beginning to its end, past the page cache where that can be. */
import type {Buffer} from 'node:buffer';
import type {FileHandle} from 'node:fs/promises';
import fs from 'node:fs/promises';
import {constants} from 'node:fs';
import {assert} from '../base/assert.ts';
import {directFlag, makeDirectMemory} from './direct-io.ts';

/** Of one write, which goes on while the bytes of the next one are gathered. */
const writeSizeBytes = 1024 * 1024;

/** One call at a time. After an error only `close` is of use. */
export class DirectFileWriter {
  readonly #file: FileHandle;
  /** The same file, past the page cache; null: it has to be the other way. */
  #direct: FileHandle | null;
  /** Being gathered, and maybe being written. */
  #gathered = makeDirectMemory(writeSizeBytes);
  #other = makeDirectMemory(writeSizeBytes);
  #gatheredSizeBytes = 0;
  #writing = Promise.resolve();
  /** Where the gathered bytes belong. */
  #position = 0;

  /** Use openDirectFileWriter. */
  constructor(file: FileHandle, direct: FileHandle | null) {
    this.#file = file;
    this.#direct = direct;
  }

  /** Takes a copy. Resolves when there is room for more; rejects with the system's errors. */
  async write(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      const piece = rest.subarray(0, writeSizeBytes - this.#gatheredSizeBytes);
      this.#gathered.set(piece, this.#gatheredSizeBytes);
      this.#gatheredSizeBytes += piece.length;
      rest = rest.subarray(piece.length);
      if (this.#gatheredSizeBytes === writeSizeBytes) await this.#writeGathered();
    }
  }

  /** All of it is on the disk when it resolves. */
  async finish(): Promise<void> {
    await this.#writing;
    // Not a whole number of blocks of the disk, which direct I/O asks for.
    await writeAll(this.#file, this.#gathered.subarray(0, this.#gatheredSizeBytes), this.#position);
    await this.#file.sync();
  }

  /** Safe at any time. */
  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
    try {
      await this.#giveUpDirect();
    } finally {
      await this.#file.close();
    }
  }

  async #writeGathered(): Promise<void> {
    await this.#writing;
    const full = this.#gathered;
    this.#writing = this.#writeWhole(full, this.#position);
    // Whoever awaits it hears of it.
    this.#writing.catch(() => undefined);
    this.#gathered = this.#other;
    this.#other = full;
    this.#gatheredSizeBytes = 0;
    this.#position += full.length;
  }

  async #writeWhole(bytes: Buffer, position: number): Promise<void> {
    if (this.#direct !== null) {
      try {
        await writeAll(this.#direct, bytes, position);
        return;
      } catch {
        // Not fit for it, most likely. Other errors come again, at the latest with `sync`.
        await this.#giveUpDirect().catch(() => undefined);
      }
    }
    await writeAll(this.#file, bytes, position);
  }

  async #giveUpDirect(): Promise<void> {
    const direct = this.#direct;
    this.#direct = null;
    await direct?.close();
  }
}

/** `file` must not be there yet. */
export async function openDirectFileWriter(file: string, mode: number): Promise<DirectFileWriter> {
  const handle = await fs.open(file, 'wx', mode);
  return new DirectFileWriter(handle, await openDirect(file, handle));
}

/** Null: it is not to be had, or the name stands for another file by now. */
async function openDirect(file: string, same: FileHandle): Promise<FileHandle | null> {
  if (directFlag === null) return null;
  let direct: FileHandle | null = null;
  try {
    direct = await fs.open(file, constants.O_WRONLY | constants.O_NOFOLLOW | directFlag);
    const [found, wanted] = await Promise.all([direct.stat(), same.stat()]);
    if (found.dev === wanted.dev && found.ino === wanted.ino) return direct;
    await direct.close();
  } catch {
    await direct?.close().catch(() => undefined);
  }
  return null;
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const rest = bytes.subarray(written);
    const {bytesWritten} = await file.write(rest, 0, rest.length, position + written);
    assert(bytesWritten > 0, 'a write makes progress');
    written += bytesWritten;
  }
}
