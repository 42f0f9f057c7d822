/**
 * Reads and writes past the page cache ("direct I/O", O_DIRECT), for large files that are read or
 * written once: through the cache they cost several times the processor time, and take the place of
 * what is needed again. Nothing depends on it: where the system, the file system or the memory is
 * not fit for it, the same goes through the cache.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';

const wasmPageSizeBytes = 64 * 1024;

/** Of the WebAssembly JavaScript API, which the types of Node leave to those of browsers. */
declare const WebAssembly: {
  readonly Memory: new (size: {readonly initial: number; readonly maximum: number}) => {
    readonly buffer: ArrayBuffer;
  };
};

/** For the flags of `open`; null: the system does not know it. */
export const directFlag: number | null =
  (fs.constants as {readonly O_DIRECT?: number}).O_DIRECT ?? null;

/**
 * Memory that begins where a page of memory does, as direct I/O wants it: what a Buffer has of its
 * own does not, this does. `sizeBytes`: a multiple of 64 KiB.
 */
export function makeDirectMemory(sizeBytes: number): Buffer {
  const pageCount = sizeBytes / wasmPageSizeBytes;
  try {
    return Buffer.from(new WebAssembly.Memory({initial: pageCount, maximum: pageCount}).buffer);
  } catch (error) {
    // It takes more address space than memory, and that may be limited.
    if (!(error instanceof RangeError)) throw error;
    return Buffer.allocUnsafeSlow(sizeBytes);
  }
}
