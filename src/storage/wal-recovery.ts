/**
 * From the files of the log to what it says: finds the segments that belong to it, checks every
 * batch and entry, and tells a torn tail from corruption. Damage below the largest position that
 * any batch or header calls synced is corruption and throws; damage above it is what a crash leaves
 * behind and is cut off. What stays is rewritten where it may be in the page cache only, and synced:
 * after a failed fdatasync and a restart it could be readable and still not be on the disk.
 */
import path from 'node:path';
import {assert, must} from '../base/assert.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import {initialHardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import {indexBefore, minIndex, noIndex, noTerm} from '../raft/ids.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {Disk, DiskFile} from './disk.ts';
import {StorageError, WalCorruptionError} from './storage-error.ts';
import {TermRuns} from './term-runs.ts';
import {WalIndex} from './wal-index.ts';
import type {WalOptions} from './wal-options.ts';
import type {BatchHeader, WalPosition} from './wal-record.ts';
import {
  batchAlignment,
  batchNeedle,
  comparePositions,
  decodeBatchHeader,
  visitEntries,
} from './wal-record.ts';
import type {SegmentHeader, WalIdentity} from './wal-segment.ts';
import {
  WalSegment,
  decodeSegmentHeader,
  noteSuperseded,
  segmentFileName,
  segmentHeaderAlignment,
  segmentSequence,
} from './wal-segment.ts';

export interface RecoveredLog {
  /** Oldest first; the last one is continued. */
  readonly segments: readonly WalSegment[];
  readonly prepared: readonly WalSegment[];
  /** The entry before the first one. */
  readonly start: EntryId;
  readonly last: EntryId;
  readonly hardState: HardState;
  /** In force at `start`, then every membership entry. */
  readonly memberships: readonly MembershipRecord[];
  readonly terms: TermRuns;
  readonly index: WalIndex;
  readonly warnings: readonly string[];
  /** True: segments between these and older ones are missing. */
  readonly hasGap: boolean;
}

export interface RecoveryInput {
  readonly disk: Disk;
  readonly directory: string;
  readonly identity: WalIdentity;
  readonly options: WalOptions;
}

interface Candidate {
  readonly sequence: number;
  readonly segment: WalSegment;
  /** Null: not in use, or damaged. */
  readonly header: SegmentHeader | null;
  readonly headerSizeBytes: number;
}

/** Bytes at the start of a segment without a valid header that are searched for batches. */
const preparedProbeSizeBytes = 1024 * 1024;
const headerReadSizeBytes = 64 * 1024;
const preparedCountMax = 2;
const nothing: EntryId = {index: noIndex, term: noTerm};

/** Null: there is no log. Files without a valid header are then removed. */
export function recoverLog(input: RecoveryInput): RecoveredLog | null {
  const candidates = openCandidates(input);
  try {
    return new Recovery(input, candidates).run();
  } catch (error) {
    for (const {segment} of candidates) if (!segment.isClosing) segment.close();
    throw error;
  }
}

function openCandidates(input: RecoveryInput): Candidate[] {
  const {disk, directory, identity, options} = input;
  const candidates: Candidate[] = [];
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

class Recovery {
  readonly #input: RecoveryInput;
  readonly #candidates: readonly Candidate[];
  readonly #warnings: string[] = [];
  readonly #index = new WalIndex();
  #maxSynced: WalPosition = {sequence: 0, offset: 0};
  #segments: WalSegment[] = [];
  #memberships: MembershipRecord[] = [];
  #terms = new TermRuns(nothing);
  #start: EntryId = nothing;
  #last: EntryId = nothing;
  #hardState: HardState = initialHardState;
  /** Reused for one segment after the other. */
  #bytes = Buffer.alloc(0);

  constructor(input: RecoveryInput, candidates: readonly Candidate[]) {
    this.#input = input;
    this.#candidates = candidates;
  }

  run(): RecoveredLog | null {
    const newest = this.#candidates.findLastIndex(candidate => candidate.header !== null);
    this.#probeUnused(newest + 1);
    if (newest < 0) {
      for (const {segment} of this.#candidates) this.#remove(segment);
      return null;
    }
    const {oldest, hasGap} = this.#findOldest(newest);
    const run = this.#candidates.slice(oldest, newest + 1);
    const first = must(run[0], 'a segment');
    const firstHeader = must(first.header, 'the first header');
    this.#start = firstHeader.previous;
    this.#last = firstHeader.previous;
    this.#terms = new TermRuns(this.#start);
    this.#memberships = [firstHeader.membership];
    for (let i = 0; i < run.length; i++) this.#recoverSegment(run, i);
    for (const {segment} of this.#candidates.slice(0, oldest)) this.#remove(segment);
    const prepared = this.#keepPrepared(newest);
    for (const segment of this.#segments) segment.syncSync();
    this.#input.disk.syncDirectorySync(this.#input.directory);
    const commit = minIndex(this.#hardState.commit, this.#last.index);
    return {
      segments: this.#segments,
      prepared,
      start: this.#start,
      last: this.#last,
      hardState: {...this.#hardState, commit},
      memberships: this.#memberships,
      terms: this.#terms,
      index: this.#index,
      warnings: this.#warnings,
      hasGap,
    };
  }

  /** The segments that belong together end at `newest` and begin here. */
  #findOldest(newest: number): {oldest: number; hasGap: boolean} {
    for (let i = newest; ; i--) {
      const candidate = must(this.#candidates[i], 'a segment');
      const {header, sequence} = candidate;
      if (header === null) {
        throw new WalCorruptionError('its header is not valid', {
          path: candidate.segment.path,
          offset: 0,
        });
      }
      if (header.isStart) return {oldest: i, hasGap: false};
      const before = this.#candidates[i - 1];
      if (before === undefined) return {oldest: i, hasGap: false};
      if (before.sequence !== sequence - 1) return {oldest: i, hasGap: true};
    }
  }

  /** A segment whose header is not valid must not hold batches: they follow a durable header. */
  #probeUnused(from: number): void {
    for (const {segment} of this.#candidates.slice(from)) {
      const size = Math.min(segment.filled, preparedProbeSizeBytes);
      const bytes = this.#read(segment, size);
      const found = findBatch(bytes, segment, segmentHeaderAlignment);
      if (found === null) continue;
      throw new WalCorruptionError('its header is not valid, but batches follow', {
        path: segment.path,
        offset: 0,
      });
    }
  }

  #recoverSegment(run: readonly Candidate[], position: number): void {
    const {segment, header, headerSizeBytes} = must(run[position], 'a segment');
    const next = run[position + 1];
    assert(header !== null, 'a segment in use has a header');
    this.#checkChain(segment, header, position);
    this.#hardState = header.hardState;
    this.#segments.push(segment);
    const nextHeader = next === undefined ? null : must(next.header, 'a header');
    const bytes = this.#read(segment, segment.filled);
    const limit = nextHeader === null ? bytes.length : nextHeader.previousEnd;
    const end = this.#readBatches(segment, bytes, {from: headerSizeBytes, limit});
    segment.end = end;
    if (nextHeader !== null) {
      // The next header was written when everything before it was durable.
      if (end !== limit) throw damaged(segment, end);
      segment.limit = segment.filled;
      return;
    }
    this.#recoverTail(segment, bytes);
  }

  /** The last segment: what follows its last good batch is nothing, a torn tail, or corruption. */
  #recoverTail(segment: WalSegment, bytes: Buffer): void {
    const {end} = segment;
    const hasRemains = this.#scanRemains(segment, bytes, end);
    if (comparePositions({sequence: segment.sequence, offset: end}, this.#maxSynced) < 0) {
      throw damaged(segment, end);
    }
    if (hasRemains) {
      this.#input.disk.copySync(segment.path, `${segment.path}.broken`);
      this.#warnings.push(
        `${segment.path}: cut at byte ${end}, where a write was interrupted; ` +
          'the bytes behind it were never acknowledged and are kept in the .broken copy',
      );
      segment.truncateSync(end);
    }
    const isInside = this.#maxSynced.sequence === segment.sequence;
    const rewriteFrom = isInside ? this.#maxSynced.offset : 0;
    if (rewriteFrom < end) segment.writeSync(bytes.subarray(rewriteFrom, end), rewriteFrom);
    segment.limit = Math.max(this.#input.options.segmentSizeBytes, end);
    segment.filled = Math.max(Math.min(segment.filled, segment.limit), end);
  }

  #checkChain(segment: WalSegment, header: SegmentHeader, position: number): void {
    if (position === 0) return;
    const isNext =
      header.previous.index === this.#last.index && header.previous.term === this.#last.term;
    if (!isNext) {
      throw new WalCorruptionError(
        `it continues after entry ${header.previous.index}, the log ends at ${this.#last.index}`,
        {path: segment.path, offset: 33},
      );
    }
  }

  /** Returns the end of the last good batch. */
  #readBatches(
    segment: WalSegment,
    bytes: Buffer,
    range: {readonly from: number; readonly limit: number},
  ): number {
    let at = range.from;
    while (at < range.limit) {
      const available = range.limit - at;
      const place = {at, offset: at, segmentId: segment.id, available};
      const header = decodeBatchHeader(bytes, place);
      if (header === null || !this.#takeBatch(segment, bytes, at, header)) return at;
      at += header.sizeBytes;
    }
    return at;
  }

  #takeBatch(segment: WalSegment, bytes: Buffer, at: number, header: BatchHeader): boolean {
    this.#noteSynced(header.synced);
    if (header.entryCount > 0) {
      const entries: Entry[] = [];
      if (!visitEntries(bytes, at, header, entry => entries.push(entry))) return false;
      if (!this.#follows(entries)) return false;
      this.#takeEntries(segment, at, entries);
    }
    this.#hardState = header.hardState;
    return true;
  }

  /** Whether the entries can stand in the log: no gap, terms that do not fall. */
  #follows(entries: readonly Entry[]): boolean {
    const first = must(entries[0], 'an entry');
    if (first.index <= this.#start.index || first.index > this.#last.index + 1) return false;
    let term = must(this.#terms.at(indexBefore(first.index)), 'a term');
    for (const entry of entries) {
      if (entry.term < term) return false;
      term = entry.term;
    }
    return true;
  }

  #takeEntries(segment: WalSegment, offset: number, entries: readonly Entry[]): void {
    const firstIndex = must(entries[0], 'an entry').index;
    this.#index.note({firstIndex, lastIndex: this.#last.index, segment, offset});
    noteSuperseded(this.#segments, firstIndex);
    this.#terms.truncateAfter(indexBefore(firstIndex));
    while (must(this.#memberships.at(-1), 'a membership').index >= firstIndex) {
      this.#memberships.pop();
    }
    for (const entry of entries) {
      this.#terms.push(entry);
      if (entry.type === 'membership') {
        this.#memberships.push({index: entry.index, membership: decodeMembership(entry.data)});
      }
      this.#last = {index: entry.index, term: entry.term};
    }
  }

  /** Looks behind the last good batch; true when there is something of this use of the file. */
  #scanRemains(segment: WalSegment, bytes: Buffer, end: number): boolean {
    // The batch that stands here may have a good header and damaged entries: it was noted.
    let hasRemains = bytes.subarray(end).indexOf(batchNeedle(segment.id)) >= 0;
    let at = end;
    for (;;) {
      const found = findBatch(bytes, segment, at);
      if (found === null) return hasRemains;
      hasRemains = true;
      this.#noteSynced(found.header.synced);
      at = found.at + batchAlignment;
    }
  }

  #noteSynced(position: WalPosition): void {
    if (comparePositions(position, this.#maxSynced) > 0) this.#maxSynced = position;
  }

  #keepPrepared(newest: number): WalSegment[] {
    const prepared: WalSegment[] = [];
    let sequence = must(this.#candidates[newest], 'a segment').sequence;
    for (const {segment} of this.#candidates.slice(newest + 1)) {
      const isNext = segment.sequence === sequence + 1;
      if (!isNext || prepared.length === preparedCountMax) {
        this.#remove(segment);
        continue;
      }
      sequence++;
      segment.limit = this.#input.options.segmentSizeBytes;
      segment.filled = Math.min(segment.filled, segment.limit);
      prepared.push(segment);
    }
    return prepared;
  }

  #remove(segment: WalSegment): void {
    segment.close();
    this.#input.disk.removeSync(segment.path);
  }

  #read(segment: WalSegment, sizeBytes: number): Buffer {
    if (this.#bytes.length < sizeBytes) this.#bytes = Buffer.allocUnsafeSlow(sizeBytes);
    const bytes = this.#bytes.subarray(0, sizeBytes);
    const count = segment.readSync(bytes, 0);
    return bytes.subarray(0, count);
  }
}

/** The next batch with a valid header checksum at or behind `from`. */
function findBatch(
  bytes: Buffer,
  segment: WalSegment,
  from: number,
): {readonly at: number; readonly header: BatchHeader} | null {
  const needle = batchNeedle(segment.id);
  let at = bytes.indexOf(needle, from);
  while (at >= 0) {
    if (at % batchAlignment === 0) {
      const place = {at, offset: at, segmentId: segment.id, available: bytes.length - at};
      const header = decodeBatchHeader(bytes, place);
      if (header !== null) return {at, header};
    }
    at = bytes.indexOf(needle, at + 1);
  }
  return null;
}

function damaged(segment: WalSegment, offset: number): WalCorruptionError {
  return new WalCorruptionError('a batch that was durable is not valid', {
    path: segment.path,
    offset,
  });
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
  input: RecoveryInput,
  sequence: number,
  bytes: Uint8Array,
  previous: EntryId,
): WalSegment {
  const {disk, directory, identity, options} = input;
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

/** Membership records from the one in force at `index` on. */
export function membershipsFrom(
  records: readonly MembershipRecord[],
  index: LogIndex,
): MembershipRecord[] {
  const inForce = records.findLastIndex(record => record.index <= index);
  return records.slice(Math.max(0, inForce));
}
