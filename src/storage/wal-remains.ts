/**
 * What stands behind damage: looks for the bytes that every batch of a segment begins with, since
 * the damaged batch does not tell where the next one begins. A batch found there is never taken
 * into the log; what it calls synced decides whether the damage is a torn tail or corruption.
 */
import type {BatchHeader, WalPosition} from './wal-record.ts';
import {batchAlignment, batchNeedle, decodeBatchHeader} from './wal-record.ts';
import type {WalSegment} from './wal-segment.ts';

/**
 * Visits what the batches behind `end`, that of the last good batch, call synced. True when there
 * is anything of this use of the file.
 */
export function scanRemains(
  segment: WalSegment,
  bytes: Buffer,
  end: number,
  visitSynced: (position: WalPosition) => void,
): boolean {
  // The batch that stands here may have a good header and damaged entries: it was noted.
  const first = bytes.indexOf(batchNeedle(segment.id), end);
  if (first < 0) return false;
  for (let at = first; ;) {
    const found = findBatch(bytes, segment, at);
    if (found === null) return true;
    visitSynced(found.header.synced);
    at = found.at + batchAlignment;
  }
}

/** The next batch with a valid header checksum at or behind `from`. */
export function findBatch(
  bytes: Buffer,
  segment: WalSegment,
  from: number,
): {readonly at: number; readonly header: BatchHeader} | null {
  const needle = batchNeedle(segment.id);
  let at = bytes.indexOf(needle, from);
  while (at >= 0) {
    if (at % batchAlignment === 0) {
      // `bytes` may be the beginning of the file only: the batch's data need not be in it.
      const place = {at, offset: at, segmentId: segment.id, available: segment.filled - at};
      const header = decodeBatchHeader(bytes, place);
      if (header !== null) return {at, header};
    }
    at = bytes.indexOf(needle, at + 1);
  }
  return null;
}
