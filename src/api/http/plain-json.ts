/** What the readers of plain bodies share: JSON without white space and escapes, taken as bytes. */
import type {Buffer} from 'node:buffer';

export const quote = 0x22;
export const closingBrace = 0x7d;
const backslash = 0x5c;

/** Where the closing quote is, or, at the first byte that needs a closer look, the body's end. */
export function endOfPlainText(body: Buffer, start: number): number {
  for (let at = start; at < body.length; at++) {
    const code = body[at] as number;
    if (code === quote) return at;
    if (code === backslash || code < 0x20) return body.length;
  }
  return body.length;
}

export function hasAt(body: Buffer, at: number, text: readonly number[]): boolean {
  if (at + text.length > body.length) return false;
  for (let i = 0; i < text.length; i++) if (body[at + i] !== text[i]) return false;
  return true;
}

/** Of ASCII. */
export function bytesOf(text: string): readonly number[] {
  return Array.from(text, character => character.charCodeAt(0));
}
