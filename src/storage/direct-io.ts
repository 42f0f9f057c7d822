/**
 * Reads and writes past the page cache ("direct I/O", O_DIRECT), for large files that are read or
 * written once: through the cache they cost several times the processor time, and take the place of
 * what is needed again. Whoever uses it goes through the cache where the system, the file system or
 * the memory is not fit for it.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {assert} from '../base/assert.ts';

const wasmPageSizeBytes = 64 * 1024;

interface WebAssemblyMemory {
  readonly Memory: new (size: {readonly initial: number; readonly maximum: number}) => {
    readonly buffer: ArrayBuffer;
  };
}

/** Its types are left to those of browsers. Node has it, unless it runs with `--jitless`. */
const {WebAssembly: webAssembly} = globalThis as {readonly WebAssembly?: WebAssemblyMemory};

/** For the flags of `open`; null: the system does not know it. */
export const directFlag: number | null =
  (fs.constants as {readonly O_DIRECT?: number}).O_DIRECT ?? null;

/**
 * Memory that begins where a page of memory does, as direct I/O wants it: what a Buffer has of its
 * own does not, this does. `sizeBytes`: a multiple of 64 KiB.
 */
export function makeDirectMemory(sizeBytes: number): Buffer {
  const pageCount = sizeBytes / wasmPageSizeBytes;
  assert(Number.isSafeInteger(pageCount), '% bytes are no whole pages', sizeBytes);
  if (webAssembly === undefined) return Buffer.allocUnsafeSlow(sizeBytes);
  try {
    return Buffer.from(new webAssembly.Memory({initial: pageCount, maximum: pageCount}).buffer);
  } catch (error) {
    // It takes more address space than memory, and that may be limited.
    if (!(error instanceof RangeError)) throw error;
    return Buffer.allocUnsafeSlow(sizeBytes);
  }
}
