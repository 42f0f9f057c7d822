/**
 * Directories made one level at a time. Node's recursive mkdir goes round for ever where a parent
 * exists and refuses a child as if it did not, as /proc does.
 */
import fs from 'node:fs';
import path from 'node:path';
import {systemErrorCode} from './storage-error.ts';

/**
 * Makes `directory` and the parents that are missing, for this user only. Returns those that were
 * missing, outermost first. Throws Node's error, which names the level that could not be made.
 */
export function makeDirectories(directory: string): readonly string[] {
  const missing: string[] = [];
  let level = path.resolve(directory);
  while (!isDirectory(level) && level !== path.dirname(level)) {
    missing.unshift(level);
    level = path.dirname(level);
  }
  for (const made of missing) makeDirectory(made);
  return missing;
}

function makeDirectory(directory: string): void {
  try {
    fs.mkdirSync(directory, {mode: 0o700});
  } catch (error) {
    // Somebody else may have made it in the meantime.
    const isThere = systemErrorCode(error) === 'EEXIST' && isDirectory(directory);
    if (!isThere) throw error;
  }
}

function isDirectory(file: string): boolean {
  return fs.statSync(file, {throwIfNoEntry: false})?.isDirectory() === true;
}
