/**
 * What stands behind damage: looks for the bytes that every batch of a segment begins with, since
 * the damaged batch does not tell where the next one begins. A batch found there is never taken
 * into the log; what it calls synced decides whether the damage is a torn tail or corruption.
 */
import type {BatchHeader, WalPosition} from './wal-record.ts';
import {batchAlignment, batchNeedle, decodeBatchHeader} from './wal-record.ts';
import type {WalSegment} from './wal-segment.ts';
import type {WalWindow} from './wal-window.ts';

const stepSizeBytes = 256 * 1024;

/** Whether there is anything of this use of the file from `from` on. */
export function hasNeedle(segment: WalSegment, window: WalWindow, from: number): boolean {
  const needle = batchNeedle(segment.id);
  for (let offset = from; offset + needle.length <= segment.filled;) {
    window.hold(segment, offset, Math.min(stepSizeBytes, segment.filled - offset));
    const rest = window.bytes.subarray(window.at(offset));
    if (rest.includes(needle)) return true;
    // The file may have been cut since it was opened.
    if (rest.length < needle.length) return false;
    offset += rest.length - (needle.length - 1);
  }
  return false;
}

/**
 * Visits what the batches behind `end`, that of the last good batch, call synced. `bytes`: of the
 * segment, from there on.
 */
export function scanRemains(
  segment: WalSegment,
  bytes: Buffer,
  end: number,
  visitSynced: (position: WalPosition) => void,
): void {
  // The batch that stands here may have a good header and damaged entries: it was noted.
  for (let from = 0; ;) {
    const found = findBatch(bytes, segment, {from, start: end});
    if (found === null) return;
    visitSynced(found.header.synced);
    from = found.at + batchAlignment;
  }
}

/**
 * The next batch with a valid header checksum at or behind `bytes[from]`. `start`: where in the
 * file `bytes` begin; the batch's data need not be in them.
 */
export function findBatch(
  bytes: Buffer,
  segment: WalSegment,
  {from, start}: {readonly from: number; readonly start: number},
): {readonly at: number; readonly header: BatchHeader} | null {
  const needle = batchNeedle(segment.id);
  let at = bytes.indexOf(needle, from);
  while (at >= 0) {
    const offset = start + at;
    if (offset % batchAlignment === 0) {
      const place = {at, offset, segmentId: segment.id, available: segment.filled - offset};
      const header = decodeBatchHeader(bytes, place);
      if (header !== null) return {at, header};
    }
    at = bytes.indexOf(needle, at + 1);
  }
  return null;
}
