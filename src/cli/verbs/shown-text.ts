/**
 * Keys and values as people see them: one line each, and nothing that a terminal would obey. What
 * is no UTF-8 is shown byte by byte. Programs ask for -json instead.
 */

const decoder = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});
/** Controls, invisible marks of direction, and line separators. */
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;
const shortEscapes: Readonly<Record<string, string>> = {'\n': '\\n', '\r': '\\r', '\t': '\\t'};

export function shownText(bytes: Uint8Array): string {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return Array.from(bytes, shownByte).join('');
  }
  return text.replaceAll(unseen, character => {
    const code = character.codePointAt(0) ?? 0;
    return shortEscapes[character] ?? (code < 0x100 ? hex(code) : `\\u{${code.toString(16)}}`);
  });
}

/** At most `width` characters, the last of them `…` when something is left out. */
export function clipped(text: string, width: number): string {
  if (text.length <= width) return text;
  const characters = Array.from(text.slice(0, 2 * width));
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

function shownByte(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : hex(byte);
}

function hex(code: number): string {
  return `\\x${code.toString(16).padStart(2, '0')}`;
}
