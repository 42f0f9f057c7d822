/** Keys on the command line: text, or with -key-base64 any bytes. */
import {Buffer} from 'node:buffer';
import {limits} from '../../base/limits.ts';
import {UsageError} from '../usage-error.ts';
import type {VerbInput} from './verb.ts';
import {isOn} from './verb.ts';

export const keyFlags = {
  'key-base64': {kind: 'switch', value: '', help: 'KEY is base64, for bytes that are no text'},
} as const;

/** The first operand. Throws UsageError. */
export function keyOperand(input: VerbInput): Uint8Array {
  const [given = ''] = input.operands;
  const key = isOn(input, 'key-base64') ? bytesOfBase64(given) : Buffer.from(given, 'utf8');
  if (key.length === 0) throw new UsageError('a key has at least one byte');
  if (key.length <= limits.keySizeBytesMax) return key;
  throw new UsageError(`a key has at most ${limits.keySizeBytesMax} bytes, not ${key.length}`);
}

function bytesOfBase64(given: string): Uint8Array {
  const bytes = Buffer.from(given, 'base64');
  // Node's decoder skips what does not belong.
  if (bytes.toString('base64') === given) return bytes;
  throw new UsageError(`${JSON.stringify(given)} is not base64`);
}
