/**
 * How often the member has started, raised durably at every start. Peers refuse a count lower than
 * one they have seen: the directory was restored from a backup and may have forgotten promises.
 */
import type {Disk} from './disk.ts';
import {damagedFileError, isJsonObject, readDurableFile, writeDurableFile} from './durable-file.ts';

/** 0 before the first start. */
export function readStartCount(disk: Disk, file: string): number {
  const content = readDurableFile(disk, file);
  if (content === null) return 0;
  const count = isJsonObject(content) ? content['count'] : undefined;
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) {
    throw damagedFileError(file, 'its count is not a number');
  }
  return count;
}

/** Returns the count of this start, 1 for the first; durable at return. */
export function raiseStartCount(disk: Disk, file: string): number {
  const count = readStartCount(disk, file) + 1;
  writeDurableFile(disk, file, {count});
  return count;
}
