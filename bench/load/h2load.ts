/** One round of gRPC load from h2load, one thread, one request at a time on every connection. */
import {readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {runToEnd} from '../systems/child-process.ts';
import type {H2loadFigures} from './h2load-output.ts';
import {parseH2loadOutput} from './h2load-output.ts';
import type {LoadShape} from './wrk.ts';

export interface GrpcCall {
  /** `/etcdserverpb.KV/Put` or the like. */
  readonly path: string;
  readonly body: Buffer;
}

export const grpcHeaders = {'content-type': 'application/grpc', te: 'trailers'} as const;

const graceMs = 15_000;

export async function runH2load(
  shape: LoadShape,
  call: GrpcCall,
  scratchDirectory: string,
): Promise<H2loadFigures> {
  const body = path.join(scratchDirectory, 'h2load.body');
  const log = path.join(scratchDirectory, 'h2load.log');
  writeFileSync(body, call.body);
  rmSync(log, {force: true});
  const headers = Object.entries(grpcHeaders).flatMap(([name, text]) => ['-H', `${name}: ${text}`]);
  const args = [
    ...['-t', '1', '-c', String(shape.connectionCount), '-m', '1'],
    ...['-D', String(shape.durationSeconds), '--warm-up-time=0'],
    ...['-d', body, ...headers, '--log-file', log],
    `http://127.0.0.1:${shape.port}${call.path}`,
  ];
  const timeoutMs = shape.durationSeconds * 1000 + graceMs;
  const output = await runToEnd('h2load', args, {timeoutMs});
  return parseH2loadOutput(output, readFileSync(log, 'utf8'));
}
