/**
 * How often the member has started, and a mark drawn at each of the last starts; raised durably at
 * every start. Peers keep the last start that they saw. A directory that has not gone through it
 * was restored from a backup and may have forgotten promises: its count is lower, or another mark
 * is in that start's place, however often the restored copy was started since.
 */
import type {Disk} from './disk.ts';
import {StorageError} from './storage-error.ts';
import {damagedFileError, isJsonObject, readDurableFile, writeDurableFile} from './durable-file.ts';

export interface StartHistory {
  /** 0 before the first start. */
  readonly count: number;
  /** Of the last starts, 8 hex digits each, the newest last; not more than `count`. */
  readonly marks: readonly string[];
}

/** One start of a directory. */
export interface Start {
  readonly count: number;
  /** Null: seen by an earlier build, which kept counts alone. */
  readonly mark: string | null;
}

/** A peer that was away for more starts than this goes by the count alone. */
export const startMarkCountMax = 128;
const markPattern = /^[0-9a-f]{8}$/;

/** Null: they are no history. */
export function toStartHistory(count: unknown, marks: unknown): StartHistory | null {
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) return null;
  if (!Array.isArray(marks) || marks.length > Math.min(count, startMarkCountMax)) return null;
  return marks.every(isMark) ? {count, marks} : null;
}

function isMark(mark: unknown): mark is string {
  return typeof mark === 'string' && markPattern.test(mark);
}

/** Of a directory that has started. */
export function lastStart({count, marks}: StartHistory): Start {
  return {count, mark: marks.at(-1) ?? null};
}

export function isSameStart(a: Start | null, b: Start): boolean {
  return a?.count === b.count && a.mark === b.mark;
}

/** Whether a directory with this history has gone through `seen`, or may have, long ago. */
export function hasGoneThrough({count, marks}: StartHistory, seen: Start | null): boolean {
  if (seen === null) return true;
  if (count < seen.count) return false;
  const mark = marks[marks.length - 1 - (count - seen.count)];
  return mark === undefined || seen.mark === null || mark === seen.mark;
}

export function readStartHistory(disk: Disk, file: string): StartHistory {
  const content = readDurableFile(disk, file);
  if (content === null) return {count: 0, marks: []};
  // Earlier builds kept the count alone.
  const {count, marks = []} = isJsonObject(content) ? content : {};
  const history = toStartHistory(count, marks);
  if (history === null) throw damagedFileError(file, 'it holds no starts');
  return history;
}

/** Why a peer has said that the directory is an older copy; null: none has. */
export function readStale(disk: Disk, file: string): string | null {
  const content = readDurableFile(disk, file);
  const stale = isJsonObject(content) ? content['stale'] : undefined;
  return typeof stale === 'string' ? stale : null;
}

/** Throws StorageError when a peer has said that the directory is an older copy. */
export function refuseStale(disk: Disk, file: string): void {
  const stale = readStale(disk, file);
  if (stale === null) return;
  const advice = 'nothing else brings this node back';
  throw new StorageError(stale, {path: file, advice});
}

/**
 * A start; its history is durable at return. `mark`: 8 hex digits drawn for it. Throws as
 * `refuseStale` does.
 */
export function raiseStartHistory(disk: Disk, file: string, mark: string): StartHistory {
  refuseStale(disk, file);
  const raised = withStart(readStartHistory(disk, file), mark);
  writeDurableFile(disk, file, {...raised});
  return raised;
}

/**
 * Ends the starts of an older copy: with enough of them, what its peers saw would be too long ago
 * to tell. `detail`: why, as whoever starts it is told; durable at return.
 */
export function noteStale(disk: Disk, file: string, detail: string): void {
  writeDurableFile(disk, file, {...readStartHistory(disk, file), stale: detail});
}

export function withStart({count, marks}: StartHistory, mark: string): StartHistory {
  return {count: count + 1, marks: [...marks, mark].slice(-startMarkCountMax)};
}
