/** By which errors a member may end, for which fault. A bug of the program is never explained. */
import {RosettaError} from '../../src/base/errors.ts';
import {WalCorruptionError} from '../../src/storage/storage-error.ts';

export type FailReason = 'EIO' | 'bit rot' | 'wiped' | 'older copy';

/** A flip that passes for a torn write: the simulator ends the member that nothing else would. */
export class UnseenDamage extends Error {}

export function explainsEnd(reason: FailReason | null, error: Error): boolean {
  switch (reason) {
    case null:
      return false;
    case 'EIO':
      return hasCode(error, 'EIO');
    case 'bit rot':
      // The disk may have been failing before the flip.
      return (
        error instanceof WalCorruptionError ||
        error instanceof UnseenDamage ||
        hasCode(error, 'EIO')
      );
    case 'wiped':
    case 'older copy':
      // The others refuse it, or it refuses its own directory.
      return error instanceof RosettaError && error.code === 'INVALID_REQUEST';
  }
}

/** Also of what the error was caused by. */
export function hasCode(error: Error, code: string): boolean {
  if ('code' in error && error.code === code) return true;
  return error.cause instanceof Error && hasCode(error.cause, code);
}
