/** HTTP transports on loopback ports of the system's choice, and raw sockets to annoy them with. */
import {once} from 'node:events';
import * as net from 'node:net';
import assert from 'node:assert/strict';
import type {Clock} from '../../src/base/clock.ts';
import {silentLogger} from '../../src/base/logger.ts';
import type {Logger} from '../../src/base/logger.ts';
import {Prng} from '../../src/base/prng.ts';
import {HttpTransport, boundAddress} from '../../src/transport/http-transport.ts';
import type {Transport} from '../../src/transport/transport.ts';
import type {TransportHarness} from './transport-contract.ts';

export const testClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return {cancel: () => clearTimeout(timer)};
  },
  afterPoll: callback => void setImmediate(callback),
};

export interface HttpHarness extends TransportHarness {
  createHttp(name: string, listen?: string, logger?: Logger): HttpTransport;
}

export function httpHarness(): HttpHarness {
  const transports: HttpTransport[] = [];
  let wake = (): void => undefined;
  const createHttp: HttpHarness['createHttp'] = (_name, listen = '127.0.0.1:0', logger) => {
    const transport = new HttpTransport({
      listen,
      clock: testClock,
      prng: new Prng(transports.length + 1),
      logger: logger ?? silentLogger,
    });
    transports.push(transport);
    return transport;
  };
  return {
    createHttp,
    create: name => createHttp(name),
    addressOf: transport => boundAddress(asHttp(transport)),
    onEvent: () => wake(),
    until: async condition => {
      const deadlineMs = performance.now() + 10_000;
      while (!condition()) {
        assert.ok(performance.now() < deadlineMs, 'the condition did not come to hold in 10 s');
        // Woken by the next event; the timer is for conditions that no event announces.
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, 20);
          wake = () => {
            clearTimeout(timer);
            setImmediate(resolve);
          };
        });
      }
    },
    close: async () => {
      await Promise.all(
        transports.map(transport => new Promise<void>(resolve => transport.stop(resolve))),
      );
    },
  };
}

export function asHttp(transport: Transport): HttpTransport {
  assert.ok(transport instanceof HttpTransport);
  return transport;
}

/** Sends bytes, and resolves with everything that came back when the other side has closed. */
export async function rawExchange(port: number, bytes: string | Buffer): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', chunk => chunks.push(chunk));
  // A reset is a way of closing, too.
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  socket.write(bytes);
  await closed;
  return Buffer.concat(chunks).toString('latin1');
}
