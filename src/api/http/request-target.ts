/**
 * The request target as it came over the wire. Only the origin form is accepted, nothing is ever
 * normalised: `/kv/../x` is the key `../x`. Percent-decoding yields bytes, exactly once.
 */
import {Buffer} from 'node:buffer';
import {RosettaError} from '../../base/errors.ts';

export interface RequestTarget {
  /** Raw, begins with a slash. */
  readonly path: string;
  /** Raw, after the first question mark; empty when there is none. */
  readonly query: string;
}

/** Throws INVALID_TARGET. */
export function parseTarget(target: string): RequestTarget {
  if (target.charCodeAt(0) !== 0x2f) {
    throw new RosettaError('INVALID_TARGET', 'the request target must begin with a slash');
  }
  let queryAt = -1;
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code < 0x21 || code > 0x7e || code === 0x23) {
      throw new RosettaError(
        'INVALID_TARGET',
        `character ${i} of the request target must be percent-encoded`,
      );
    }
    if (code === 0x3f && queryAt < 0) queryAt = i;
  }
  return queryAt < 0
    ? {path: target, query: ''}
    : {path: target.slice(0, queryAt), query: target.slice(queryAt + 1)};
}

/**
 * The bytes that ASCII `text` stands for: `%XX` is one byte, everything else itself; a plus sign
 * is a space in a query only. Throws BAD_PERCENT_ENCODING.
 */
export function percentDecode(text: string, form: {readonly isQuery: boolean}): Buffer {
  if (!text.includes('%') && !(form.isQuery && text.includes('+'))) {
    return Buffer.from(text, 'latin1');
  }
  const bytes = Buffer.allocUnsafe(text.length);
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code === 0x25) {
      const high = hexDigit(text.charCodeAt(i + 1));
      const low = hexDigit(text.charCodeAt(i + 2));
      if (high < 0 || low < 0) {
        const sequence = text.slice(i, i + 3);
        throw new RosettaError('BAD_PERCENT_ENCODING', `"${sequence}" is not a percent sequence`);
      }
      code = high * 16 + low;
      i += 2;
    } else if (code === 0x2b && form.isQuery) {
      code = 0x20;
    }
    bytes[size++] = code;
  }
  return bytes.subarray(0, size);
}

/** The value of a hexadecimal digit, -1 for any other code (NaN, past the end, included). */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
