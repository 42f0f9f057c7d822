/**
 * A small JSON file that is replaced as a whole: after a crash it holds the old content or the new,
 * never a part of either. Its checksum tells damage from content. Format: docs/formats.md, "Data
 * directory".
 */
import {Buffer} from 'node:buffer';
import path from 'node:path';
import {checksum} from '../base/checksum.ts';
import type {Disk, DiskFile} from './disk.ts';
import {cannotWriteError, StorageError} from './storage-error.ts';

const formatVersion = 1;
const sizeBytesMax = 1024 * 1024;

export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | {readonly [key: string]: JsonValue};

/** Durable at return: for start-up. Calls for one file must not overlap. */
export function writeDurableFile(disk: Disk, file: string, content: JsonValue): void {
  try {
    replaceFile(disk, file, content);
  } catch (error) {
    throw cannotWriteError(file, error);
  }
}

function replaceFile(disk: Disk, file: string, content: JsonValue): void {
  const temporary = temporaryOf(file);
  disk.removeSync(temporary);
  const handle = disk.openSync(temporary, 'create');
  try {
    handle.writeSync(encode(content), 0);
    handle.syncSync();
  } finally {
    handle.closeSync();
  }
  disk.renameSync(temporary, file);
  disk.syncDirectorySync(path.dirname(file));
}

/**
 * The same for a node that runs: the main thread waits for nothing. Durable when the callback runs
 * without error. Calls for one file must not overlap.
 */
export function replaceDurableFile(
  disk: Disk,
  file: string,
  content: JsonValue,
  callback: (error: Error | null) => void,
): void {
  const temporary = temporaryOf(file);
  const bytes = encode(content);
  const fail = (error: Error): void => {
    const failure = cannotWriteError(file, error);
    callback(failure instanceof Error ? failure : error);
  };
  const unless =
    (next: () => void) =>
    (error: Error | null): void => {
      if (error === null) next();
      else fail(error);
    };
  const putInPlace = (): void => {
    const synced = unless(() => callback(null));
    const renamed = unless(() => disk.syncDirectory(path.dirname(file), synced));
    disk.rename(temporary, file, renamed);
  };
  const removed = unless(() => {
    disk.create(temporary, handle => {
      if (handle instanceof Error) fail(handle);
      else fill(handle, bytes, unless(putInPlace));
    });
  });
  disk.remove(temporary, removed);
}

/** Writes, syncs and closes; the first error is the one that is told. */
function fill(handle: DiskFile, bytes: Buffer, callback: (error: Error | null) => void): void {
  const close = (failure: Error | null): void => handle.close(error => callback(failure ?? error));
  handle.write(bytes, 0, writeError => {
    if (writeError === null) handle.sync(close);
    else close(writeError);
  });
}

function temporaryOf(file: string): string {
  return `${file}.tmp`;
}

function encode(content: JsonValue): Buffer {
  const sum = checksum(Buffer.from(JSON.stringify(content), 'utf8'));
  return Buffer.from(`${JSON.stringify({formatVersion, checksum: sum, content})}\n`, 'utf8');
}

/** Null when the file does not exist; throws StorageError when it is damaged. */
export function readDurableFile(disk: Disk, file: string): JsonValue {
  if (!disk.existsSync(file)) return null;
  const handle = disk.openSync(file, 'open');
  let bytes: Buffer;
  try {
    bytes = Buffer.alloc(Math.min(handle.sizeBytes(), sizeBytesMax));
    handle.readSync(bytes, 0);
  } finally {
    handle.closeSync();
  }
  return parse(file, bytes.toString('utf8'));
}

function parse(file: string, text: string): JsonValue {
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw damagedFileError(file, 'it is not JSON', error);
  }
  if (!isJsonObject(parsed)) throw damagedFileError(file, 'it is not an object');
  if (parsed['formatVersion'] !== formatVersion) {
    throw damagedFileError(file, `its format version is not ${formatVersion}`);
  }
  const content = parsed['content'];
  if (content === undefined) throw damagedFileError(file, 'it has no content');
  let canonical: string;
  try {
    canonical = JSON.stringify(content);
  } catch (error) {
    // What can be parsed cannot always be written: nesting has no bound, the stack has one.
    throw damagedFileError(file, 'it is nested too deeply', error);
  }
  const sum = checksum(Buffer.from(canonical, 'utf8'));
  if (parsed['checksum'] !== sum) throw damagedFileError(file, 'its checksum does not match');
  return content;
}

export function isJsonObject(
  value: JsonValue | undefined,
): value is {readonly [key: string]: JsonValue} {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function damagedFileError(file: string, problem: string, cause?: unknown): StorageError {
  return new StorageError(`${file} is damaged (${problem})`, {
    path: file,
    advice: 'put back the file from a backup, or move the data directory away and use -rejoin',
    cause,
  });
}
