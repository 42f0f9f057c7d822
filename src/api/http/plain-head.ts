/**
 * The header lines of a plain request, read strictly, and the memory of those that a connection
 * sent last. Nearly every client sends the same lines with each of its requests: what was read of
 * them once holds for every later head that is equal to the byte.
 */
import {Buffer} from 'node:buffer';
import {limits} from '../../base/limits.ts';
import {isNamed, RequestHead} from './request-headers.ts';

export interface PlainHead {
  readonly head: RequestHead;
  readonly contentLength: number;
  /** The client asked for the connection to be closed. */
  readonly wantsClose: boolean;
}

/** Longer header lines are read each time. */
const rememberedSizeBytesMax = 1024;

export class HeadMemory {
  #bytes = Buffer.alloc(0);
  #sizeBytes = 0;
  #head: PlainHead | null = null;

  /** Of the lines that are remembered, with the line breaks around them. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What the lines say that begin at `bytes[from]`, where the request line ends. Null: others. */
  find(bytes: Buffer, from: number): PlainHead | null {
    const size = this.#sizeBytes;
    const to = from + size;
    if (to > bytes.length || to > limits.httpHeaderSizeBytesMax) return null;
    // While none is remembered, nothing is equal to nothing, and says null.
    return bytes.compare(this.#bytes, 0, size, from, to) === 0 ? this.#head : null;
  }

  /** `lines`: from the end of the request line to the end of the empty line; copied. */
  keep(lines: Buffer, head: PlainHead): void {
    const {length} = lines;
    if (length > rememberedSizeBytesMax) return;
    // Not of the pool, a piece of which would keep the whole.
    if (length > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(length);
    this.#bytes.set(lines);
    this.#sizeBytes = length;
    this.#head = head;
  }
}

/** `text`: the lines, the last without its line end. Null: not plain. */
export function readPlainHead(text: string): PlainHead | null {
  const rawHeaders: string[] = [];
  let contentLength = -1;
  let wantsClose = false;
  for (let at = 0; at < text.length;) {
    const nameEnd = endOfName(text, at);
    if (nameEnd === at || text.charCodeAt(nameEnd) !== 0x3a) return null;
    const lineEnd = endOfValue(text, nameEnd + 1);
    const isLast = lineEnd === text.length;
    if (!isLast && !text.startsWith('\r\n', lineEnd)) return null;
    const name = text.slice(at, nameEnd);
    const value = trimmed(text, nameEnd + 1, lineEnd);
    switch (nameEnd - at) {
      case 2: // te
      case 6: // expect
      case 7: // upgrade, trailer
      case 17: // transfer-encoding
        if (specialNames.has(name.toLowerCase())) return null;
        break;
      case 10:
        if (!isNamed(name, 'connection')) break;
        if (/^close$/i.test(value)) wantsClose = true;
        else if (!/^keep-alive$/i.test(value)) return null;
        break;
      case 14:
        if (!isNamed(name, 'content-length')) break;
        // No white space behind the digits: node:http has its own opinion of it.
        if (contentLength >= 0 || !/^ ?[0-9]{1,9}$/.test(text.slice(nameEnd + 1, lineEnd)))
          return null;
        contentLength = Number(value);
        break;
      default:
    }
    rawHeaders.push(name, value);
    at = lineEnd + 2;
  }
  if (rawHeaders.length > 2 * limits.httpHeaderCountMax) return null;
  const head = new RequestHead(rawHeaders, true);
  return {head, contentLength: Math.max(contentLength, 0), wantsClose};
}

/** Headers by which a request asks for something that only node:http can do. */
const specialNames: ReadonlySet<string> = new Set([
  'te',
  'expect',
  'upgrade',
  'trailer',
  'transfer-encoding',
]);

/** RFC 9110 §5.6.2: the characters of a header name. */
const isNameCode: readonly boolean[] = Array.from({length: 256}, (_, code) =>
  /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code)),
);

function endOfName(text: string, start: number): number {
  let at = start;
  while (isNameCode[text.charCodeAt(at)] === true) at += 1;
  return at;
}

/** Printable ASCII, spaces and tabs. */
function endOfValue(text: string, start: number): number {
  for (let at = start; ; at++) {
    const code = text.charCodeAt(at);
    // NaN past the end ends the loop as well.
    if (!(code >= 0x20 && code <= 0x7e) && code !== 0x09) return at;
  }
}

function trimmed(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
