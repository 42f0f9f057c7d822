/**
 * The common shape of a request, read strictly: one of five methods, a target in origin form,
 * HTTP/1.1, headers of printable ASCII one a line, and a body that Content-Length announces or
 * none. Everything else is not wrong but not plain, and node:http decides what it is; so nothing
 * is refused here, and nothing is accepted that node:http would refuse or read differently.
 */
import {limits} from '../../base/limits.ts';
import {readPlainHead, type PlainHead, type HeadMemory} from './plain-head.ts';
import type {RequestHead} from './request-headers.ts';
import {isStreamed} from './wire.ts';

export interface PlainRequest {
  readonly method: string;
  readonly target: string;
  /** Its values are without the white space around them. */
  readonly head: RequestHead;
  /** The client asked for the connection to be closed. */
  readonly wantsClose: boolean;
  readonly bodyStart: number;
  /** Where the next request begins. */
  readonly end: number;
}

/** `part-of-head` and `part-of-body`: more bytes are needed. `other`: not plain. */
export type PlainReading = PlainRequest | 'part-of-head' | 'part-of-body' | 'other';

const methods: readonly string[] = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD'];
const version = ' HTTP/1.1';
const lineBreak = '\r\n';
const headEnd = '\r\n\r\n';

/** Reads the request at the beginning of `bytes`. `memory`: of the connection. */
export function readPlainRequest(bytes: Buffer, memory: HeadMemory): PlainReading {
  const lineEnd = bytes.indexOf(0x0d);
  const known = lineEnd < 0 ? null : memory.find(bytes, lineEnd);
  if (known !== null) {
    const line = bytes.toString('latin1', 0, lineEnd);
    return readLine(line, bytes, known, lineEnd + memory.sizeBytes);
  }
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, limits.httpHeaderSizeBytesMax));
  const headSize = text.indexOf(headEnd);
  if (headSize < 0) return text.length < bytes.length ? 'other' : partOfHead(text);
  if (!text.startsWith(lineBreak, lineEnd)) return 'other';
  // A text of its own: what is remembered of it must not keep the body.
  const lines = bytes.toString('latin1', lineEnd + lineBreak.length, headSize);
  const head = readPlainHead(lines);
  if (head === null) return 'other';
  const bodyStart = headSize + headEnd.length;
  memory.keep(bytes.subarray(lineEnd, bodyStart), head);
  return readLine(text.slice(0, lineEnd), bytes, head, bodyStart);
}

/** `line`: without its line break. */
function readLine(line: string, bytes: Buffer, head: PlainHead, bodyStart: number): PlainReading {
  const methodEnd = line.indexOf(' ');
  const targetEnd = line.indexOf(' ', methodEnd + 1);
  if (methodEnd < 0 || targetEnd < 0 || line.slice(targetEnd) !== version) return 'other';
  const method = methods[methods.indexOf(line.slice(0, methodEnd))];
  if (method === undefined) return 'other';
  const target = line.slice(methodEnd + 1, targetEnd);
  // Nearly all targets begin with /k.
  const isStream = target.charCodeAt(1) !== 0x6b && isStreamed(target);
  if (isStream || !isPlainTarget(target)) return 'other';
  const end = bodyStart + head.contentLength;
  if (end > limits.plainRequestSizeBytesMax) return 'other';
  if (end > bytes.length) return 'part-of-body';
  return {method, target, head: head.head, wantsClose: head.wantsClose, bodyStart, end};
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
