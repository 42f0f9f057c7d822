/**
 * A checkpoint file that is mostly free gives its space back before anything is written. A large
 * one is left to the running node: no start waits for long, whatever the size of the data.
 */
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import {isSparse} from '../storage/checkpoint-space.ts';
import type {CheckpointStore} from '../storage/checkpoint-store.ts';

/** A file that cannot be shrunk is no reason not to start. */
export function shrinkAtStart(checkpoint: CheckpointStore, logger: Logger): Promise<void> {
  const before = checkpoint.space();
  const isSmall = before.usedSizeBytes <= limits.shrinkAtStartSizeBytesMax;
  if (!isSparse(before) || !isSmall) return Promise.resolve();
  return new Promise(resolve => {
    checkpoint.shrink((error, hasShrunk) => {
      if (hasShrunk) {
        const {sizeBytes} = checkpoint.space();
        const fields = {fromBytes: before.sizeBytes, toBytes: sizeBytes};
        logger.info(fields, 'the checkpoint file has shrunk');
      } else {
        const message = 'the checkpoint file cannot give its free space back';
        logger.warn({error: error?.message}, message);
      }
      resolve();
    });
  });
}
