/**
 * One file of the write-ahead log: its name, its header, and the open file with what the log knows
 * about it. A file with operations in flight is closed when they have ended, never before: the
 * system would hand its descriptor to another file and the write would land there.
 */
import {Buffer} from 'node:buffer';
import path from 'node:path';
import {assert, must} from '../base/assert.ts';
import {ByteReader, ByteWriter, emptyBytes, MalformedBytesError, writeU64} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import type {EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {LogIndex} from '../raft/ids.ts';
import {isNodeId, logIndex, term} from '../raft/ids.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';
import type {Disk, DiskFile} from './disk.ts';
import type {SegmentContents} from './segment-contents.ts';
import {decodeContents, encodeContents} from './segment-contents.ts';
import {alignUp} from './wal-record.ts';

/** Whose log it is. `clusterId` is null until the cluster is formed. */
export interface WalIdentity {
  readonly clusterId: string | null;
  readonly nodeId: string;
  readonly incarnation: string;
}

export interface SegmentHeader {
  readonly sequence: number;
  /** True: earlier segments do not belong to the log. */
  readonly isStart: boolean;
  /** The entry before the first of this segment. */
  readonly previous: EntryId;
  /** Where the log left the preceding segment; 0 when it starts here. */
  readonly previousEnd: number;
  readonly hardState: HardState;
  /** In force at `previous`. */
  readonly membership: MembershipRecord;
  readonly identity: WalIdentity;
  /** Of the preceding segment; null when that is not stated. */
  readonly preceding: SegmentContents | null;
}

/** `unused`: not written by this use of the file, or not whole. */
export type SegmentHeaderReading =
  | {readonly kind: 'valid'; readonly header: SegmentHeader; readonly sizeBytes: number}
  | {readonly kind: 'foreign'}
  | {readonly kind: 'unknown-version'; readonly version: number}
  | {readonly kind: 'unused'};

export const segmentHeaderAlignment = 4096;
/** Seven members with long names take less than half of it, the preceding contents 7 KiB. */
export const segmentHeaderSizeBytesMax = 16 * 1024;
const formatVersion = 1;
const magic = Buffer.from('RSTAWAL\0', 'latin1');
const fixedSizeBytes = 32;
const crcStart = 20;

export function segmentFileName(sequence: number): string {
  return `${String(sequence).padStart(16, '0')}.wal`;
}

/** Null for a file that is not a segment. */
export function segmentSequence(fileName: string): number | null {
  const match = /^([0-9]{16})\.wal$/.exec(fileName);
  const sequence = match === null ? 0 : Number(match[1]);
  return sequence > 0 && Number.isSafeInteger(sequence) ? sequence : null;
}

export function segmentId(sequence: number, incarnation: string): number {
  const bytes = Buffer.alloc(8);
  writeU64(bytes, sequence, 0);
  return checksum(bytes, checksum(Buffer.from(incarnation, 'utf8')));
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const {identity, hardState, previous} = header;
  assert(header.membership.index <= previous.index, 'a membership of a later entry');
  assert(previous.index > 0 || previous.term === 0, 'a term before the first entry');
  const writer = new ByteWriter(segmentHeaderAlignment);
  writer.raw(new Uint8Array(fixedSizeBytes));
  writer.u8(header.isStart ? 1 : 0);
  writer.u64(previous.index);
  writer.u64(previous.term);
  writer.u64(header.previousEnd);
  writer.u64(hardState.term);
  writer.u64(hardState.commit);
  writer.string(hardState.vote ?? '');
  writer.u64(header.membership.index);
  writer.bytes(encodeMembership(header.membership.membership));
  writer.string(identity.clusterId ?? '');
  writer.string(identity.nodeId);
  writer.string(identity.incarnation);
  const contents = encodeContents(header.preceding);
  const doesFit = writer.length + contents.length + 2 <= segmentHeaderSizeBytesMax;
  writer.bytes(doesFit ? contents : emptyBytes);
  const bytes = Buffer.alloc(alignUp(writer.length, segmentHeaderAlignment));
  assert(bytes.length <= segmentHeaderSizeBytesMax, 'a segment header of % bytes', bytes.length);
  const id = segmentId(header.sequence, identity.incarnation);
  bytes.set(writer.contentView());
  bytes.set(magic);
  bytes.writeUInt32LE(formatVersion, 8);
  bytes.writeUInt32LE(bytes.length, 12);
  bytes.writeUInt32LE(id, 20);
  writeU64(bytes, header.sequence, 24);
  bytes.writeUInt32LE(checksum(bytes.subarray(crcStart), id), 16);
  return bytes;
}

/** `bytes`: the file from its start; `sequence`: what its name says. */
export function decodeSegmentHeader(
  bytes: Buffer,
  expected: {readonly sequence: number; readonly incarnation: string},
): SegmentHeaderReading {
  if (bytes.length < fixedSizeBytes) return {kind: 'unused'};
  if (!bytes.subarray(0, magic.length).equals(magic)) return {kind: 'unused'};
  const id = segmentId(expected.sequence, expected.incarnation);
  const reading = readHeader(bytes, {sequence: expected.sequence, id});
  const version = bytes.readUInt32LE(8);
  if (version === formatVersion) return reading;
  // The checksum does not hold the version, so what is whole as a header of this one has no other:
  // its version is damaged. Whoever changes the format sees to it that the checksum differs.
  const isOther = reading.kind === 'unused' && bytes.readUInt32LE(20) === id;
  return isOther ? {kind: 'unknown-version', version} : {kind: 'unused'};
}

/** Whatever its version is. */
function readHeader(
  bytes: Buffer,
  expected: {readonly sequence: number; readonly id: number},
): SegmentHeaderReading {
  const {id} = expected;
  const storedId = bytes.readUInt32LE(20);
  const sizeBytes = bytes.readUInt32LE(12);
  const isSizeSane =
    sizeBytes <= Math.min(bytes.length, segmentHeaderSizeBytesMax) &&
    sizeBytes >= segmentHeaderAlignment &&
    sizeBytes % segmentHeaderAlignment === 0;
  if (!isSizeSane) return {kind: 'unused'};
  const sum = checksum(bytes.subarray(crcStart, sizeBytes), storedId);
  if (sum !== bytes.readUInt32LE(16)) return {kind: 'unused'};
  try {
    const header = parseHeader(new ByteReader(bytes.subarray(0, sizeBytes), 24));
    // Left from the use of the file under another sequence number.
    if (header.sequence !== expected.sequence) return {kind: 'unused'};
    // The checksum begins with the id and is seeded with it, so it holds whatever the id is.
    const ownId = segmentId(header.sequence, header.identity.incarnation);
    if (storedId !== ownId) return {kind: 'unused'};
    if (ownId !== id) return {kind: 'foreign'};
    return {kind: 'valid', header, sizeBytes};
  } catch (error) {
    if (error instanceof MalformedBytesError) return {kind: 'unused'};
    throw error;
  }
}

function parseHeader(reader: ByteReader): SegmentHeader {
  const sequence = reader.u64();
  const isStart = reader.u8() === 1;
  const previousIndex = logIndex(reader.u64());
  const previous: EntryId = {index: previousIndex, term: term(reader.u64())};
  const previousEnd = reader.u64();
  const hardStateTerm = term(reader.u64());
  const commit = logIndex(reader.u64());
  const vote = reader.string();
  if (vote !== '' && !isNodeId(vote)) throw new MalformedBytesError('not a node id');
  const membershipIndex = logIndex(reader.u64());
  const membership = decodeMembership(reader.bytesView());
  const isPossible =
    membershipIndex <= previous.index && (previous.index > 0 || previous.term === 0);
  if (!isPossible) throw new MalformedBytesError('fields that contradict each other');
  const clusterId = reader.string();
  const identity: WalIdentity = {
    clusterId: clusterId === '' ? null : clusterId,
    nodeId: reader.string(),
    incarnation: reader.string(),
  };
  // Headers of earlier builds end here; the zeros behind them are the length of no contents.
  const preceding = reader.remaining === 0 ? null : decodeContents(reader.bytesView());
  return {
    sequence,
    isStart,
    previous,
    previousEnd,
    hardState: {term: hardStateTerm, vote: vote === '' ? null : vote, commit},
    membership: {index: membershipIndex, membership},
    identity,
    preceding,
  };
}

export class WalSegment {
  readonly sequence: number;
  readonly path: string;
  readonly id: number;
  readonly #file: DiskFile;
  /**
   * The same file, opened again for zeros. The system tells each open file once what the disk could
   * not take: with one for both, the sync of zeros would hear of the batch's bytes, and the batch's
   * own sync of nothing.
   */
  #zerosFile: DiskFile | null = null;
  #operationCount = 0;
  #isClosing = false;
  /** What becomes of the file when its last operation has ended. */
  #onIdle: (() => void) | null = null;
  /** The entry before this segment's first; set when the header is written. */
  previous: EntryId | null = null;
  /** Bytes of the header; batches begin here. */
  headerSizeBytes = 0;
  /** End of the last batch written, exclusive; 0 before the header is. */
  end = 0;
  /** Bytes from the start of the file that have blocks on the disk. Invariant: end ≤ filled. */
  filled: number;
  /** On the monotonic clock of this start; set when the next segment begins. */
  closedAtMs = 0;
  /** End of the batch that waits to be written; filling goes at least so far. */
  wanted = 0;
  /** Where filling stops: the usual segment size, or what one large batch needs. */
  limit: number;
  /**
   * False when a batch of this or a later segment supersedes an entry of an earlier one: the log
   * cannot be made to start here, `previous` is not what precedes it any more.
   */
  isCleanStart = true;

  constructor(
    directory: string,
    sequence: number,
    fields: {
      readonly file: DiskFile;
      readonly incarnation: string;
      readonly filled: number;
      readonly limit: number;
    },
  ) {
    this.sequence = sequence;
    this.path = path.join(directory, segmentFileName(sequence));
    this.id = segmentId(sequence, fields.incarnation);
    this.#file = fields.file;
    this.filled = fields.filled;
    this.limit = fields.limit;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  write(bytes: Uint8Array, position: number, callback: (error: Error | null) => void): void {
    assert(!this.#isClosing, 'write to % while it closes', this.path);
    this.#operationCount++;
    this.#file.write(bytes, position, error => this.#onDone(error, callback));
  }

  sync(callback: (error: Error | null) => void): void {
    assert(!this.#isClosing, 'sync of % while it closes', this.path);
    this.#operationCount++;
    this.#file.sync(error => this.#onDone(error, callback));
  }

  /** Must have succeeded before `fill`; opens the file once. */
  prepareFill(disk: Disk, callback: (error: Error | null) => void): void {
    assert(!this.#isClosing, 'opening of % while it closes', this.path);
    if (this.#zerosFile !== null) {
      callback(null);
      return;
    }
    this.#operationCount++;
    disk.open(this.path, result => {
      const isOpen = !(result instanceof Error);
      if (isOpen) this.#zerosFile = result;
      this.#onDone(isOpen ? null : result, callback);
    });
  }

  /** Writes zeros; `syncFill` makes them durable. */
  fill(zeros: Uint8Array, position: number, callback: (error: Error | null) => void): void {
    const file = must(this.#zerosFile, 'filling was prepared');
    this.#operationCount++;
    file.write(zeros, position, error => this.#onDone(error, callback));
  }

  /** An error may be about the log's own bytes. */
  syncFill(callback: (error: Error | null) => void): void {
    const file = must(this.#zerosFile, 'filling was prepared');
    this.#operationCount++;
    file.sync(error => this.#onDone(error, callback));
  }

  /** Nothing is being filled, and for now nothing will be. */
  endFill(): void {
    this.#zerosFile?.closeSync();
    this.#zerosFile = null;
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.#file.writeSync(bytes, position);
  }

  syncSync(): void {
    this.#file.syncSync();
  }

  truncateSync(sizeBytes: number): void {
    this.#file.truncateSync(sizeBytes);
    this.filled = Math.min(this.filled, sizeBytes);
  }

  readSync(target: Uint8Array, position: number): number {
    return this.#file.readSync(target, position);
  }

  sizeBytes(): number {
    return this.#file.sizeBytes();
  }

  /** Closes the file, at once or when its last operation has ended. */
  close(): void {
    this.#endWith(() => this.#file.closeSync());
  }

  /** Hands over the file, at once or when its last operation has ended; the segment is closed. */
  detach(callback: (file: DiskFile) => void): void {
    this.#endWith(() => callback(this.#file));
  }

  #endWith(onIdle: () => void): void {
    assert(!this.#isClosing, '% is closed once', this.path);
    this.#isClosing = true;
    this.#onIdle = () => {
      this.endFill();
      onIdle();
    };
    this.#maybeIdle();
  }

  #onDone(error: Error | null, callback: (error: Error | null) => void): void {
    this.#operationCount--;
    assert(this.#operationCount >= 0, 'operations end once');
    this.#maybeIdle();
    callback(error);
  }

  #maybeIdle(): void {
    if (this.#operationCount > 0) return;
    const onIdle = this.#onIdle;
    this.#onIdle = null;
    onIdle?.();
  }
}

/** A batch that begins with `firstIndex` was written to the last of `segments`. */
export function noteSuperseded(segments: readonly WalSegment[], firstIndex: LogIndex): void {
  for (let i = segments.length - 1; i >= 0; i--) {
    const segment = must(segments[i], 'a segment');
    if (must(segment.previous, 'a header').index < firstIndex) return;
    segment.isCleanStart = false;
  }
}
