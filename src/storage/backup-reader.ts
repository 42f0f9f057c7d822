/** Reads a backup file from the disk, checked as a whole, in bounded memory. For offline use. */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {must} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {BackupChecker} from './backup-checker.ts';
import {BackupContentReader} from './backup-content.ts';
import type {BackupHead} from './backup-format.ts';
import {SnapshotDecoder, visitViews} from './snapshot-stream.ts';
import {StorageError} from './storage-error.ts';

const readSizeBytes = 1024 * 1024;

/** A backup file is not what was written. */
export class BackupDamagedError extends StorageError {
  override readonly name = 'BackupDamagedError';

  constructor(path: string, problem: string, cause?: unknown) {
    super(`${path} is not a whole backup (${problem})`, {
      path,
      advice: 'use another backup, or save a new one',
      cause,
    });
  }
}

export interface BackupSummary {
  readonly head: BackupHead;
  readonly sizeBytes: number;
  /** CRC-32 of everything before the end. */
  readonly checksum: number;
}

/**
 * Calls `onRow` for every row, in byte order of the row keys; both arguments are views. What was
 * visited is good only when this returns: the end of the file may prove the whole wrong. Throws
 * BackupDamagedError, and what the functions of `visit` throw.
 */
export function readBackup(
  file: string,
  visit: {
    /** Around the rows of one block. */
    readonly inBlock?: (takeRows: () => void) => void;
    readonly onRow?: (rowKeyView: Uint8Array, valueView: Uint8Array) => void;
  } = {},
): BackupSummary {
  const content = new BackupContentReader();
  const onRow = (rowKey: Uint8Array, value: Uint8Array): void => {
    content.takeRow(rowKey, value);
    visit.onRow?.(rowKey, value);
  };
  const inBlock = visit.inBlock ?? ((takeRows: () => void): void => takeRows());
  const decoders: SnapshotDecoder[] = [];
  const checker: BackupChecker = new BackupChecker(block => {
    let [decoder] = decoders;
    if (decoder === undefined) {
      const head = must(checker.head, 'a head before the blocks');
      decoder = new SnapshotDecoder(head, visitViews(onRow));
      decoders.push(decoder);
    }
    const rows = decoder;
    inBlock(() => rows.takeBlock(block));
  });
  try {
    pushFile(file, checker);
    const end = checker.finish();
    if (decoders[0]?.isComplete !== true) throw new MalformedBytesError('its blocks end early');
    const head = must(checker.head, 'a whole file has a head');
    const difference = content.differenceFrom(head);
    if (difference !== null) throw new MalformedBytesError(difference);
    return {head, sizeBytes: checker.sizeBytes, checksum: end.checksum};
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    throw new BackupDamagedError(file, error.message, error);
  }
}

function pushFile(file: string, checker: BackupChecker): void {
  const descriptor = openToRead(file);
  try {
    const chunk = Buffer.allocUnsafeSlow(readSizeBytes);
    for (;;) {
      const count = fs.readSync(descriptor, chunk, 0, chunk.length, null);
      if (count === 0) return;
      checker.push(chunk.subarray(0, count));
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

function openToRead(file: string): number {
  try {
    return fs.openSync(file, 'r');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StorageError(`${file} cannot be read (${reason})`, {
      path: file,
      advice: 'name a file that ./rosetta snapshot save wrote',
      cause: error,
    });
  }
}
