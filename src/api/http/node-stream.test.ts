import assert from 'node:assert/strict';
import {once} from 'node:events';
import {createServer} from 'node:http';
import {connect, type AddressInfo, type Socket} from 'node:net';
import {test, type TestContext} from 'node:test';
import {startHttp, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';
import {RosettaError} from '../../base/errors.ts';
import {chunkOf} from './chunked-coding.ts';
import {NodeStream} from './node-stream.ts';

/** All that a socket receives, as latin1 text. */
class Received {
  readonly socket: Socket;
  text = '';

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (piece: string) => (this.text += piece));
  }

  /** Resolves when what has come matches. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.text)) await once(this.socket, 'data');
    return this.text;
  }
}

/** Head, chunks and what follows them; an assertion for a byte that is none of RFC 9112's. */
function readChunks(text: string): {head: string; chunks: string[]; rest: string | null} {
  const headEnd = text.indexOf('\r\n\r\n') + 4;
  const chunks: string[] = [];
  for (let at = headEnd; at < text.length;) {
    const sizeLine = /^([0-9a-f]+)\r\n/.exec(text.slice(at, at + 10));
    assert.ok(sizeLine !== null, `no chunk at ${at}: ${text.slice(at, at + 40)}`);
    const size = parseInt(sizeLine[1] ?? '', 16);
    const start = at + sizeLine[0].length;
    assert.equal(text.slice(start + size, start + size + 2), '\r\n');
    at = start + size + 2;
    if (size === 0) return {head: text.slice(0, headEnd), chunks, rest: text.slice(at)};
    chunks.push(text.slice(start, start + size));
  }
  return {head: text.slice(0, headEnd), chunks, rest: null};
}

async function start(t: TestContext): Promise<{http: HttpFixture; service: MachineService}> {
  const service = new MachineService();
  t.after(() => service.watches.end(new RosettaError('STOPPING', 'the test is over')));
  const http = await startHttp(t, {service, watches: service.watches});
  return {http, service};
}

const watchOf = (version: string): string =>
  `GET /watch?key=a HTTP/${version}\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n`;

function open(http: HttpFixture, t: TestContext, bytes: string): Received {
  const socket = http.socket();
  t.after(() => socket.destroy());
  socket.write(bytes);
  return new Received(socket);
}

const stopping = new RosettaError('STOPPING', 'enough');

test('a watch is chunks that end, and the connection goes on behind them', async t => {
  const {http, service} = await start(t);
  const watch = open(http, t, `${watchOf('1.1')}GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await watch.until(/"progress"/);
  for (const value of ['1', '\u00e4\u20ac']) await http.put('a', value);
  await watch.until(/"revision":3/);
  service.watches.end(stopping);
  const text = await watch.until(/\r\n0\r\n\r\nHTTP[^]*\r\n\r\n./);
  const {head, chunks, rest} = readChunks(text);
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(head, /\r\nTransfer-Encoding: chunked\r\n/);
  assert.match(head, /\r\nConnection: keep-alive\r\n/);
  const lines = chunks.join('').trim().split('\n');
  assert.deepEqual(
    lines.map(line => /"type":"(\w+)"/.exec(line)?.[1]),
    ['progress', 'put', 'put', 'end'],
  );
  assert.ok(
    Buffer.from(lines[2] ?? '', 'latin1')
      .toString()
      .includes('"value":"\u00e4\u20ac"'),
  );
  // The request that came behind the watch has its answer behind it.
  assert.match(rest ?? '', /^HTTP\/1\.1 200 OK\r\n/);
  watch.socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await watch.until(/(HTTP\/1\.1 200[^]*){3}\r\n\r\n./);
});

test('a watch of HTTP/1.0 is delimited by the end of its connection, beside one of 1.1', async t => {
  const {http, service} = await start(t);
  const keepAlive = watchOf('1.0').replace('\r\n\r\n', '\r\nConnection: keep-alive\r\n\r\n');
  const plain = [open(http, t, watchOf('1.0')), open(http, t, keepAlive)];
  const chunked = open(http, t, watchOf('1.1'));
  for (const watch of [...plain, chunked]) await watch.until(/"progress"/);
  for (const value of ['1', '2']) await http.put('a', value);
  for (const watch of [...plain, chunked]) await watch.until(/"revision":3/);
  const closed = Promise.all(plain.map(({socket}) => once(socket, 'end')));
  service.watches.end(stopping);
  await closed;
  await chunked.until(/\r\n0\r\n\r\n$/);
  const content = readChunks(chunked.text).chunks.join('');
  for (const {text} of plain) {
    const headEnd = text.indexOf('\r\n\r\n') + 4;
    const head = text.slice(0, headEnd);
    assert.match(head, /\r\nConnection: close\r\n/);
    assert.doesNotMatch(head, /Transfer-Encoding|Content-Length/);
    assert.equal(text.slice(headEnd), content);
  }
});

for (const [how, leave] of [
  ['resets its connection', (socket: Socket) => void socket.resetAndDestroy()],
  ['closes its half', (socket: Socket) => void socket.end()],
] as const) {
  test(`a client that ${how} watches no more`, async t => {
    const {http, service} = await start(t);
    const watch = open(http, t, watchOf('1.1'));
    const other = open(http, t, watchOf('1.1'));
    for (const each of [watch, other]) await each.until(/"progress"/);
    leave(watch.socket);
    // Told while the server does not know yet, and afterwards.
    for (let i = 1; service.watches.count > 1 || i < 3; i++) {
      await http.put('a', `${i}`);
      await other.until(new RegExp(`"value":"${i}"`));
    }
    assert.equal(http.observations.filter(({route}) => route === '/watch').length, 1);
  });
}

interface Streamed {
  readonly client: Received;
  readonly stream: NodeStream;
  /** The server's end. */
  readonly socket: Socket;
}

/** One stream of a server of its own. `again` is called for the streams of further requests. */
async function streamed(
  t: TestContext,
  options: {onDrain?: () => void; onClose?: () => void; again?: (stream: NodeStream) => void} = {},
): Promise<Streamed> {
  const {onDrain = () => undefined, onClose = () => undefined, again} = options;
  let onFirst: ((opened: Omit<Streamed, 'client'>) => void) | null = null;
  const first = new Promise<Omit<Streamed, 'client'>>(resolve => (onFirst = resolve));
  const server = createServer((_request, response) => {
    const {socket} = response;
    assert.ok(socket !== null);
    response.writeHead(200);
    const stream = new NodeStream(response, socket, {onDrain, onClose});
    if (onFirst === null) again?.(stream);
    else onFirst({stream, socket});
    onFirst = null;
  });
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  const client = new Received(socket);
  socket.write(request);
  return {client, ...(await first)};
}

const request = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

test('what was gathered leaves together, in front of what is written and of the end', async t => {
  const {client, stream, socket} = await streamed(t);
  stream.write('first');
  const write = t.mock.method(socket, 'write');
  for (const text of ['a', 'b', 'c']) assert.equal(stream.gather(chunkOf(text)), true);
  assert.equal(write.mock.callCount(), 0);
  for (let i = 0; i < 2; i++) assert.equal(stream.flush(), true);
  assert.equal(write.mock.callCount(), 1);
  // Shared by all that are told it: sent as it is.
  const large = chunkOf('l'.repeat(20_000));
  stream.gather(chunkOf('d'));
  stream.gather(large);
  assert.equal(write.mock.callCount(), 3);
  assert.equal(write.mock.calls[2]?.arguments[0], large);
  stream.gather(chunkOf('e'));
  stream.write('f');
  stream.gather(chunkOf('g'));
  stream.end();
  assert.equal(stream.write('nothing follows the end'), false);
  const {chunks, rest} = readChunks(await client.until(/\r\n0\r\n\r\n/));
  assert.deepEqual(
    chunks.map(chunk => chunk[0]),
    ['f', 'a', 'b', 'c', 'd', 'l', 'e', 'f', 'g'],
  );
  assert.equal(rest, '');
});

test('a client that does not read makes little wait, and says when it has room', async t => {
  let onDrain = (): void => undefined;
  const hasDrained = new Promise<void>(resolve => (onDrain = resolve));
  const {client, stream, socket} = await streamed(t, {onDrain: () => onDrain()});
  client.socket.pause();
  const piece = chunkOf('p'.repeat(1_000));
  let count = 1;
  while (stream.gather(piece)) count++;
  assert.ok(socket.writableLength < 64 * 1024, `${socket.writableLength} bytes wait`);
  client.socket.resume();
  await hasDrained;
  stream.end();
  const {chunks} = readChunks(await client.until(/\r\n0\r\n\r\n/));
  assert.equal(chunks.length, count);
});

test('a connection that serves one stream after another keeps nothing of them', async t => {
  const listenerCounts: number[] = [];
  let closeCount = 0;
  const serve = (stream: NodeStream): void => {
    listenerCounts.push(socket.listenerCount('drain'));
    stream.write('content');
    stream.end();
  };
  const onClose = (): void => {
    closeCount++;
  };
  const {client, stream, socket} = await streamed(t, {onClose, again: stream => serve(stream)});
  serve(stream);
  for (let i = 1; i < 4; i++) {
    await client.until(new RegExp(`(content\r\n0\r\n\r\n[^]*){${i}}`));
    client.socket.write(request);
  }
  await client.until(/(content\r\n0\r\n\r\n[^]*){4}/);
  assert.equal(listenerCounts.length, 4);
  assert.equal(new Set(listenerCounts).size, 1);
  assert.equal(closeCount, 4);
});

test('large content is one chunk, too', async t => {
  const {client, stream} = await streamed(t);
  for (const size of [100_000, 16 * 1024, 16 * 1024 + 1]) {
    stream.gather(chunkOf('gathered'));
    stream.write(Buffer.alloc(size, 'l'));
  }
  stream.end();
  const {head, chunks} = readChunks(await client.until(/\r\n0\r\n\r\n/));
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
  assert.deepEqual(
    chunks.map(chunk => chunk.length),
    [8, 100_000, 8, 16 * 1024, 8, 16 * 1024 + 1],
  );
});

test('a stream that is cut has no end', async t => {
  const {client, stream} = await streamed(t);
  stream.write('a part');
  await client.until(/a part/);
  stream.cut();
  await once(client.socket, 'close');
  const {chunks, rest} = readChunks(client.text);
  assert.deepEqual(chunks, ['a part']);
  assert.equal(rest, null);
});
