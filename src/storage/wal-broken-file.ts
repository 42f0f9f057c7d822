/**
 * What recovery cuts off a torn log is kept beside the segment, to look at: `<segment>.broken`.
 * Nothing reads these files, so the newest ones are enough, and none if there is no space.
 */
import path from 'node:path';
import type {Disk} from './disk.ts';
import {systemErrorCode} from './storage-error.ts';
import type {WalDirectory} from './wal-directory.ts';
import type {WalSegment} from './wal-segment.ts';

const suffix = '.broken';
const fileCountMax = 2;

/** Keeps `bytes` up to the zeros that end them. False: there is no space. */
export function keepBrokenBytes(
  wal: WalDirectory,
  segment: WalSegment,
  bytes: Uint8Array,
): boolean {
  const {disk, directory} = wal;
  const file = `${segment.path}${suffix}`;
  disk.removeSync(file);
  const older = disk.listSync(directory).filter(name => name.endsWith(suffix));
  // Names are in the order of the sequence numbers.
  for (const name of older.slice(0, Math.max(0, older.length - (fileCountMax - 1)))) {
    disk.removeSync(path.join(directory, name));
  }
  try {
    writeFile(disk, file, withoutZerosAtEnd(bytes));
    return true;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    disk.removeSync(file);
    return false;
  }
}

function writeFile(disk: Disk, file: string, bytes: Uint8Array): void {
  const opened = disk.openSync(file, 'create');
  try {
    opened.writeSync(bytes, 0);
    opened.syncSync();
  } finally {
    opened.closeSync();
  }
}

/** A segment is filled with zeros ahead of the log. */
function withoutZerosAtEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}
