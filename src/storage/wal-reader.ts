/**
 * Reads entries that are no longer in memory from the segments: for followers that fell behind and
 * for replay after a start. Every entry is checked against its checksum; a damaged one throws, and
 * the node stops rather than send or apply it.
 */
import {assert, must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import {entrySizeBytes} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {indexAfter} from '../raft/ids.ts';
import {WalCorruptionError} from './storage-error.ts';
import type {WalIndex} from './wal-index.ts';
import type {BatchHeader} from './wal-record.ts';
import {
  batchFixedSizeBytes,
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
      assert(batch.header.firstIndex <= next, `entry ${next} is missing in ${batch.path}`);
      let data = batch.at + batch.header.dataOffset;
      for (let i = 0; batch.header.firstIndex + i < end && next <= range.to; i++) {
        const length = entryDataLength(batch.bytes, batch.at, batch.header, i);
        if (batch.header.firstIndex + i === next) {
          const copy = new Uint8Array(batch.bytes.subarray(data, data + length));
          const entry = decodeEntry(batch.bytes, batch.at, batch.header, i, copy);
          if (entry === null) {
            const problem = `entry ${next} is not intact`;
            throw new WalCorruptionError(problem, {path: batch.path, offset: batch.offset});
          }
          sizeBytes += entrySizeBytes(entry);
          if (sizeBytes > range.sizeBytesMax && entries.length > 0) return entries;
          entries.push(entry);
          next = indexAfter(next);
        }
        data += length;
      }
    }
  }
  return entries;
}

interface BatchInMemory {
  readonly bytes: Buffer;
  readonly at: number;
  readonly header: BatchHeader;
  readonly path: string;
  readonly offset: number;
}

/** Steps through batches in file order, a chunk of a file at a time. */
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
    const segment = must(this.#segments[position], `segment ${sequence}`);
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
    const {at, header} = this.#decode(segment, offset);
    this.#offset = offset + header.sizeBytes;
    return {bytes: this.#bytes, at, header, path: segment.path, offset};
  }

  #decode(segment: WalSegment, offset: number): {at: number; header: BatchHeader} {
    const available = segment.end - offset;
    let at = offset - this.#bytesOffset;
    let wanted = Math.min(available, batchFixedSizeBytes);
    if (at < 0 || at + wanted > this.#bytes.length) {
      this.#load(segment, offset, Math.min(available, chunkSizeBytes));
      at = 0;
    }
    wanted = Math.min(this.#bytes.readUInt32LE(at + 12), available);
    if (at + wanted > this.#bytes.length) {
      this.#load(segment, offset, Math.min(available, Math.max(wanted, chunkSizeBytes)));
      at = 0;
    }
    const place = {at, offset, segmentId: segment.id, available};
    const header = decodeBatchHeader(this.#bytes, place);
    if (header === null) {
      const problem = 'a batch that was durable is not valid';
      throw new WalCorruptionError(problem, {path: segment.path, offset});
    }
    return {at, header};
  }

  #load(segment: WalSegment, offset: number, sizeBytes: number): void {
    if (chunk.length === 0) chunk = Buffer.alloc(chunkSizeBytes);
    const target = sizeBytes <= chunk.length ? chunk : Buffer.allocUnsafeSlow(sizeBytes);
    const bytes = target.subarray(0, sizeBytes);
    const count = segment.readSync(bytes, offset);
    if (count < Math.min(sizeBytes, batchFixedSizeBytes)) {
      throw new WalCorruptionError('the file ends', {path: segment.path, offset: offset + count});
    }
    this.#bytes = bytes.subarray(0, count);
    this.#bytesOffset = offset;
  }
}
