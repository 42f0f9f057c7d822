/** How much of the checkpoint's file is in use, and when it is worth a copy without the rest. */
import {limits} from '../base/limits.ts';

export interface CheckpointSpace {
  /** Of the file. */
  readonly sizeBytes: number;
  /** Of these, what is not free for the next rows. */
  readonly usedSizeBytes: number;
}

/** More than half of a large file is free. */
export function isSparse({sizeBytes, usedSizeBytes}: CheckpointSpace): boolean {
  return sizeBytes >= limits.shrinkSizeBytesMin && usedSizeBytes * 2 < sizeBytes;
}
