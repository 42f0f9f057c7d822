import assert from 'node:assert/strict';
import {once} from 'node:events';
import {Socket} from 'node:net';
import {test} from 'node:test';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import {noContent} from '../../../test/contract/no-content.ts';
import {BufferBudget} from './buffer-budget.ts';
import {PlainConnection, type PlainHost} from './plain-connection.ts';
import type {Wire} from './wire.ts';

const head = (method: string, target: string, more = ''): string =>
  `${method} ${target} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

const put = (key: string, value: string, more = ''): string =>
  `${head('PUT', `/kv/${key}`, `Content-Length: ${value.length}\r\n${more}`)}${value}`;

/** Resolves with all that was received once `pattern` matches it. */
function until(socket: Socket, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (pattern.test(received)) resolve(received);
    });
    socket.once('close', () => reject(new Error(`closed after ${received}`)));
  });
}

function withoutDate(answer: string): string {
  return answer.replace(/Date: [^\r]*\r\n/g, '');
}

/** Makes a request one that is not plain, and means nothing. */
const notPlain = 'TE: trailers\r\n';

test('a plain request is answered as node:http answers it, to the letter', async t => {
  const http = await startHttp(t);
  const ask = (method: string, target: string, more: string, body = ''): Promise<string> =>
    http.raw(head(method, target, `${more}Connection: close\r\n`) + body);
  const requests: readonly (readonly [string, string, string?, string?])[] = [
    ['PUT', '/kv', 'Content-Length: 33\r\n', '{"key":"\\u00e4","value":"\\u00f6"}'],
    ['GET', '/kv/%C3%A4', 'Accept: application/json\r\n'],
    ['GET', '/kv/%C3%A4', 'Accept: application/octet-stream\r\n'],
    ['HEAD', '/kv/%C3%A4'],
    ['GET', '/kv/%C3%A4', 'If-None-Match: "1"\r\n'],
    ['GET', '/kv?limit=3'],
    ['GET', '/kv/none'],
    ['GET', '/kv/%zz'],
    ['GET', '/nowhere'],
    ['POST', '/kv'],
    ['GET', '/kv/#'],
    ['PUT', '/kv/a', 'Content-Length: 1\r\nHost: b\r\n', 'x'],
    ['PUT', '/kv/a', 'Content-Length: 1\r\nOrigin: http://evil.example\r\n', 'x'],
    ['GET', '/status'],
    ['GET', '/livez'],
    ['GET', '/metrics'],
  ];
  for (const [method, target, more = '', body] of requests) {
    const plain = await ask(method, target, more, body);
    const other = await ask(method, target, more + notPlain, body);
    const name = `${method} ${target} ${more}`;
    assert.match(plain, /^HTTP\/1\.1 \d{3} [^\r]*\r\n/, name);
    assert.match(plain, /\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT\r\n/, name);
    // The second PUT of the pair makes the next revision.
    const [first, second] = [plain, other].map(answer =>
      withoutDate(answer).replace(/(evision"?: ?|version":)\d+/g, '$1N'),
    );
    assert.equal(first, second, name);
  }
});

test('a connection that is kept says how long, as node:http does', async t => {
  const http = await startHttp(t);
  const answers: string[] = [];
  for (const more of ['', notPlain]) {
    const socket = http.socket();
    socket.write(head('GET', '/livez', more));
    answers.push(withoutDate(await until(socket, /\r\n\r\n./)));
    socket.destroy();
  }
  assert.match(answers[0] ?? '', /\r\nConnection: keep-alive\r\nKeep-Alive: timeout=65\r\n/);
  assert.equal(answers[0], answers[1]);
});

test('a request may arrive in pieces, a few or many', async t => {
  const http = await startHttp(t);
  for (const size of [1, 7, 40]) {
    const socket = http.socket();
    socket.setNoDelay(true);
    const answered = until(socket, /"version":\d+}/);
    const text = put(`pieces-${size}`, 'v'.repeat(60));
    for (let at = 0; at < text.length; at += size) {
      await new Promise<void>(resolve => {
        socket.write(text.slice(at, at + size), () => setImmediate(resolve));
      });
    }
    assert.match(await answered, /^HTTP\/1\.1 200 /);
    socket.destroy();
  }
});

test('pipelined requests are answered in their order, whatever their shape', async t => {
  const http = await startHttp(t);
  const socket = http.socket();
  const answered = until(socket, /"value":"x"/);
  socket.write(
    put('a', '1') +
      head('GET', '/kv/a') +
      put('a', '22') +
      head('GET', '/kv/a', 'Accept: */*\r\n') +
      head('GET', '/kv/a', notPlain) +
      put('a', '333', notPlain) +
      head('GET', '/kv/a') +
      put('last', 'x') +
      head('GET', '/kv/last'),
  );
  const received = await answered;
  const lengths = [...received.matchAll(/"value":"([^"]*)"/g)].map(match => match[1]);
  assert.deepEqual(lengths, ['1', '22', '22', '333', 'x']);
  socket.destroy();
});

test('while one request is answered, the next ones wait without being lost', async t => {
  const http = await startHttp(t);
  http.service.hold();
  const socket = http.socket();
  const answered = until(socket, /"value":"v9"/);
  for (let i = 0; i < 10; i++) socket.write(put('k', `v${i}`));
  socket.write(head('GET', '/kv/k'));
  while (http.service.heldCount === 0) await new Promise(resolve => setImmediate(resolve));
  assert.equal(http.service.heldCount, 1);
  http.service.letGo();
  assert.equal((await answered).match(/HTTP\/1\.1 200 OK/g)?.length, 11);
  socket.destroy();
});

test('a client that closes its half still gets its answer', async t => {
  const http = await startHttp(t);
  const socket = http.socket();
  socket.end(put('half', 'closed'));
  assert.match(await until(socket, /"version":1}/), /^HTTP\/1\.1 200 /);
  await once(socket, 'close');
  http.service.hold();
  const several = http.socket();
  const received = until(several, /INVALID_REQUEST/);
  several.end(put('half', '1') + head('GET', '/kv/half') + head('PATCH', '/kv'));
  await once(several, 'finish');
  while (http.service.heldCount === 0) await new Promise(resolve => setImmediate(resolve));
  http.service.letGo();
  const statuses = [...(await received).matchAll(/HTTP\/1\.1 (\d+)/g)].map(match => match[1]);
  assert.deepEqual(statuses, ['200', '200', '400']);
});

test('half a request at the end of a connection is refused', async t => {
  const http = await startHttp(t);
  const socket = http.socket();
  socket.end(put('half', 'closed').slice(0, -1));
  assert.match(await until(socket, /INVALID_REQUEST/), /^HTTP\/1\.1 400 /);
  await once(socket, 'close');
  assert.equal(http.service.proposed.length, 0);
});

const timeouts = {checkingIntervalMs: 5, headersTimeoutMs: 30, requestTimeoutMs: 30};

for (const [what, bytes] of [
  ['head', put('slow', 'value').slice(0, 20)],
  ['body', put('slow', 'value').slice(0, -1)],
] as const) {
  test(`a ${what} that comes too slowly is refused`, async t => {
    const http = await startHttp(t, {timeouts});
    assert.match(await http.raw(bytes), /^HTTP\/1\.1 408 .*REQUEST_TIMEOUT/s);
  });
}

test('a connection that says nothing is told, one that has nothing more to say is closed', async t => {
  const http = await startHttp(t, {timeouts: {...timeouts, keepAliveTimeoutMs: 40}});
  assert.match(await http.raw(''), /^HTTP\/1\.1 408 /);
  const received = await http.raw(head('GET', '/livez'));
  assert.equal(received.match(/HTTP\/1\.1/g)?.length, 1);
});

test('an answer that is not read holds its memory only until the client goes', async t => {
  const http = await startHttp(t);
  for (let i = 0; i < 8; i++) await http.put(`large-${i}`, 'x'.repeat(1_000_000));
  const socket = http.socket();
  socket.pause();
  socket.write(head('GET', '/kv').repeat(20));
  while (http.api.bufferSizeBytes() === 0) await new Promise(resolve => setImmediate(resolve));
  const held = http.api.bufferSizeBytes();
  assert.ok(held <= 9_000_000, `${held} bytes for one connection`);
  socket.destroy();
  while (http.api.bufferSizeBytes() > 0) await new Promise(resolve => setImmediate(resolve));
});

test('bodies that arrive slowly are counted against the memory of the server', async t => {
  const http = await startHttp(t);
  const sizeBytes = 40_000;
  const sockets: Socket[] = [];
  for (let i = 0; i < 5; i++) {
    const socket = http.socket();
    socket.write(put(`slow-${i}`, 'v'.repeat(sizeBytes)).slice(0, -1));
    sockets.push(socket);
  }
  while (http.api.bufferSizeBytes() < sockets.length * sizeBytes) {
    await new Promise(resolve => setImmediate(resolve));
  }
  for (const socket of sockets) {
    const answered = until(socket, /"version":1}/);
    socket.write('v');
    await answered;
    socket.destroy();
  }
  assert.equal(http.api.bufferSizeBytes(), 0);
});

test('a large request goes on when the small one before it is answered', async () => {
  class Client extends Socket {
    override _read(): void {
      // What arrives is pushed.
    }

    override _write(_bytes: unknown, _encoding: string, callback: () => void): void {
      callback();
    }
  }
  const client = new Client();
  const wires: Wire[] = [];
  new PlainConnection(client, hostOf({onRequest: wire => wires.push(wire)}), () => undefined);
  const arrived = async (bytes: string): Promise<void> => {
    client.push(Buffer.from(bytes));
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve));
  };
  const large = put('large', 'v'.repeat(60_000));
  await arrived(put('small', 'v'));
  await arrived(large.slice(0, 30_000));
  assert.equal(client.isPaused(), true);
  wires[0]?.send(noContent);
  await arrived(large.slice(30_000));
  assert.equal(wires.length, 2);
  client.destroy();
});

/** What is written to it leaves when the test says so. */
class SlowReader extends Socket {
  #written: (() => void) | null = null;

  override _read(): void {
    // What arrives is pushed.
  }

  override _write(_bytes: unknown, _encoding: string, callback: () => void): void {
    this.#written = callback;
  }

  override _writev(_chunks: unknown, callback: () => void): void {
    this.#written = callback;
  }

  override _final(callback: () => void): void {
    callback();
  }

  readOn(): void {
    const written = this.#written;
    this.#written = null;
    written?.();
  }
}

/** Behind its request, with a large answer on the way. */
async function answeredReader(): Promise<[SlowReader, PlainConnection]> {
  // As a server's sockets are: a client may close its half first.
  const client = new SlowReader({allowHalfOpen: true});
  const wires: Wire[] = [];
  const host = hostOf({onRequest: wire => wires.push(wire)});
  const connection = new PlainConnection(client, host, () => undefined);
  client.push(Buffer.from(head('GET', '/kv')));
  while (wires.length === 0) await new Promise(resolve => setImmediate(resolve));
  const body = Buffer.alloc(1_000_000);
  wires[0]?.send({...noContent, status: 200, sizeBytes: body.length, body});
  return [client, connection];
}

test('a client that reads slowly is not taken for a silent one', async () => {
  const [client, connection] = await answeredReader();
  const idleTimeoutMs = 60_000;
  for (let nowMs = 0; nowMs < 3 * idleTimeoutMs; nowMs += 5_000) connection.checkTime(nowMs);
  assert.equal(client.destroyed, false);
  assert.equal(client.timeout, idleTimeoutMs, 'the socket sees whether anything leaves');
  while (client.writableLength > 0) {
    client.readOn();
    await new Promise(resolve => setImmediate(resolve));
  }
  connection.checkTime(3 * idleTimeoutMs);
  assert.equal(client.timeout, 0);
  connection.checkTime(4 * idleTimeoutMs);
  assert.equal(client.destroyed, true);
});

test('a client that reads nothing for the idle time is cut', async () => {
  const [client, connection] = await answeredReader();
  connection.checkTime(0);
  client.emit('timeout');
  assert.equal(client.destroyed, true);
});

test('a client that closes its half while its answer leaves is not waited for', async () => {
  const [client] = await answeredReader();
  client.push(null);
  await once(client, 'end');
  const finished = once(client, 'finish');
  while (client.writableLength > 0) {
    client.readOn();
    await new Promise(resolve => setImmediate(resolve));
  }
  await finished;
  assert.equal(client.destroyed, true);
});

for (const [every, shape] of [
  'later',
  'at once, every second',
  'at once, every fourth',
].entries()) {
  test(`small requests that are pipelined are read as fast as they are answered: ${shape}`, () =>
    readAsAnswered(every * 2));
}

/** Every `atOnceEvery`-th is answered inside the call that hands it over; 0: none. */
async function readAsAnswered(atOnceEvery: number): Promise<void> {
  const request = put('a', 'v');
  const chunk = Buffer.from(request.repeat(Math.floor(64_000 / request.length)));
  let chunkCount = 0;
  let requestCount = 0;
  class Client extends Socket {
    override _read(): void {
      chunkCount++;
      this.push(chunk);
    }

    override _write(_bytes: unknown, _encoding: string, callback: () => void): void {
      callback();
    }
  }
  const client = new Client();
  let answerCount = 0;
  const answered = new Promise<void>(resolve => {
    const host = hostOf({
      onRequest: wire => {
        const answer = (): void => {
          answerCount++;
          if (answerCount === 500) resolve();
          else if (answerCount < 500) wire.send(noContent);
        };
        requestCount++;
        if (atOnceEvery > 0 && requestCount % atOnceEvery === 0) answer();
        else setImmediate(answer);
      },
    });
    new PlainConnection(client, host, () => undefined);
  });
  await answered;
  assert.ok(chunkCount <= 4, `${chunkCount} chunks read for ${answerCount} answers`);
  client.destroy();
}

function hostOf(fields: Pick<PlainHost, 'onRequest'>): PlainHost {
  const timeoutMs = 60_000;
  return {
    ...fields,
    nowMs: () => 0,
    closingLines: () => '\r\n',
    budget: new BufferBudget(),
    arrivals: {goFirst: false, defer: () => assert.fail('nobody arrives')},
    timeouts: {
      headersTimeoutMs: timeoutMs,
      requestTimeoutMs: timeoutMs,
      keepAliveTimeoutMs: timeoutMs,
      idleTimeoutMs: timeoutMs,
    },
    handOver: () => assert.fail('all of it is plain'),
  };
}

test('a request that waits for connections is not given up as slow', async () => {
  const deferred: (() => void)[] = [];
  const arrivals = {goFirst: true, defer: (callback: () => void) => void deferred.push(callback)};
  let requestCount = 0;
  const usual = hostOf({onRequest: () => (requestCount += 1)});
  const host = {...usual, arrivals, timeouts: {...usual.timeouts, headersTimeoutMs: 1_000}};
  const client = new Socket();
  const connection = new PlainConnection(client, host, () => undefined);
  client.push(put('a', 'v'));
  while (deferred.length === 0) await new Promise(resolve => setImmediate(resolve));
  connection.checkTime(1_000);
  assert.equal(requestCount, 0);
  for (const callback of deferred) callback();
  assert.equal(requestCount, 1);
  client.destroy();
});
