/**
 * A small JSON file that is replaced as a whole: after a crash it holds the old content or the new,
 * never a part of either. Its checksum tells damage from content. Format: docs/formats.md, "Data
 * directory".
 */
import path from 'node:path';
import {checksum} from '../base/checksum.ts';
import type {Disk} from './disk.ts';
import {StorageError} from './storage-error.ts';

const formatVersion = 1;
const sizeBytesMax = 1024 * 1024;

export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | {readonly [key: string]: JsonValue};

/** Durable at return. Calls for one file must not overlap. */
export function writeDurableFile(disk: Disk, file: string, content: JsonValue): void {
  const temporary = `${file}.tmp`;
  const sum = checksum(Buffer.from(JSON.stringify(content), 'utf8'));
  const text = `${JSON.stringify({formatVersion, checksum: sum, content})}\n`;
  disk.removeSync(temporary);
  const handle = disk.openSync(temporary, 'create');
  try {
    handle.writeSync(Buffer.from(text, 'utf8'), 0);
    handle.syncSync();
  } finally {
    handle.closeSync();
  }
  disk.renameSync(temporary, file);
  disk.syncDirectorySync(path.dirname(file));
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
  const sum = checksum(Buffer.from(JSON.stringify(content), 'utf8'));
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
