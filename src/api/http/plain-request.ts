/**
 * The common shape of a request, read strictly: one of five methods, a target in origin form,
 * HTTP/1.1, headers of printable ASCII one a line, and a body that Content-Length announces or
 * none. Everything else is not wrong but not plain, and node:http decides what it is; so nothing
 * is refused here, and nothing is accepted that node:http would refuse or read differently.
 */
import {limits} from '../../base/limits.ts';
import {isNamed} from './request-headers.ts';
import {isStreamed} from './wire.ts';

export interface PlainRequest {
  readonly method: string;
  readonly target: string;
  /** Name, value, …; values without the white space around them. */
  readonly rawHeaders: readonly string[];
  /** The client asked for the connection to be closed. */
  readonly wantsClose: boolean;
  readonly bodyStart: number;
  /** Where the next request begins. */
  readonly end: number;
}

/** `part-of-head` and `part-of-body`: more bytes are needed. `other`: not plain. */
export type PlainReading = PlainRequest | 'part-of-head' | 'part-of-body' | 'other';

const methods: readonly string[] = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD'];
const version = ' HTTP/1.1\r\n';
const headEnd = '\r\n\r\n';

/** Reads the request at the beginning of `bytes`. */
export function readPlainRequest(bytes: Buffer): PlainReading {
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, limits.httpHeaderSizeBytesMax));
  const headSize = text.indexOf(headEnd);
  if (headSize < 0) return text.length < bytes.length ? 'other' : partOfHead(text);
  const methodEnd = text.indexOf(' ');
  const targetEnd = text.indexOf(' ', methodEnd + 1);
  if (methodEnd < 0 || targetEnd < 0 || !text.startsWith(version, targetEnd)) return 'other';
  const method = methods[methods.indexOf(text.slice(0, methodEnd))];
  if (method === undefined) return 'other';
  const target = text.slice(methodEnd + 1, targetEnd);
  // Nearly all targets begin with /k.
  const isStream = target.charCodeAt(1) !== 0x6b && isStreamed(target);
  if (isStream || !isPlainTarget(target)) return 'other';
  const headers = readHeaders(text, targetEnd + version.length, headSize);
  if (headers === null) return 'other';
  const bodyStart = headSize + headEnd.length;
  const end = bodyStart + headers.contentLength;
  if (end > limits.plainRequestSizeBytesMax) return 'other';
  if (end > bytes.length) return 'part-of-body';
  const {rawHeaders, wantsClose} = headers;
  return {method, target, rawHeaders, wantsClose, bodyStart, end};
}

/** What cannot become plain is handed on at once: its refusal should not wait for a time limit. */
function partOfHead(text: string): PlainReading {
  const methodEnd = text.indexOf(' ');
  const isPossible =
    methodEnd < 0
      ? methods.some(method => method.startsWith(text))
      : methods.includes(text.slice(0, methodEnd));
  return isPossible ? 'part-of-head' : 'other';
}

function isPlainTarget(target: string): boolean {
  if (target.charCodeAt(0) !== 0x2f) return false;
  for (let i = 1; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}

interface PlainHeaders {
  readonly rawHeaders: readonly string[];
  readonly contentLength: number;
  readonly wantsClose: boolean;
}

/** The lines of `text` in [start, end), the last without its line end. Null: not plain. */
function readHeaders(text: string, start: number, end: number): PlainHeaders | null {
  const rawHeaders: string[] = [];
  let contentLength = -1;
  let wantsClose = false;
  for (let at = start; at < end;) {
    const nameEnd = endOfName(text, at);
    if (nameEnd === at || text.charCodeAt(nameEnd) !== 0x3a) return null;
    const lineEnd = endOfValue(text, nameEnd + 1);
    if (text.charCodeAt(lineEnd) !== 0x0d || text.charCodeAt(lineEnd + 1) !== 0x0a) return null;
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
  return {rawHeaders, contentLength: Math.max(contentLength, 0), wantsClose};
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
