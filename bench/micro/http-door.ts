/**
 * The HTTP front door over a service that answers at once: 16 connections of this same process, so
 * the figures hold a small client as well. The difference to the bare echo of the same shape is
 * what the door itself costs.
 */
import http from 'node:http';
import net from 'node:net';
import type {AddressInfo} from 'node:net';
import {HttpApi} from '../../src/api/http/http-api.ts';
import {silentLogger} from '../../src/base/logger.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import {WatchHub} from '../../src/node/watch-hub.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {FakeService} from '../../test/contract/fake-service.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {Stopwatch} from './stopwatch.ts';

const connectionCount = 16;
const requestCount = 4_096;
const body = JSON.stringify({key: 'key-000000000', value: 'v'.repeat(128)});
const putRequest = Buffer.from(
  `PUT /kv HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
);
const getRequest = Buffer.from('GET /kv/key-000000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');

const written: CommandResult = {
  type: 'transaction',
  revision: 2,
  succeeded: true,
  results: [{type: 'put', version: 1, previous: null}],
};

/** Its store is a model for tests; here no write reaches it. */
class PromptService extends FakeService {
  override propose(...[, , callback]: Parameters<FakeService['propose']>): void {
    setImmediate(() => callback(null, written));
  }
}

export async function measureHttpDoor(stopwatch: Stopwatch): Promise<void> {
  const echo = http.createServer((request, response) => {
    request.on('data', () => undefined);
    request.on('end', () => response.end('{"key":"key-000000000","revision":2,"version":1}'));
  });
  await new Promise<void>(resolve => echo.listen(0, '127.0.0.1', resolve));
  const {port} = echo.address() as AddressInfo;
  await measureServer(stopwatch, {name: 'HTTP: bare node:http echo', port, request: putRequest});
  echo.close();

  const api = new HttpApi({
    service: new PromptService(),
    watches: new WatchHub({
      source: new KvStateMachine(new FakeRows()),
      clock: realClock,
      refusal: () => null,
    }),
    address: {host: '127.0.0.1', port: 0},
    hostNames: [],
    corsOrigins: [],
    logger: silentLogger,
    clock: realClock,
    metricsText: () => Promise.resolve(''),
    observe: () => undefined,
  });
  await new Promise<void>((resolve, reject) => {
    api.start(error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  const door = {port: api.address().port};
  await measureServer(stopwatch, {...door, name: 'HTTP: PUT of JSON', request: putRequest});
  await measureServer(stopwatch, {...door, name: 'HTTP: GET, absent key', request: getRequest});
  await new Promise<void>(resolve => api.stop(100, resolve));
}

async function measureServer(
  stopwatch: Stopwatch,
  {name, port, request}: {readonly name: string; readonly port: number; readonly request: Buffer},
): Promise<void> {
  const sockets = await Promise.all(Array.from({length: connectionCount}, () => connected(port)));
  await stopwatch.measureAsync(name, requestCount, () => roundTrips(sockets, request));
  for (const socket of sockets) socket.destroy();
}

function connected(port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({port, host: '127.0.0.1', noDelay: true});
    socket.once('error', reject);
    socket.once('connect', () => resolve(socket));
  });
}

/** An answer is small and comes in one piece. */
function roundTrips(sockets: readonly net.Socket[], request: Buffer): Promise<void> {
  return new Promise(resolve => {
    let sentCount = 0;
    let answeredCount = 0;
    for (const socket of sockets) {
      socket.removeAllListeners('data');
      socket.on('data', () => {
        answeredCount += 1;
        if (sentCount < requestCount) {
          sentCount += 1;
          socket.write(request);
        } else if (answeredCount === requestCount) resolve();
      });
      sentCount += 1;
      socket.write(request);
    }
  });
}
