/**
 * The head of an answer, for both kinds of connection: the headers that every answer has, those of
 * its content, the store's revision, and what the route adds. Nearly all answers begin with one of
 * a few texts, so these are kept.
 */
import {STATUS_CODES, type OutgoingHttpHeader} from 'node:http';
import {assert} from '../../base/assert.ts';
import type {Answer, StreamHead} from './wire.ts';

/** Name, value, … */
export function headerList(answer: Answer): OutgoingHttpHeader[] {
  const {type, sizeBytes, revision, vary, more} = answer;
  const headers: OutgoingHttpHeader[] = ['Cache-Control', 'no-cache'];
  headers.push('X-Content-Type-Options', 'nosniff', 'Vary', vary);
  if (type !== null) headers.push('Content-Type', type, 'Content-Length', sizeBytes);
  if (revision > 0) headers.push('Rosetta-Revision', revision);
  headers.push(...more);
  return headers;
}

/** As headerList, for an answer of unknown size. */
export function streamHeaderList(head: StreamHead): OutgoingHttpHeader[] {
  const list = headerList({...head, sizeBytes: 0, body: null, ending: 'keep'});
  list.splice(list.indexOf('Content-Length'), 2);
  return list;
}

/** Status line and header lines; the line ends of the last one included. */
export function headText(answer: Answer): string {
  const {status, type, vary, sizeBytes, revision, more} = answer;
  let text = beginning(status, type, vary);
  if (type !== null) text += `${sizeBytes}\r\n`;
  if (revision > 0) text += `Rosetta-Revision: ${revision}\r\n`;
  for (let i = 0; i + 1 < more.length; i += 2) {
    const value = String(more[i + 1]);
    assert(!isUnprintable.test(value), 'the value % is printable', value);
    text += `${String(more[i])}: ${value}\r\n`;
  }
  return text;
}

const isUnprintable = /[^\t\x20-\x7e]/;

interface Beginning {
  readonly type: string | null;
  readonly vary: string;
  readonly text: string;
}

/** By status. Types and statuses come from fixed sets, so there are few. */
const beginnings = new Map<number, Beginning[]>();

function beginning(status: number, type: string | null, vary: string): string {
  let known = beginnings.get(status);
  if (known === undefined) {
    known = [];
    beginnings.set(status, known);
  }
  for (const one of known) if (one.type === type && one.vary === vary) return one.text;
  const text =
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\nCache-Control: no-cache\r\n` +
    `X-Content-Type-Options: nosniff\r\nVary: ${vary}\r\n` +
    (type === null ? '' : `Content-Type: ${type}\r\nContent-Length: `);
  known.push({type, vary, text});
  return text;
}
