/** The highest start count seen of every peer's directory, kept in `peers.json`. */
import type {StartCounts} from '../node/peer-gate.ts';
import type {Disk} from '../storage/disk.ts';
import {isJsonObject, readDurableFile, writeDurableFile} from '../storage/durable-file.ts';
import {isOutOfSpace} from '../storage/storage-error.ts';

/** Directories remembered; the ones seen first are forgotten first. */
const incarnationCountMax = 64;

export function openStartCounts(disk: Disk, file: string): StartCounts {
  const counts = new Map<string, number>();
  let isUnsaved = false;
  const content = readDurableFile(disk, file);
  if (isJsonObject(content)) {
    for (const [incarnation, count] of Object.entries(content)) {
      if (typeof count === 'number') counts.set(incarnation, count);
    }
  }
  return {
    get: incarnation => counts.get(incarnation) ?? 0,
    record: (incarnation, startCount) => {
      if (counts.get(incarnation) === startCount && !isUnsaved) return;
      counts.set(incarnation, startCount);
      for (const oldest of counts.keys()) {
        if (counts.size <= incarnationCountMax) break;
        counts.delete(oldest);
      }
      try {
        writeDurableFile(disk, file, Object.fromEntries(counts));
        isUnsaved = false;
      } catch (error) {
        // A full disk must not stop this node because a peer has started. The count is remembered
        // until it can be written, with the next connection.
        if (!isOutOfSpace(error)) throw error;
        isUnsaved = true;
      }
    },
  };
}
