/** `./rosetta verify`: a check of a data directory while nobody uses it. */
import path from 'node:path';
import {checkDirectory} from '../storage/directory-check.ts';
import type {PartReport} from '../storage/directory-check.ts';
import {toRecord} from './identity-file.ts';
import {lockedExisting} from './locked-directory.ts';

export type {PartReport} from '../storage/directory-check.ts';

/** Rejects with StorageError when it is in use or no node's directory. */
export async function verifyDirectory(data: string): Promise<readonly PartReport[]> {
  const root = path.resolve(data);
  const lock = await lockedExisting(root);
  try {
    return checkDirectory(root, identity => {
      const {stage, divergence = null} = toRecord(path.join(root, 'identity.json'), identity);
      return {isMember: stage === 'member', divergence};
    });
  } finally {
    lock.release();
  }
}
