/** A data directory for this process alone, as promises. */
import fs from 'node:fs';
import type {DataDirectory} from '../storage/data-directory.ts';
import {openDataDirectory} from '../storage/data-directory.ts';
import {lockDirectory} from '../storage/directory-lock.ts';
import type {DirectoryLock} from '../storage/directory-lock.ts';
import {StorageError} from '../storage/storage-error.ts';

/** Rejects with StorageError when it cannot be used or somebody else uses it. */
export function lockedDataDirectory(data: string): Promise<DataDirectory> {
  return new Promise((resolve, reject) => {
    openDataDirectory(data, (error, directory) => {
      if (directory === null) reject(error ?? new Error(`cannot open ${data}`));
      else resolve(directory);
    });
  });
}

/** A directory that is there, for this process alone; nothing in it is made or emptied. */
export function lockedExisting(root: string): Promise<DirectoryLock> {
  return new Promise((resolve, reject) => {
    if (fs.statSync(root, {throwIfNoEntry: false})?.isDirectory() !== true) {
      const advice = 'name the directory that was given as -data';
      reject(new StorageError(`there is no directory ${root}`, {path: root, advice}));
      return;
    }
    lockDirectory(root, (error, lock) => {
      if (lock === null) reject(error ?? new Error(`cannot lock ${root}`));
      else resolve(lock);
    });
  });
}
