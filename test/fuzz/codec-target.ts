/**
 * The property of every codec: what was encoded comes back as it was; damaged bytes are decoded or
 * refused with the room's own error, are not written to, and what they decode to can be encoded and
 * comes back as well.
 */
import fc from 'fast-check';
import {AssertionError} from '../../src/base/assert.ts';
import {MalformedBytesError} from '../../src/base/bytes.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {mustBeSame} from './same-value.ts';

export interface Codec<T> {
  readonly name: string;
  readonly share: number;
  readonly values: fc.Arbitrary<T>;
  encode(value: T): Uint8Array;
  /** May return views of `bytes`. */
  decode(bytes: Buffer): T;
  /** Corrects the checksums of damaged bytes, so that the fields behind them are reached. */
  seal?(bytes: Buffer): void;
  /** MalformedBytesError when absent. */
  readonly isRefusal?: (error: unknown) => boolean;
  /** For rows, which only the state machine writes: what they decode to may be written shorter. */
  readonly mayBeLoose?: boolean;
  /** More that holds for what has been accepted. */
  alsoHolds?(value: T, bytes: Buffer): void;
}

interface CodecInput<T> {
  readonly value: T;
  readonly damage: Damage;
  readonly isSealed: boolean;
}

export function codecTarget<T>(codec: Codec<T>): FuzzTarget {
  const {name, share, values} = codec;
  const isSealed = codec.seal === undefined ? fc.constant(false) : fc.boolean();
  return pureTarget<CodecInput<T>>(
    {name, share},
    {
      inputs: fc.record({value: values, damage: maybeDamages, isSealed}),
      bytesOf: input => inputBytes(codec, input),
      check: input => checkCodec(codec, input),
    },
  );
}

function inputBytes<T>(codec: Codec<T>, {value, damage, isSealed}: CodecInput<T>): Buffer {
  const bytes = damaged(codec.encode(value), damage);
  if (isSealed) codec.seal?.(bytes);
  return bytes;
}

function checkCodec<T>(codec: Codec<T>, input: CodecInput<T>): Verdict {
  const bytes = inputBytes(codec, input);
  if (input.damage.length === 0) {
    mustBeSame(codec.decode(bytes), input.value, 'decoded after encoding');
    codec.alsoHolds?.(input.value, bytes);
    return 'accepted';
  }
  const before = Buffer.from(bytes);
  let value: T;
  try {
    value = codec.decode(bytes);
  } catch (error) {
    mustBeRefusal(error, codec.isRefusal ?? isMalformedBytes);
    mustBeSame(bytes, before, 'the refused bytes');
    return 'refused';
  }
  if (codec.mayBeLoose !== true) {
    const again = codec.decode(Buffer.from(codec.encode(value)));
    mustBeSame(again, value, 'decoded, encoded and decoded again');
  }
  mustBeSame(bytes, before, 'the decoded bytes');
  // Edits can cancel each other out; otherwise a checksum finds them.
  if (codec.seal !== undefined && !input.isSealed) {
    mustBeSame(value, input.value, 'decoded under a checksum that was not corrected');
  }
  codec.alsoHolds?.(value, bytes);
  return 'accepted';
}

function isMalformedBytes(error: unknown): boolean {
  return error instanceof MalformedBytesError;
}

/** Throws on any error that the room does not announce. */
export function mustBeRefusal(error: unknown, isRefusal: (error: unknown) => boolean): void {
  if (isRefusal(error)) return;
  throw new AssertionError(`not an error of this room: ${errorText(error)}`);
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
