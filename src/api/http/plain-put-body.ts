/**
 * The most frequent body, `{"key":"…","value":"…"}` without escapes, read without making text of
 * it: key and value are the bytes between the quotes, within their limits. Every other body is
 * parseJson's; what is read here is read there alike.
 */
import {isUtf8, type Buffer} from 'node:buffer';
import {limits} from '../../base/limits.ts';
import {bytesOf, closingBrace, endOfPlainText, hasAt, quote} from './plain-json.ts';

export interface PlainPutBody {
  /** Views of the body. */
  readonly key: Buffer;
  readonly value: Buffer;
}

const beforeKey = bytesOf('{"key":"');
const beforeValue = bytesOf(',"value":"');
/** No more than key and value may have, and what is around them. */
const plainSizeBytesMax = limits.keySizeBytesMax + limits.valueSizeBytesMax + 64;

/** Null: this body is not of that shape. */
export function readPlainPutBody(body: Buffer): PlainPutBody | null {
  const keyStart = beforeKey.length;
  if (body.length > plainSizeBytesMax || !hasAt(body, 0, beforeKey)) return null;
  // Of a body that ends otherwise not all of it need be looked at twice.
  if (body.at(-1) !== closingBrace || body.at(-2) !== quote) return null;
  const keyEnd = endOfPlainText(body, keyStart);
  if (!hasAt(body, keyEnd + 1, beforeValue)) return null;
  const valueStart = keyEnd + 1 + beforeValue.length;
  const valueEnd = endOfPlainText(body, valueStart);
  if (valueEnd + 2 !== body.length) return null;
  const keySizeBytes = keyEnd - keyStart;
  if (keySizeBytes === 0 || keySizeBytes > limits.keySizeBytesMax) return null;
  if (valueEnd - valueStart > limits.valueSizeBytesMax || !isUtf8(body)) return null;
  return {key: body.subarray(keyStart, keyEnd), value: body.subarray(valueStart, valueEnd)};
}
