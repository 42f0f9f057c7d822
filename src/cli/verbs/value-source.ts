/** Where a value comes from: an operand, `-file=PATH`, or standard input as the operand `-`. */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {UsageError} from '../usage-error.ts';
import type {VerbInput} from './verb.ts';
import {VerbError} from './verb.ts';

/** At most `sizeBytesMax` are read. Rejects with UsageError or VerbError. */
export async function readValue(
  input: VerbInput,
  operand: string | undefined,
  sizeBytesMax: number,
): Promise<Uint8Array> {
  const file = input.flags.get('file');
  if (file !== undefined && operand !== undefined) {
    throw new UsageError('-file takes the place of VALUE; leave one of them out');
  }
  const source = file ?? (operand === '-' ? operand : null);
  if (source !== null) return readFileOrInput(input, source, sizeBytesMax);
  if (operand !== undefined) return Buffer.from(operand, 'utf8');
  throw new UsageError('the value is missing: VALUE, "-" for standard input, or -file=PATH');
}

/** `-` is standard input. Rejects with VerbError. */
export async function readFileOrInput(
  input: VerbInput,
  file: string,
  sizeBytesMax: number,
): Promise<Uint8Array> {
  const [name, chunks] =
    file === '-' ? ['standard input', input.input()] : [file, fs.createReadStream(file)];
  const kept: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
      sizeBytes += chunk.length;
      if (sizeBytes > sizeBytesMax) break;
      kept.push(chunk);
    }
  } catch (error) {
    throw new VerbError(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (sizeBytes <= sizeBytesMax) return Buffer.concat(kept);
  throw new VerbError(`${name} has more than ${sizeBytesMax} bytes`);
}
