/**
 * The segments that a log's directory holds, as they are found: opened, their headers read, none of
 * them believed yet. Also how the first one is made.
 */
import {Buffer} from 'node:buffer';
import path from 'node:path';
import type {EntryId} from '../raft/entry.ts';
import type {Disk, DiskFile} from './disk.ts';
import {StorageError} from './storage-error.ts';
import type {WalOptions} from './wal-options.ts';
import type {SegmentHeader, WalIdentity} from './wal-segment.ts';
import {WalSegment, decodeSegmentHeader, segmentFileName, segmentSequence} from './wal-segment.ts';

export interface WalDirectory {
  readonly disk: Disk;
  readonly directory: string;
  readonly identity: WalIdentity;
  readonly options: WalOptions;
}

export interface SegmentCandidate {
  readonly sequence: number;
  readonly segment: WalSegment;
  /** Null: not in use, or damaged. */
  readonly header: SegmentHeader | null;
  readonly headerSizeBytes: number;
}

const headerReadSizeBytes = 64 * 1024;

/** In the order of their sequence numbers. */
export function openCandidates(wal: WalDirectory): SegmentCandidate[] {
  const {disk, directory, identity, options} = wal;
  const candidates: SegmentCandidate[] = [];
  for (const name of disk.listSync(directory)) {
    const sequence = segmentSequence(name);
    if (sequence === null) continue;
    const file = disk.openSync(path.join(directory, name), 'open');
    const bytes = readUpTo(file, headerReadSizeBytes);
    const reading = decodeSegmentHeader(bytes, {sequence, incarnation: identity.incarnation});
    const filled = file.sizeBytes();
    const limit = Math.max(options.segmentSizeBytes, filled);
    const segment = new WalSegment(directory, sequence, {
      file,
      incarnation: identity.incarnation,
      filled,
      limit,
    });
    if (reading.kind === 'foreign') throw foreignError(segment.path);
    if (reading.kind === 'unknown-version') {
      throw new StorageError(`${segment.path} has log format version ${reading.version}`, {
        path: segment.path,
        offset: 8,
        advice: 'use the version of Rosetta that wrote it',
      });
    }
    if (reading.kind === 'unused') {
      candidates.push({sequence, segment, header: null, headerSizeBytes: 0});
      continue;
    }
    checkOwner(segment.path, reading.header.identity, identity);
    const {header, sizeBytes} = reading;
    segment.previous = header.previous;
    segment.headerSizeBytes = sizeBytes;
    segment.end = sizeBytes;
    candidates.push({sequence, segment, header, headerSizeBytes: sizeBytes});
  }
  return candidates;
}

/** Removes segments that hold no log: what a first start left that was interrupted. */
export function removeSegments(wal: WalDirectory): void {
  for (const name of wal.disk.listSync(wal.directory)) {
    if (segmentSequence(name) !== null) wal.disk.removeSync(path.join(wal.directory, name));
  }
}

function foreignError(file: string): StorageError {
  return new StorageError(`${file} belongs to another member's log`, {
    path: file,
    advice: 'each member needs its own data directory; put the right files back',
  });
}

function checkOwner(file: string, found: WalIdentity, expected: WalIdentity): void {
  const isOurs =
    found.nodeId === expected.nodeId &&
    (found.clusterId === null || found.clusterId === expected.clusterId);
  if (!isOurs) throw foreignError(file);
}

function readUpTo(file: DiskFile, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(Math.min(sizeBytes, file.sizeBytes()));
  return bytes.subarray(0, file.readSync(bytes, 0));
}

/** The sequence number for a first segment: no file had it before. */
export function nextFreeSequence(disk: Disk, directory: string): number {
  let highest = 0;
  for (const name of disk.listSync(directory)) {
    highest = Math.max(highest, segmentSequence(name.replace(/\.broken$/, '')) ?? 0);
  }
  return highest + 1;
}

/** Creates, durably, the first segment of a log that begins after `header.previous`. */
export function createFirstSegment(
  wal: WalDirectory,
  sequence: number,
  bytes: Uint8Array,
  previous: EntryId,
): WalSegment {
  const {disk, directory, identity, options} = wal;
  const file = disk.openSync(path.join(directory, segmentFileName(sequence)), 'create');
  file.writeSync(bytes, 0);
  file.syncSync();
  disk.syncDirectorySync(directory);
  const segment = new WalSegment(directory, sequence, {
    file,
    incarnation: identity.incarnation,
    filled: bytes.length,
    limit: options.segmentSizeBytes,
  });
  segment.previous = previous;
  segment.headerSizeBytes = bytes.length;
  segment.end = bytes.length;
  return segment;
}
