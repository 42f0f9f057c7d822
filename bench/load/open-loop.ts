/**
 * Load at a fixed rate, whatever the server does: a request's latency counts from the moment it was
 * due, so that a server that stalls cannot hide it by holding back the requests behind. Both sides
 * of a comparison are driven by this one program, whose own costs are in both figures.
 */
import http from 'node:http';
import http2 from 'node:http2';
import type {GrpcCall} from './h2load.ts';
import {grpcHeaders} from './h2load.ts';
import type {LoadFigures} from './load-figures.ts';
import {percentile} from './load-figures.ts';

/** One connection: sends a request, and tells whether it succeeded. One at a time. */
interface Connection {
  send(callback: (isSuccess: boolean) => void): void;
  close(): void;
}

export interface OpenLoopShape {
  readonly port: number;
  readonly connectionCount: number;
  readonly durationSeconds: number;
  readonly requestsPerSecond: number;
}

const tickMs = 1;
const drainMs = 5_000;

export function runOpenLoopHttp(
  shape: OpenLoopShape,
  request: {readonly method: string; readonly path: string; readonly body: string},
): Promise<LoadFigures> {
  const {port, connectionCount} = shape;
  return runOpenLoop(
    shape,
    Array.from({length: connectionCount}, () => httpConnection(port, request)),
  );
}

export function runOpenLoopGrpc(shape: OpenLoopShape, call: GrpcCall): Promise<LoadFigures> {
  const {port, connectionCount} = shape;
  return runOpenLoop(
    shape,
    Array.from({length: connectionCount}, () => grpcConnection(port, call)),
  );
}

function runOpenLoop(
  shape: OpenLoopShape,
  connections: readonly Connection[],
): Promise<LoadFigures> {
  const idle = [...connections];
  const due: number[] = [];
  const latencies: number[] = [];
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + shape.durationSeconds * 1000;
  let dueCount = 0;
  let errorCount = 0;
  let runningCount = 0;
  const sendNext = (): void => {
    while (idle.length > 0 && due.length > 0) {
      const connection = idle.pop();
      const dueAtMs = due.shift();
      if (connection === undefined || dueAtMs === undefined) return;
      runningCount += 1;
      connection.send(isSuccess => {
        runningCount -= 1;
        if (isSuccess) latencies.push((performance.now() - dueAtMs) * 1000);
        else errorCount += 1;
        idle.push(connection);
        sendNext();
      });
    }
  };
  return new Promise(resolve => {
    const timer = setInterval(() => {
      const nowMs = performance.now();
      const untilMs = Math.min(nowMs, endsAtMs);
      const wanted = Math.floor(((untilMs - startedAtMs) / 1000) * shape.requestsPerSecond);
      for (; dueCount < wanted; dueCount++) {
        due.push(startedAtMs + (dueCount / shape.requestsPerSecond) * 1000);
      }
      sendNext();
      const isDrained = due.length === 0 && runningCount === 0;
      if (nowMs < endsAtMs || (!isDrained && nowMs < endsAtMs + drainMs)) return;
      clearInterval(timer);
      for (const connection of connections) connection.close();
      resolve({
        requestCount: latencies.length,
        errorCount: errorCount + due.length + runningCount,
        durationSeconds: shape.durationSeconds,
        requestsPerSecond: latencies.length / shape.durationSeconds,
        p50Us: percentile(latencies, 0.5),
        p99Us: percentile(latencies, 0.99),
      });
    }, tickMs);
  });
}

function httpConnection(
  port: number,
  request: {readonly method: string; readonly path: string; readonly body: string},
): Connection {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  const {method, path, body} = request;
  const headers = {'content-length': Buffer.byteLength(body)};
  const options = {host: '127.0.0.1', port, method, path, headers, agent};
  return {
    send: callback => {
      const sent = http.request(options, response => {
        response.resume();
        response.once('end', () => callback(response.statusCode === 200));
      });
      sent.once('error', () => callback(false));
      sent.end(body);
    },
    close: () => agent.destroy(),
  };
}

function grpcConnection(port: number, call: GrpcCall): Connection {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  const headers = {...grpcHeaders, ':method': 'POST', ':path': call.path};
  return {
    send: callback => {
      const stream = session.request(headers);
      let isSuccess = false;
      stream.once('trailers', (trailers: http2.IncomingHttpHeaders) => {
        isSuccess = trailers['grpc-status'] === '0';
      });
      stream.once('error', () => (isSuccess = false));
      stream.once('close', () => callback(isSuccess));
      stream.resume();
      stream.end(call.body);
    },
    close: () => session.destroy(),
  };
}
