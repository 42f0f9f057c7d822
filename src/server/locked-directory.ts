/** A data directory for this process alone, as promises. */
import type {DataDirectory} from '../storage/data-directory.ts';
import {openDataDirectory} from '../storage/data-directory.ts';

/** Rejects with StorageError when it cannot be used or somebody else uses it. */
export function lockedDataDirectory(data: string): Promise<DataDirectory> {
  return new Promise((resolve, reject) => {
    openDataDirectory(data, (error, directory) => {
      if (directory === null) reject(error ?? new Error(`cannot open ${data}`));
      else resolve(directory);
    });
  });
}
