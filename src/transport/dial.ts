/**
 * One attempt to open a channel: an HTTP request with `Upgrade`, answered by `101` and a raw socket
 * or by a refusal. Reports exactly once, later, unless it is cancelled first.
 */
import {Buffer} from 'node:buffer';
import * as http from 'node:http';
import type {Socket} from 'node:net';
import {dialHost, parseAddress} from '../base/address.ts';
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {readableError} from '../base/network-error.ts';
import type {NodeId} from '../raft/ids.ts';
import {upgradeProtocol} from './handshake.ts';
import type {Refusal} from './transport.ts';

export type DialResult =
  | {readonly type: 'open'; readonly socket: Socket; readonly head: Buffer}
  | {readonly type: 'refused'; readonly refusal: Refusal}
  | {readonly type: 'failed'; readonly error: Error};

export interface DialOptions {
  readonly address: string;
  readonly to: NodeId;
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

/** Returns the cancellation. */
export function dial(options: DialOptions, callback: (result: DialResult) => void): () => void {
  const {clock, to} = options;
  const request = openRequest(options.address, {
    method: 'GET',
    path: '/',
    headers: {...options.headers, connection: 'Upgrade', upgrade: upgradeProtocol},
  });
  let isDone = false;
  const finish = (result: DialResult): void => {
    if (isDone) {
      if (result.type === 'open') result.socket.destroy();
      return;
    }
    isDone = true;
    timer.cancel();
    callback(result);
  };
  const timer = clock.setTimer(limits.peerConnectTimeoutMs, () => {
    request.destroy(new Error(`no answer within ${limits.peerConnectTimeoutMs} ms`));
  });
  request.once('upgrade', (response, socket, head) => {
    if (response.headers['rosetta-from'] === to) {
      finish({type: 'open', socket, head});
      return;
    }
    socket.destroy();
    finish({type: 'failed', error: new Error(`${options.address} is not ${to}`)});
  });
  request.once('response', response => {
    readBody(response, limits.refusalSizeBytesMax, (error, body) => {
      if (error !== null) finish({type: 'failed', error});
      else finish({type: 'refused', refusal: parseRefusal(response.statusCode ?? 0, body)});
      request.destroy();
    });
  });
  request.on('error', error => finish({type: 'failed', error: readableError(error)}));
  request.end();
  return () => {
    isDone = true;
    timer.cancel();
    request.destroy();
  };
}

/** A request on a connection of its own. A bad address fails like an unreachable one. */
export function openRequest(address: string, options: http.RequestOptions): http.ClientRequest {
  const parsed = parseAddress(address);
  return http.request({
    // Port 0 cannot be dialed: the request reports the error like any other.
    host: parsed === null ? 'invalid.invalid' : dialHost(parsed.host),
    port: parsed?.port ?? 0,
    agent: false,
    maxHeaderSize: limits.handshakeHeaderSizeBytesMax,
    ...options,
  });
}

/** Collects at most `sizeBytesMax`; the callback runs once. */
export function readBody(
  stream: http.IncomingMessage,
  sizeBytesMax: number,
  callback: (error: Error | null, body: Buffer) => void,
): void {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  let isDone = false;
  const finish = (error: Error | null): void => {
    if (isDone) return;
    isDone = true;
    callback(error, error === null ? Buffer.concat(chunks) : Buffer.alloc(0));
  };
  stream.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > sizeBytesMax) finish(new Error(`a body above ${sizeBytesMax} bytes`));
    else chunks.push(chunk);
  });
  stream.on('end', () => finish(null));
  stream.on('error', finish);
  stream.on('close', () => finish(new Error('the body was cut off')));
}

export function parseRefusal(status: number, body: Buffer): Refusal {
  const fallback = {status, code: 'UNEXPECTED_ANSWER', detail: `HTTP ${status}`};
  const value = parseJson(body);
  if (typeof value !== 'object' || value === null) return fallback;
  const code: unknown = Reflect.get(value, 'code');
  const detail: unknown = Reflect.get(value, 'detail');
  if (typeof code !== 'string' || typeof detail !== 'string') return fallback;
  return {status, code, detail};
}

/** Undefined, which JSON cannot express, when the body is not JSON. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
