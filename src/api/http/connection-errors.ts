/**
 * Answers to what never became a request: bytes that are not HTTP, headers that are too large or
 * too slow, CONNECT. They are written to the socket by hand, and the connection is closed.
 */
import {Buffer} from 'node:buffer';
import type {ServerResponse} from 'node:http';
import type {Duplex} from 'node:stream';
import {errorTable, type ErrorCode} from '../../base/errors.ts';
import {problemJson, problemType} from './problem.ts';

/** What some route of this server knows: the Allow of answers that concern no route. */
export const serverMethods = 'GET, HEAD, PUT, POST, DELETE, OPTIONS';

export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable || hasForeignAnswer(socket)) {
    socket.destroy();
    return;
  }
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      writeProblem(socket, 'HEADERS_TOO_LARGE', 'the request line and headers exceed 8 KiB');
      return;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      writeProblem(socket, 'REQUEST_TIMEOUT', 'the request was sent too slowly');
      return;
    default:
      writeProblem(socket, 'INVALID_REQUEST', 'the bytes received are not an HTTP request');
  }
}

/** node:http has let go of the socket by now, its error listener included. */
export function refuseTunnel(socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  if (!socket.writable || hasForeignAnswer(socket)) {
    socket.destroy();
    return;
  }
  writeProblem(
    socket,
    'METHOD_NOT_ALLOWED',
    'CONNECT is not supported',
    `Allow: ${serverMethods}\r\n`,
  );
}

/**
 * Whether the next bytes on the connection belong to an answer other than the broken request's: a
 * complete request is being worked on, or an answer has begun. A 400 written now would be taken
 * for its answer, and a write that may have happened would look refused.
 */
function hasForeignAnswer(socket: Duplex): boolean {
  const {_httpMessage: response} = socket as Duplex & {_httpMessage?: ServerResponse | null};
  if (response === undefined || response === null) return false;
  return response.headersSent || response.req.complete;
}

function writeProblem(socket: Duplex, code: ErrorCode, detail: string, more = ''): void {
  const {status, title} = errorTable[code];
  const body = problemJson(code, detail, {isRead: true});
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${problemType}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-cache\r\n` +
      `X-Content-Type-Options: nosniff\r\nVary: Accept\r\n${more}Connection: close\r\n\r\n${body}`,
  );
  // A peer that does not close its side, or does not read, is not waited for.
  socket.once('finish', () => socket.destroy());
}
