/** Over bare sockets: what slow, broken and hostile clients send, and what it costs. */
import assert from 'node:assert/strict';
import {subscribe, unsubscribe} from 'node:diagnostics_channel';
import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import {test} from 'node:test';
import {HttpFixture, startHttp} from '../../../test/contract/http-fixture.ts';
import {setLimits} from '../../../test/sim/small-limits.ts';
import {limits} from '../../base/limits.ts';
import {readRequestHeaders} from './request-headers.ts';

const close = 'Connection: close\r\n';

/** The status and the code of each answer in `received`. */
function answers(received: string): string[] {
  const found = received.split('HTTP/1.1 ').slice(1);
  return found.map(answer => /"code":"(\w+)"/.exec(answer)?.[1] ?? answer.slice(0, 3));
}

async function codes(http: HttpFixture, bytes: string | Uint8Array): Promise<string> {
  return answers(await http.raw(bytes)).join(' ');
}

test('ambiguous and malformed requests are refused and change nothing', async t => {
  const http = await startHttp(t);
  const put = `PUT /kv/k HTTP/1.1\r\nHost: a\r\n${close}`;
  const cases: [string, string][] = [
    ['garbage\r\n\r\n', 'INVALID_REQUEST'],
    ['GET /kv\r\n\r\n', 'INVALID_HOST'],
    ['\x16\x03\x01\x02\x00\x01\x00', 'INVALID_REQUEST'],
    [`${put}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy`, 'INVALID_REQUEST'],
    [`${put}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 'INVALID_REQUEST'],
    [`${put}Transfer-Encoding: gzip\r\n\r\nx`, 'INVALID_REQUEST'],
    [`${put}Transfer-Encoding: chunked, gzip\r\n\r\nx`, 'INVALID_REQUEST'],
    [`${put}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n`, 'INVALID_PARAMETER'],
    [`${put}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 'INVALID_PARAMETER'],
    [`${put}Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n`, 'INVALID_REQUEST'],
    [`${put}Content-Length: -1\r\n\r\n`, 'INVALID_REQUEST'],
    [`${put}Content-Length: 1x\r\n\r\nx`, 'INVALID_REQUEST'],
    [`${put}Bad Header: 1\r\n\r\n`, 'INVALID_REQUEST'],
    [`PUT /kv/k HTTP/1.1\r\n${close}Content-Length: 0\r\n\r\n`, 'INVALID_HOST'],
    [`${put}Host: b\r\nContent-Length: 0\r\n\r\n`, 'INVALID_HOST'],
    [`${put}If-Match: "1"\r\nIf-Match: "2"\r\nContent-Length: 0\r\n\r\n`, 'INVALID_PARAMETER'],
    [`${put}Idempotency-Key: a\r\nidempotency-key: a\r\n\r\n`, 'INVALID_PARAMETER'],
    [`PUT http://a/kv/k HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 'INVALID_TARGET'],
    [`PUT /kv/k#x HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 'INVALID_TARGET'],
    [`PUT * HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 'INVALID_TARGET'],
    [`${put}Expect: the-best\r\nContent-Length: 1\r\n\r\n`, 'EXPECTATION_FAILED'],
    [`CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n`, 'METHOD_NOT_ALLOWED'],
  ];
  for (const [bytes, code] of cases) assert.equal(await codes(http, bytes), code, bytes);
  const raw = Buffer.from(`PUT /kv/\xff HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 'latin1');
  assert.match(await codes(http, raw), /^INVALID_(TARGET|REQUEST)$/);
  assert.equal(http.service.proposed.length, 0);
});

test('answers to what never became a request carry the headers of all answers', async t => {
  const http = await startHttp(t);
  for (const bytes of ['garbage\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n']) {
    const received = await http.raw(bytes);
    assert.match(received, /\r\nCache-Control: no-cache\r\n/, bytes);
    assert.match(received, /\r\nX-Content-Type-Options: nosniff\r\n/, bytes);
    assert.match(received, /\r\nVary: Accept\r\n/, bytes);
  }
});

test('HTTP/1.0 without Host is served', async t => {
  const http = await startHttp(t);
  assert.equal(await codes(http, 'GET /livez HTTP/1.0\r\n\r\n'), '200');
});

test('an offer to upgrade is ignored and the request is answered', async t => {
  const http = await startHttp(t);
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n';
  const socket = http.socket();
  socket.setEncoding('latin1');
  socket.write(`GET /livez HTTP/1.1\r\nHost: a\r\n${offer}\r\n`);
  const [received] = (await once(socket, 'data')) as [string];
  assert.match(received, /^HTTP\/1\.1 200 OK/);
  socket.destroy();
});

test('too large and too many headers are 431', async t => {
  const http = await startHttp(t);
  const big = `GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9000)}\r\n\r\n`;
  assert.equal(await codes(http, big), 'HEADERS_TOO_LARGE');
  const head = `GET /livez HTTP/1.1\r\nHost: a\r\n${close}`;
  const many = (count: number): string => 'A: b\r\n'.repeat(count);
  assert.equal(await codes(http, `${head}${many(limits.httpHeaderCountMax - 2)}\r\n`), '200');
  assert.equal(
    await codes(http, `${head}${many(limits.httpHeaderCountMax - 1)}\r\n`),
    'HEADERS_TOO_LARGE',
  );
  assert.throws(() => readRequestHeaders(new Array<string>(200).fill('x'), {mustHaveHost: false}), {
    code: 'HEADERS_TOO_LARGE',
  });
});

test('a body that is announced too large is refused before it is sent', async t => {
  const http = await startHttp(t);
  const value = limits.valueSizeBytesMax + 1;
  const json = limits.jsonBodySizeBytesMax + 1;
  const raw = await http.raw(
    `PUT /kv/k HTTP/1.1\r\nHost: a\r\nContent-Length: ${value}\r\n` +
      `Expect: 100-continue\r\n\r\n`,
  );
  assert.deepEqual(answers(raw), ['VALUE_TOO_LARGE']);
  const body = await http.raw(
    `PUT /kv HTTP/1.1\r\nHost: a\r\nContent-Length: ${json}\r\nExpect: 100-continue\r\n\r\n`,
  );
  assert.deepEqual(answers(body), ['BODY_TOO_LARGE']);
});

test('the answer to a body that is too large reaches a client that sends it all', async t => {
  const http = await startHttp(t);
  const body = Buffer.alloc(limits.valueSizeBytesMax + 1);
  for (const headers of [{}, {'Transfer-Encoding': 'chunked'}]) {
    const answer = await http.request('PUT', '/kv/k', {body, headers});
    assert.equal(answer.status, 413);
    assert.equal(answer.json?.['code'], 'VALUE_TOO_LARGE');
    assert.equal(answer.headers.connection, 'close');
  }
  const text = JSON.stringify({key: 'k', value: 'x'.repeat(limits.valueSizeBytesMax + 1)});
  const json = await http.request('PUT', '/kv', {body: text});
  assert.equal(json.json?.['code'], 'VALUE_TOO_LARGE');
  const largest = await http.request('PUT', '/kv/k', {body: body.subarray(1)});
  assert.equal(largest.status, 200);
  assert.equal(http.service.proposed.length, 1);
  assert.equal(http.api.bufferSizeBytes(), 0);
});

test('a client that asks first is invited when its body is welcome', async t => {
  const http = await startHttp(t);
  const socket = http.socket();
  socket.setEncoding('latin1');
  socket.write(
    `PUT /kv/k HTTP/1.1\r\nHost: a\r\n${close}Content-Length: 1\r\nExpect: 100-continue\r\n\r\n`,
  );
  const [invitation] = (await once(socket, 'data')) as [string];
  assert.match(invitation, /^HTTP\/1\.1 100 Continue/);
  socket.write('v');
  const [answer] = (await once(socket, 'data')) as [string];
  assert.match(answer, /^HTTP\/1\.1 200 OK/);
});

test('pipelined requests are answered in order on one connection', async t => {
  const http = await startHttp(t);
  const put = (value: string): string =>
    `PUT /kv/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n${value}`;
  const get = 'GET /kv/k HTTP/1.1\r\nHost: a\r\n\r\n';
  const last = `GET /nope HTTP/1.1\r\nHost: a\r\n${close}\r\n`;
  const received = await http.raw(put('1') + put('2') + get + last);
  assert.equal(http.service.proposed.length, 2);
  assert.deepEqual(answers(received), ['200', '200', '200', 'ROUTE_NOT_FOUND']);
  assert.match(received, /"version":1\}[^]*"version":2\}[^]*"value":"2"/);
});

test('garbage behind a running write is never taken for its answer', async t => {
  const http = await startHttp(t);
  http.service.hold();
  const request = (more: string): string =>
    `PUT /kv/k HTTP/1.1\r\nHost: a\r\n${more}Content-Length: 1\r\n\r\nvgarbage\r\n\r\n`;
  // node:http reads on while it answers; the connection can only be cut.
  assert.equal(await http.raw(request('TE: trailers\r\n')), '');
  const {heldCount} = http.service;
  // A plain connection reads on when it has answered.
  const received = http.raw(request(''));
  while (http.service.heldCount === heldCount) await new Promise(resolve => setImmediate(resolve));
  http.service.letGo();
  const [, first, second] = (await received).split('HTTP/1.1 ');
  assert.match(first ?? '', /^200 OK\r\n/);
  assert.match(second ?? '', /^400 /);
  assert.equal(http.service.proposed.length, heldCount + 1);
});

test('headers and bodies that are sent too slowly are 408', async t => {
  const http = await startHttp(t, {
    timeouts: {headersTimeoutMs: 60, requestTimeoutMs: 120, checkingIntervalMs: 20},
  });
  assert.equal(await codes(http, 'GET /livez HTTP/1.1\r\nHo'), 'REQUEST_TIMEOUT');
  const slow = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc';
  assert.equal(await codes(http, slow), 'REQUEST_TIMEOUT');
  assert.equal(http.service.proposed.length, 0);
});

test('a silent connection is closed', async t => {
  const timeouts = {idleTimeoutMs: 50, keepAliveTimeoutMs: 50, checkingIntervalMs: 20};
  const http = await startHttp(t, {timeouts});
  assert.equal(await http.raw(''), '');
});

test('a client that goes away in the middle leaves nothing behind', async t => {
  const http = await startHttp(t);
  const half = http.socket();
  half.write('PUT /kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc', () =>
    half.destroy(),
  );
  await once(half, 'close');
  http.service.hold();
  const gone = http.socket();
  gone.write('PUT /kv/b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx');
  while (http.observations.length === 0 && http.service.heldCount === 0) {
    await new Promise(resolve => setImmediate(resolve));
  }
  gone.destroy();
  await once(gone, 'close');
  http.service.letGo();
  assert.equal((await http.request('GET', '/livez')).status, 200);
  assert.equal(http.api.bufferSizeBytes(), 0);
  assert.equal(http.service.proposed.length, 1);
});

test('a connection with many requests behind one is read no further until they are done', async t => {
  const http = await startHttp(t);
  http.service.hold();
  const socket = http.socket();
  // While a connection is new, a second piece may arrive before the first is looked at.
  socket.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(socket, 'data');
  const requestCount = 20_000;
  let startedCount = 0;
  let answerCount = 0;
  const isAnswered = new Promise<void>(resolve => {
    const begin = 'HTTP/1.1 200';
    let rest = '';
    socket.on('data', (chunk: Buffer) => {
      const received = rest + chunk.toString('latin1');
      answerCount += received.split(begin).length - 1;
      // As much as may be the beginning of another, and not a whole one.
      rest = received.slice(1 - begin.length);
      if (answerCount === requestCount) resolve();
    });
  });
  const isRead = new Promise<'read on' | 'stopped'>(resolve => {
    const onStart = (message: unknown): void => {
      const {socket: server} = message as {readonly socket: Socket};
      if (server.remotePort !== socket.localPort) return;
      startedCount++;
      if (startedCount === 1) server.once('pause', () => resolve('stopped'));
      if (startedCount === requestCount) resolve('read on');
    };
    subscribe('http.server.request.start', onStart);
    t.after(() => unsubscribe('http.server.request.start', onStart));
  });
  // Not plain, so that node:http has the connection.
  const put = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 1\r\n\r\nv';
  const get = 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n';
  socket.write(put + get.repeat(requestCount - 1));
  assert.equal(await isRead, 'stopped');
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve));
  const most = 64 + Math.ceil(65_536 / get.length);
  assert.ok(startedCount <= most, `${startedCount} requests wait, at most ${most}`);
  http.service.letGo();
  await isAnswered;
  socket.destroy();
});

test('pipelined requests for large answers are worked on one after the other', async t => {
  const http = await startHttp(t);
  const value = Buffer.alloc(limits.valueSizeBytesMax, 'x');
  for (let i = 0; i < 5; i++) await http.request('PUT', `/kv/${i}`, {body: value});
  const socket = http.socket();
  socket.write('GET /kv HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(200));
  let sizeBytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    assert.ok(http.api.bufferSizeBytes() <= limits.rangeSizeBytesMax);
    sizeBytes += chunk.length;
    if (sizeBytes > 3 * limits.rangeSizeBytesMax) break;
  }
  socket.destroy();
  // The server sees the reset in its own time; another answer proves that it lives on.
  assert.equal((await http.request('GET', '/livez')).status, 200);
});

test('stopping finishes what runs, refuses new connections, and ends', async t => {
  const http = await startHttp(t);
  http.service.hold();
  const running = http.request('PUT', '/kv/k', {body: 'v'});
  while (http.service.heldCount === 0) await new Promise(resolve => setImmediate(resolve));
  const idle = http.socket();
  let received = '';
  idle.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  const idleClosed = once(idle, 'close');
  await once(idle, 'connect');
  assert.equal((await http.request('GET', '/livez')).status, 200);
  const stopped = http.stop();
  // On its way on an open connection: answered, and told that it was the last one.
  idle.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await assert.rejects(http.request('GET', '/livez'), {code: 'ECONNREFUSED'});
  await idleClosed;
  assert.match(received, /^HTTP\/1\.1 200 OK\r\n[^]*\r\nConnection: close\r\n/);
  http.service.letGo();
  const answer = await running;
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.connection, 'close');
  await stopped;
});

test('a stop cuts what does not finish in time', async t => {
  const http = await startHttp(t);
  http.service.hold();
  const running = assert.rejects(http.put('k', 'v'), {code: 'ECONNRESET'});
  while (http.service.heldCount === 0) await new Promise(resolve => setImmediate(resolve));
  await new Promise<void>(resolve => http.api.stop(20, resolve));
  await running;
  http.service.letGo();
});

test('localhost is both loopbacks, where both exist', async t => {
  const http = await startHttp(t, {address: {host: 'localhost', port: 0}});
  assert.equal((await http.request('GET', '/livez')).status, 200);
  const socket = connect(http.port, '::1');
  const outcome = await new Promise<string>(resolve => {
    socket.once('connect', () => resolve('connected'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
  socket.destroy();
  assert.match(outcome, /^(connected|EADDRNOTAVAIL|EAFNOSUPPORT|ENETUNREACH|ECONNREFUSED)$/);
});

test('a port in use is an error of start', async t => {
  const http = await startHttp(t);
  const second = new HttpFixture({address: {host: '127.0.0.1', port: http.port}});
  const error = await new Promise<Error | null>(resolve => second.api.start(resolve));
  assert.equal((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
  await second.stop();
});

test('a CONNECT whose client resets the connection, or that no answer can reach, harms nobody', async t => {
  const http = await startHttp(t);
  const connect = 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n';
  for (let i = 0; i < 20; i++) {
    const socket = http.socket();
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(connect, () => socket.resetAndDestroy());
    await once(socket, 'close');
  }
  // Answered at once with a close, so that the CONNECT behind it finds its socket ended.
  const refused =
    'PUT /status HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  assert.match(await http.raw(refused + connect), /^HTTP\/1\.1 405 /);
  // Behind a write that is not answered yet: a 405 would be taken for the write's answer.
  http.service.hold();
  const write = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 1\r\n\r\nx';
  assert.equal(await http.raw(write + connect), '');
  http.service.letGo();
  assert.equal((await http.request('GET', '/livez')).status, 200);
});

test('a delete whose body breaks off or stalls is refused and has not happened', async t => {
  const http = await startHttp(t, {
    timeouts: {headersTimeoutMs: 500, requestTimeoutMs: 500, checkingIntervalMs: 50},
  });
  await http.put('k', 'v');
  const {length} = http.service.proposed;
  for (const target of ['/kv/k', '/kv?prefix=k']) {
    const request = `DELETE ${target} HTTP/1.1\r\nHost: a\r\n`;
    const chunked = `${request}Transfer-Encoding: chunked\r\n\r\n`;
    assert.equal(await codes(http, `${chunked}zz\r\n`), 'INVALID_REQUEST');
    assert.equal(await codes(http, `${chunked}5\r\nab`), 'REQUEST_TIMEOUT');
    assert.equal(await codes(http, `${request}Content-Length: 5\r\n\r\nab`), 'REQUEST_TIMEOUT');
  }
  assert.equal(http.service.proposed.length, length);
  const answer = await http.request('DELETE', '/kv/k', {body: 'of no use'});
  assert.equal(answer.json?.['deleted'], 1);
});

test('nothing behind an answer that closes the connection is worked on', async t => {
  const http = await startHttp(t);
  const last = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
  const write = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx';
  assert.equal((await http.raw(last + write)).match(/HTTP\/1\.1 200/g)?.length, 1);
  assert.equal(http.service.proposed.length, 1);
  const held =
    'PUT /kv/k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n';
  assert.match(await http.raw(held + 'y'.repeat(9_000_000) + write), /^HTTP\/1\.1 413 /);
  assert.equal(http.service.proposed.length, 1);
});

test('an expectation nobody meets is refused behind the answers to what came before it', async t => {
  const http = await startHttp(t);
  const write = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 1\r\n\r\nx';
  const odd = 'PUT /kv/k HTTP/1.1\r\nHost: a\r\nExpect: the-best\r\nContent-Length: 1\r\n\r\nx';
  const answers = await http.raw(write + write + odd);
  assert.deepEqual(answers.match(/HTTP\/1\.1 [0-9]+/g), [
    'HTTP/1.1 200',
    'HTTP/1.1 200',
    'HTTP/1.1 417',
  ]);
  assert.equal(http.service.proposed.length, 2);
});

test('a connection beyond the most there may be is closed, and one that ends makes room', async t => {
  t.after(setLimits({httpConnectionCountMax: 2}));
  const http = await startHttp(t);
  const get = 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n';
  const answered = async (): Promise<Socket> => {
    const socket = http.socket();
    socket.write(get);
    const [received] = (await once(socket, 'data')) as [Buffer];
    assert.match(received.toString('latin1'), /^HTTP\/1\.1 200 /);
    return socket;
  };
  const first = await answered();
  const second = await answered();
  assert.equal(await http.raw(get), '');
  first.end();
  await once(first, 'close');
  const third = await answered();
  second.destroy();
  third.destroy();
});

test('the servers of localhost share the connections there may be', async t => {
  const http = await startHttp(t, {address: {host: 'localhost', port: 0}, connectionCountMax: 4});
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach(socket => socket.destroy()));
  const isAnswered = async (host: string): Promise<boolean> => {
    const socket = connect(http.port, host).on('error', () => undefined);
    sockets.push(socket);
    socket.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
    const closed = once(socket, 'close').then(() => false);
    return Promise.race([once(socket, 'data').then(() => true), closed]);
  };
  let count = 0;
  // Where there is no IPv6, the first server has them all.
  for (const host of ['127.0.0.1', '::1']) {
    for (let i = 0; i < 5; i++) if (await isAnswered(host)) count += 1;
  }
  assert.equal(count, 4);
});
