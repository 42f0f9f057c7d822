/** The highest start count seen of every peer's directory, kept in `peers.json`. */
import type {StartCounts} from '../node/peer-gate.ts';
import type {Disk} from '../storage/disk.ts';
import {isJsonObject, readDurableFile, writeDurableFile} from '../storage/durable-file.ts';

/** Directories remembered; the ones seen first are forgotten first. */
const incarnationCountMax = 64;

export function openStartCounts(disk: Disk, file: string): StartCounts {
  const counts = new Map<string, number>();
  const content = readDurableFile(disk, file);
  if (isJsonObject(content)) {
    for (const [incarnation, count] of Object.entries(content)) {
      if (typeof count === 'number') counts.set(incarnation, count);
    }
  }
  return {
    get: incarnation => counts.get(incarnation) ?? 0,
    record: (incarnation, startCount) => {
      if (counts.get(incarnation) === startCount) return;
      counts.set(incarnation, startCount);
      for (const oldest of counts.keys()) {
        if (counts.size <= incarnationCountMax) break;
        counts.delete(oldest);
      }
      writeDurableFile(disk, file, Object.fromEntries(counts));
    },
  };
}
