/** What one command may still look at, and answer with. */
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';

export class CommandBudget {
  #scanKeyCountLeft = 0;
  #resultSizeBytesLeft = 0;

  get scanKeyCountLeft(): number {
    return this.#scanKeyCountLeft;
  }

  get resultSizeBytesLeft(): number {
    return this.#resultSizeBytesLeft;
  }

  /** For the next command. */
  renew(): void {
    this.#scanKeyCountLeft = limits.commandScanKeyCountMax;
    this.#resultSizeBytesLeft = limits.resultSizeBytesMax;
  }

  /** Throws TOO_MANY_KEYS. */
  spendScan(keyCount: number): void {
    this.#scanKeyCountLeft -= keyCount;
    if (this.#scanKeyCountLeft < 0) throw tooManyKeys(limits.commandScanKeyCountMax);
  }

  /** Throws TOO_MANY_KEYS. */
  spendResult(sizeBytes: number): void {
    this.#resultSizeBytesLeft -= sizeBytes;
    if (this.#resultSizeBytesLeft >= 0) return;
    const max = limits.resultSizeBytesMax;
    throw new RosettaError('TOO_MANY_KEYS', `The answer would have more than ${max} bytes.`);
  }
}

export function tooManyKeys(max: number): RosettaError {
  return new RosettaError('TOO_MANY_KEYS', `The command touches more than ${max} keys.`);
}
