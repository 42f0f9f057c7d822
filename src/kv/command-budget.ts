/** What one command may still look at, and answer with. */
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';

export class CommandBudget {
  #scanKeyCountLeft = 0;
  #resultSizeBytesLeft = 0;
  #keptSizeBytesLeft = 0;

  get scanKeyCountLeft(): number {
    return this.#scanKeyCountLeft;
  }

  get resultSizeBytesLeft(): number {
    return this.#resultSizeBytesLeft;
  }

  /** For the next command. `keptSizeBytesMax`: for what its answer takes where it is kept. */
  renew(keptSizeBytesMax: number): void {
    this.#scanKeyCountLeft = limits.commandScanKeyCountMax;
    this.#resultSizeBytesLeft = limits.resultSizeBytesMax;
    this.#keptSizeBytesLeft = keptSizeBytesMax;
  }

  /** Throws TOO_MANY_KEYS. */
  spendScan(keyCount: number): void {
    this.#scanKeyCountLeft -= keyCount;
    if (this.#scanKeyCountLeft < 0) throw tooManyKeys(limits.commandScanKeyCountMax);
  }

  /** Throws TOO_MANY_KEYS, or OVERLOADED when the answer could not be kept. */
  spendResult(sizeBytes: number): void {
    this.#resultSizeBytesLeft -= sizeBytes;
    this.#keptSizeBytesLeft -= sizeBytes;
    if (this.#resultSizeBytesLeft < 0) {
      const max = limits.resultSizeBytesMax;
      throw new RosettaError('TOO_MANY_KEYS', `The answer would have more than ${max} bytes.`);
    }
    if (this.#keptSizeBytesLeft < 0) {
      const detail = 'The answers kept for requests that come again are full; try later.';
      throw new RosettaError('OVERLOADED', detail);
    }
  }
}

export function tooManyKeys(max: number): RosettaError {
  return new RosettaError('TOO_MANY_KEYS', `The command touches more than ${max} keys.`);
}
