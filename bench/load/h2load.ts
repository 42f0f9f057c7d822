/** One round of load from h2load, one thread, one fixed request at a time on every connection. */
import {readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {runToEnd} from '../systems/child-process.ts';
import type {H2loadFigures} from './h2load-output.ts';
import {parseH2loadOutput} from './h2load-output.ts';
import type {LoadShape} from './wrk.ts';

export interface FixedRequest {
  readonly protocol: 'grpc' | 'http/1.1';
  readonly method: 'POST' | 'PUT';
  /** `/etcdserverpb.KV/Put` or the like. */
  readonly path: string;
  readonly body: Buffer;
}

const protocolArgs: Readonly<Record<FixedRequest['protocol'], readonly string[]>> = {
  grpc: ['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
  'http/1.1': ['--h1'],
};

const graceMs = 15_000;

/** With `offeredPerSecond` each connection sends at its share of that rate, else without pause. */
export async function runH2load(
  shape: LoadShape & {readonly offeredPerSecond?: number},
  request: FixedRequest,
  scratchDirectory: string,
): Promise<H2loadFigures> {
  const body = path.join(scratchDirectory, 'h2load.body');
  const log = path.join(scratchDirectory, 'h2load.log');
  writeFileSync(body, request.body);
  rmSync(log, {force: true});
  const {connectionCount, offeredPerSecond} = shape;
  const pace =
    offeredPerSecond === undefined ? [] : [`--rps=${offeredPerSecond / connectionCount}`];
  const args = [
    ...['-t', '1', '-c', String(connectionCount), '-m', '1'],
    ...['-D', String(shape.durationSeconds), '--warm-up-time=0'],
    ...['-d', body, '-H', `:method: ${request.method}`, '--log-file', log],
    ...[...protocolArgs[request.protocol], ...pace],
    `http://127.0.0.1:${shape.port}${request.path}`,
  ];
  const timeoutMs = shape.durationSeconds * 1000 + graceMs;
  const output = await runToEnd('h2load', args, {timeoutMs});
  return parseH2loadOutput(output, readFileSync(log, 'utf8'));
}
