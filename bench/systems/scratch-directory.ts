/**
 * A temporary directory on a real disk: fdatasync into memory would make every durable store look
 * fast. It is removed at the end, also when the benchmark fails.
 */
import {mkdirSync, mkdtempSync, rmSync, statfsSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const memoryFilesystems = new Set([0x01021994, 0x858458f6]);

/** `place` null: the first of the usual places that is on a disk. */
export function makeScratchDirectory(place: string | null): string {
  const candidates = place === null ? [os.tmpdir(), '/var/tmp', process.cwd()] : [place];
  if (place !== null) mkdirSync(place, {recursive: true});
  const chosen = candidates.find(candidate => !isInMemory(candidate));
  if (chosen === undefined) {
    throw new Error(`${candidates.join(', ')} is in memory; name a disk with --dir=DIR`);
  }
  const directory = mkdtempSync(path.join(chosen, 'rosetta-bench-'));
  process.on('exit', () => {
    // The children may still write while they die.
    rmSync(directory, {recursive: true, force: true, maxRetries: 5, retryDelay: 100});
  });
  return directory;
}

function isInMemory(directory: string): boolean {
  try {
    return memoryFilesystems.has(statfsSync(directory).type);
  } catch {
    return true;
  }
}
