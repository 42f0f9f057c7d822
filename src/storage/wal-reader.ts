/**
 * Reads entries that are no longer in memory from the segments: for followers that fell behind and
 * for replay after a start. Every entry is checked against its checksum; a damaged one throws, and
 * the node stops rather than send or apply it.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import {entrySizeBytes} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {indexAfter} from '../raft/ids.ts';
import {damagedBatchError, WalCorruptionError} from './storage-error.ts';
import type {WalIndex} from './wal-index.ts';
import type {BatchHeader} from './wal-record.ts';
import {
  batchFixedSizeBytes,
  batchHeadersSizeBytes,
  decodeBatchHeader,
  decodeEntry,
  entryDataLength,
} from './wal-record.ts';
import type {WalSegment} from './wal-segment.ts';

const chunkSizeBytes = 256 * 1024;
let chunk = Buffer.alloc(0);

/** Entries `from` … `to`, both in durable batches, cut to `sizeBytesMax` but at least one. */
export function readEntries(
  log: {readonly segments: readonly WalSegment[]; readonly index: WalIndex},
  range: {readonly from: LogIndex; readonly to: LogIndex; readonly sizeBytesMax: number},
): Entry[] {
  const entries: Entry[] = [];
  const cursor = new BatchCursor(log.segments);
  let next = range.from;
  let sizeBytes = 0;
  while (next <= range.to) {
    const place = log.index.find(next);
    cursor.seek(place.sequence, place.offset);
    while (next <= range.to && next < place.endIndex) {
      const batch = cursor.nextBatch();
      const end = Math.min(batch.header.firstIndex + batch.header.entryCount, place.endIndex);
      if (batch.header.entryCount === 0 || end <= next) continue;
      assert(batch.header.firstIndex <= next, 'entry % is missing in %', next, batch.path);
      let dataOffset = batch.header.dataOffset;
      for (let i = 0; batch.header.firstIndex + i < end && next <= range.to; i++) {
        const length = entryDataLength(batch.bytes, batch.at, batch.header, i);
        if (batch.header.firstIndex + i === next) {
          const data = cursor.copyData(batch, dataOffset, length);
          const entry =
            data === null ? null : decodeEntry(batch.bytes, batch.at, batch.header, i, data);
          if (entry === null) {
            const problem = `entry ${next} is not intact`;
            throw new WalCorruptionError(problem, {path: batch.path, offset: batch.offset});
          }
          sizeBytes += entrySizeBytes(entry);
          if (sizeBytes > range.sizeBytesMax && entries.length > 0) return entries;
          entries.push(entry);
          next = indexAfter(next);
        }
        dataOffset += length;
      }
    }
  }
  return entries;
}

interface BatchInMemory {
  /** Its header and its entry headers are in there; its data may be. */
  readonly bytes: Buffer;
  readonly at: number;
  readonly header: BatchHeader;
  readonly path: string;
  readonly offset: number;
}

/**
 * Steps through batches in file order, a chunk of a file at a time. Of a batch larger than a chunk
 * the data is read as it is wanted: most of it belongs to entries that nobody asked for.
 */
class BatchCursor {
  readonly #segments: readonly WalSegment[];
  #position = 0;
  #offset = 0;
  #bytes: Buffer = chunk.subarray(0, 0);
  /** Offset in the file of the first byte of `#bytes`. */
  #bytesOffset = 0;

  constructor(segments: readonly WalSegment[]) {
    this.#segments = segments;
  }

  seek(sequence: number, offset: number): void {
    const first = must(this.#segments[0], 'a segment').sequence;
    const position = sequence - first;
    const segment = must(this.#segments[position], 'segment %', sequence);
    assert(segment.sequence === sequence, 'segments are consecutive');
    if (position !== this.#position) this.#bytes = chunk.subarray(0, 0);
    this.#position = position;
    this.#offset = offset;
  }

  nextBatch(): BatchInMemory {
    let segment = must(this.#segments[this.#position], 'a segment');
    while (this.#offset >= segment.end) {
      this.#position++;
      segment = must(this.#segments[this.#position], 'the log goes on in another segment');
      this.#offset = segment.headerSizeBytes;
      this.#bytes = chunk.subarray(0, 0);
    }
    const offset = this.#offset;
    const {bytes, at} = this.#locate(segment, offset);
    const available = segment.end - offset;
    const header = decodeBatchHeader(bytes, {at, offset, segmentId: segment.id, available});
    if (header === null) throw damagedBatchError(segment.path, offset);
    this.#offset = offset + header.sizeBytes;
    return {bytes, at, header, path: segment.path, offset};
  }

  /** Of the batch that `nextBatch` returned last. Null: it is not there as a whole. */
  copyData(batch: BatchInMemory, dataOffset: number, length: number): Uint8Array | null {
    if (dataOffset + length > batch.header.sizeBytes) return null;
    const segment = must(this.#segments[this.#position], 'a segment');
    const offset = batch.offset + dataOffset;
    const isLoaded = (): boolean =>
      offset >= this.#bytesOffset && offset + length <= this.#bytesOffset + this.#bytes.length;
    if (!isLoaded() && length >= chunkSizeBytes) {
      const data = new Uint8Array(length);
      return segment.readSync(data, offset) === length ? data : null;
    }
    // The headers of a smaller batch would be overwritten: it was loaded as a whole, or is cut off.
    if (!isLoaded() && batch.bytes !== this.#bytes) {
      this.#load(segment, offset, Math.min(chunkSizeBytes, segment.end - offset));
    }
    if (!isLoaded()) return null;
    const from = offset - this.#bytesOffset;
    return new Uint8Array(this.#bytes.subarray(from, from + length));
  }

  /** Where the batch at `offset` lies in memory, with its headers at least. */
  #locate(segment: WalSegment, offset: number): {bytes: Buffer; at: number} {
    const available = segment.end - offset;
    let at = offset - this.#bytesOffset;
    let wanted = Math.min(available, batchFixedSizeBytes);
    if (at < 0 || at + wanted > this.#bytes.length) {
      this.#load(segment, offset, Math.min(available, chunkSizeBytes));
      at = 0;
    }
    wanted = Math.min(this.#bytes.readUInt32LE(at + 12), available);
    if (at + wanted <= this.#bytes.length) return {bytes: this.#bytes, at};
    if (wanted > chunkSizeBytes) {
      const size = Math.min(batchHeadersSizeBytes(this.#bytes, at), available);
      return {bytes: readFrom(segment, offset, Buffer.allocUnsafeSlow(size)), at: 0};
    }
    this.#load(segment, offset, Math.min(available, chunkSizeBytes));
    return {bytes: this.#bytes, at: 0};
  }

  #load(segment: WalSegment, offset: number, sizeBytes: number): void {
    if (chunk.length === 0) chunk = Buffer.alloc(chunkSizeBytes);
    this.#bytes = readFrom(segment, offset, chunk.subarray(0, sizeBytes));
    this.#bytesOffset = offset;
  }
}

/** As much of `target` as the file fills from `offset`. */
function readFrom(segment: WalSegment, offset: number, target: Buffer): Buffer {
  const count = segment.readSync(target, offset);
  if (count < Math.min(target.length, batchFixedSizeBytes)) {
    throw new WalCorruptionError('the file ends', {path: segment.path, offset: offset + count});
  }
  return target.subarray(0, count);
}
