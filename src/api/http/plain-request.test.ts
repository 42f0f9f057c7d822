import assert from 'node:assert/strict';
import {createServer, type IncomingMessage} from 'node:http';
import {Duplex} from 'node:stream';
import {test} from 'node:test';
import fc from 'fast-check';
import {limits} from '../../base/limits.ts';
import {HeadMemory} from './plain-head.ts';
import {readPlainRequest} from './plain-request.ts';

function read(text: string, memory = new HeadMemory()): unknown {
  const request = readPlainRequest(Buffer.from(text, 'latin1'), memory);
  if (typeof request === 'string') return request;
  const {head, ...rest} = request;
  return {...rest, rawHeaders: head.rawHeaders};
}

test('a common request is read with its headers, its body and its end', () => {
  const head =
    'PUT /kv?timeout=3 HTTP/1.1\r\nHost: \t a:1 \t\r\nContent-Length: 3\r\nX-Empty:\r\nConnection: Close\r\n\r\n';
  assert.deepEqual(read(`${head}abcGET`), {
    method: 'PUT',
    target: '/kv?timeout=3',
    rawHeaders: ['Host', 'a:1', 'Content-Length', '3', 'X-Empty', '', 'Connection', 'Close'],
    wantsClose: true,
    bodyStart: head.length,
    end: head.length + 3,
  });
});

test('at every cut a request is a part of itself', () => {
  const head = 'DELETE /kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n';
  const whole = `${head}body`;
  for (let size = 1; size < whole.length; size++) {
    const expected = size < head.length ? 'part-of-head' : 'part-of-body';
    assert.equal(read(whole.slice(0, size)), expected, `the first ${size} bytes`);
  }
});

const notPlain: Readonly<Record<string, string>> = {
  'another method': 'PATCH /kv HTTP/1.1\r\nHost: a\r\n\r\n',
  'the beginning of another method': 'PAT',
  'a method in lower case': 'get /kv HTTP/1.1\r\nHost: a\r\n\r\n',
  'an absolute target': 'GET http://a/kv HTTP/1.1\r\nHost: a\r\n\r\n',
  'a target beyond ASCII': 'GET /kv/\xe4 HTTP/1.1\r\nHost: a\r\n\r\n',
  'two spaces': 'GET /kv  HTTP/1.1\r\nHost: a\r\n\r\n',
  'another version': 'GET /kv HTTP/1.0\r\nHost: a\r\n\r\n',
  'an empty line before the request': '\r\nGET /kv HTTP/1.1\r\nHost: a\r\n\r\n',
  'a bare line feed': 'GET /kv HTTP/1.1\nHost: a\r\n\r\n',
  'a bare line feed in a header': 'GET /kv HTTP/1.1\r\nHost: a\nB: c\r\n\r\n',
  'a bare carriage return': 'GET /kv HTTP/1.1\r\nHost: a\rB: c\r\n\r\n',
  'a folded header': 'GET /kv HTTP/1.1\r\nHost: a\r\n b\r\n\r\n',
  'a space before the colon': 'GET /kv HTTP/1.1\r\nHost : a\r\n\r\n',
  'an empty name': 'GET /kv HTTP/1.1\r\n: a\r\n\r\n',
  'a line without a colon': 'GET /kv HTTP/1.1\r\nHost\r\n\r\n',
  'a value beyond ASCII': 'GET /kv HTTP/1.1\r\nHost: \xe4\r\n\r\n',
  'a NUL in a value': 'GET /kv HTTP/1.1\r\nHost: a\0\r\n\r\n',
  chunks: 'PUT /kv HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
  'an expectation': 'PUT /kv HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n',
  'an upgrade': 'GET /kv HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n',
  'a connection with options': 'GET /kv HTTP/1.1\r\nConnection: keep-alive, te\r\n\r\n',
  'two lengths': 'PUT /kv HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na',
  'a list of lengths': 'PUT /kv HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\na',
  'a signed length': 'PUT /kv HTTP/1.1\r\nContent-Length: +1\r\n\r\na',
  'an empty length': 'PUT /kv HTTP/1.1\r\nContent-Length:\r\n\r\na',
  'a large body': `PUT /kv HTTP/1.1\r\nContent-Length: ${limits.plainRequestSizeBytesMax}\r\n\r\na`,
  'a large head': `GET /kv HTTP/1.1\r\nA: ${'a'.repeat(limits.httpHeaderSizeBytesMax)}`,
  'many headers': `GET /kv HTTP/1.1\r\n${'a: b\r\n'.repeat(limits.httpHeaderCountMax + 1)}\r\n`,
};

for (const [name, text] of Object.entries(notPlain)) {
  test(`${name} is not plain`, () => assert.equal(read(text), 'other'));
}

interface Seen {
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** What node:http makes of `bytes`; null when it refuses them. */
function readByNodeHttp(bytes: Buffer): Promise<Seen | null> {
  return new Promise(resolve => {
    const server = createServer({requireHostHeader: false});
    const socket = new Duplex({read: () => undefined, write: (_chunk, _encoding, done) => done()});
    server.on('request', (request: IncomingMessage) => {
      const {method, url: target, rawHeaders} = request;
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        resolve({method, target, rawHeaders, body: Buffer.concat(chunks).toString('latin1')});
      });
    });
    server.on('clientError', () => resolve(null));
    server.emit('connection', socket);
    socket.push(bytes);
  });
}

const samples = [
  'GET /kv/hello?consistency=local HTTP/1.1\r\nHost: localhost:9080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n',
  'PUT /kv HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\nContent-Type: application/json\r\n\r\n{"key":"hello","value":"world"}',
  'DELETE /kv/a%2Fb HTTP/1.1\r\nHost: a\r\nIf-Match: "1"\r\nConnection: keep-alive\r\n\r\n',
];

/** A sample with a few bytes replaced, inserted or removed; often where it matters. */
const damaged = fc
  .tuple(
    fc.constantFrom(...samples),
    fc.array(
      fc.record({
        at: fc.nat(200),
        removed: fc.nat(2),
        inserted: fc.oneof(
          fc.constantFrom(
            '\r',
            '\n',
            '\r\n',
            ' ',
            '\t',
            ':',
            '\0',
            '\x7f',
            '\x80',
            '1',
            'a',
            '"',
            ',',
          ),
          fc.constantFrom(
            'Content-Length: 0\r\n',
            'Transfer-Encoding: chunked\r\n',
            'Te: x\r\n',
            '',
          ),
        ),
      }),
      {maxLength: 3},
    ),
  )
  .map(([sample, edits]) => {
    let text = sample;
    for (const {at, removed, inserted} of edits) {
      const place = at % text.length;
      text = text.slice(0, place) + inserted + text.slice(place + removed);
    }
    return text;
  });

test('whatever is plain, node:http reads the same', async () => {
  let plainCount = 0;
  const property = fc.asyncProperty(damaged, async text => {
    const bytes = Buffer.from(text, 'latin1');
    const request = readPlainRequest(bytes, new HeadMemory());
    if (typeof request === 'string') return;
    plainCount += 1;
    const {method, target, head, bodyStart, end} = request;
    const body = bytes.toString('latin1', bodyStart, end);
    assert.deepEqual(await readByNodeHttp(bytes.subarray(0, end)), {
      method,
      target,
      rawHeaders: head.rawHeaders,
      body,
    });
  });
  await fc.assert(property, {numRuns: 5_000});
  assert.ok(plainCount > 500, `only ${plainCount} were plain`);
});

test('whatever a connection remembers, a request is read as by one that remembers nothing', () => {
  let knownCount = 0;
  const property = fc.property(fc.array(damaged, {maxLength: 4}), damaged, (earlier, text) => {
    const memory = new HeadMemory();
    for (const one of [...earlier, ...samples]) read(one, memory);
    const bytes = Buffer.from(text, 'latin1');
    if (memory.find(bytes, bytes.indexOf('\r')) !== null) knownCount += 1;
    assert.deepEqual(read(text, memory), read(text));
  });
  fc.assert(property, {numRuns: 5_000});
  assert.ok(knownCount > 100, `only ${knownCount} were known`);
});

test('header lines that are the same share their reading, others do not', () => {
  const memory = new HeadMemory();
  const heads = ['a', 'a', 'b', 'a', `a${'x'.repeat(1024)}`, 'a'].map((host, ordinal) => {
    const text = `GET /kv/${ordinal} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    const request = readPlainRequest(Buffer.from(text), memory);
    assert.ok(typeof request === 'object');
    assert.equal(request.target, `/kv/${ordinal}`);
    assert.equal(request.head.headers.host, host);
    return request.head;
  });
  assert.equal(heads[0], heads[1]);
  assert.equal(new Set(heads).size, 4);
  assert.equal(heads[3], heads[5], 'a long head is not remembered, and forgets nothing');
});
