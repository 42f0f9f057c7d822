import assert from 'node:assert/strict';
import {connect} from 'node:net';
import {test} from 'node:test';
import {Cluster} from './cluster.ts';
import {problemOf, valueOf} from './client.ts';

const valueSizeMax = 1_572_864;
const json = (value: unknown): string => JSON.stringify(value);

interface Refused {
  readonly request: string;
  readonly body?: string;
  readonly status: number;
  /** Null: the status says it all. */
  readonly code: string | null;
}

/** Refused with a problem document, definite, and without a trace in the store. */
const refused: readonly Refused[] = [
  {request: 'PUT /kv', body: '{"key":', status: 400, code: 'INVALID_JSON'},
  {request: 'PUT /kv', body: '', status: 400, code: 'INVALID_JSON'},
  {request: 'PUT /kv', body: 'null', status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: '[]', status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: '{}', status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({key: 'a'}), status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({value: 'a'}), status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({key: 1, value: 'a'}), status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({key: 'a', value: 1}), status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({key: 'a', value: null}), status: 400, code: 'INVALID_REQUEST'},
  {
    request: 'PUT /kv',
    body: json({key: 'a', value: 'b', x: 1}),
    status: 400,
    code: 'INVALID_REQUEST',
  },
  {
    request: 'PUT /kv',
    body: '{"key":"a","value":"b","__proto__":{"x":1}}',
    status: 400,
    code: 'INVALID_REQUEST',
  },
  {request: 'PUT /kv', body: '{"key":"\\ud800","value":"b"}', status: 400, code: 'INVALID_REQUEST'},
  {request: 'PUT /kv', body: json({key: '', value: 'b'}), status: 400, code: 'KEY_EMPTY'},
  {
    request: 'PUT /kv',
    body: json({key: 'k'.repeat(1025), value: 'b'}),
    status: 400,
    code: 'KEY_TOO_LONG',
  },
  {
    request: 'PUT /kv',
    body: json({key: 'a', value: '!', encoding: 'base64'}),
    status: 400,
    code: 'INVALID_REQUEST',
  },
  {
    request: 'PUT /kv',
    body: json({key: 'a', value: 'v'.repeat(valueSizeMax + 1)}),
    status: 413,
    code: 'VALUE_TOO_LARGE',
  },
  {request: 'PUT /kv', body: '['.repeat(100_000), status: 400, code: null},
  {request: 'PUT /kv/', body: 'x', status: 400, code: 'KEY_EMPTY'},
  {request: 'PUT /kv/a%zz', body: 'x', status: 400, code: 'BAD_PERCENT_ENCODING'},
  {request: 'PUT /kv/a%2', body: 'x', status: 400, code: 'BAD_PERCENT_ENCODING'},
  {request: `PUT /kv/${'k'.repeat(1025)}`, body: 'x', status: 400, code: 'KEY_TOO_LONG'},
  {request: 'PUT /kv/a?timeout=0', body: 'x', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'PUT /kv/a?timeout=60001', body: 'x', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'PUT /kv/a?frobnicate=1', body: 'x', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'PUT /kv/a', body: 'v'.repeat(valueSizeMax + 1), status: 413, code: 'VALUE_TOO_LARGE'},
  {request: 'GET /kv/', status: 400, code: 'KEY_EMPTY'},
  {request: 'GET /kv/%', status: 400, code: 'BAD_PERCENT_ENCODING'},
  {request: 'GET /kv/a?consistency=perhaps', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'GET /kv/a?revision=x', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'GET /kv/a?revision=999999999', status: 400, code: 'REVISION_IN_FUTURE'},
  {request: 'GET /kv?limit=0', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'GET /kv?limit=10001', status: 400, code: 'INVALID_PARAMETER'},
  {request: 'GET /kv?cursor=AAAA', status: 400, code: 'INVALID_CURSOR'},
  {request: 'DELETE /kv', status: 400, code: 'RANGE_REQUIRED'},
  {request: 'DELETE /kv/', status: 400, code: 'KEY_EMPTY'},
  {
    request: 'POST /compact',
    body: '{"revision":99999999}',
    status: 400,
    code: 'REVISION_IN_FUTURE',
  },
  {request: 'GET /nope', status: 404, code: 'ROUTE_NOT_FOUND'},
  {request: 'GET //kv/a', status: 404, code: 'ROUTE_NOT_FOUND'},
  {request: 'GET /__proto__', status: 404, code: 'ROUTE_NOT_FOUND'},
  {request: 'GET /constructor', status: 404, code: 'ROUTE_NOT_FOUND'},
  {request: 'POST /kv/a', body: 'x', status: 405, code: 'METHOD_NOT_ALLOWED'},
  {request: 'PATCH /kv', body: '{}', status: 405, code: 'METHOD_NOT_ALLOWED'},
  {request: 'DELETE /status', status: 405, code: 'METHOD_NOT_ALLOWED'},
];

/** Keys that are plain data, however strange: path as sent, and the key's bytes. */
const strangeKeys: readonly (readonly [string, Buffer])[] = [
  ['__proto__', Buffer.from('__proto__')],
  ['constructor', Buffer.from('constructor')],
  ['hasOwnProperty', Buffer.from('hasOwnProperty')],
  ['..', Buffer.from('..')],
  ['../status', Buffer.from('../status')],
  ['a//b', Buffer.from('a//b')],
  ['/', Buffer.from('/')],
  ['%2F', Buffer.from('/')],
  ['%2f%2E%2e', Buffer.from('/..')],
  ['%00', Buffer.from([0])],
  ['%FF%fe', Buffer.from([0xff, 0xfe])],
  ['%C0%AF', Buffer.from([0xc0, 0xaf])],
  ['%252F', Buffer.from('%2F')],
  ['a+b', Buffer.from('a+b')],
  ['a;b', Buffer.from('a;b')],
  ['%3Fx=1', Buffer.from('?x=1')],
  ['k'.repeat(1024), Buffer.from('k'.repeat(1024))],
];

test(
  'bad input is refused on every node with the right code and changes nothing',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t);
    const [first] = cluster.nodes;
    assert.ok(first !== undefined);
    assert.equal((await first.client.put('a', 'untouched')).type, 'ok');
    const before = await cluster.assertSameState();
    for (const node of cluster.nodes) {
      for (const {request, body, status, code} of refused) {
        const [method = '', path = ''] = request.split(' ');
        const reply = await node.client.request(method, path, body === undefined ? {} : {body});
        const where = `${node.id}: ${request.slice(0, 60)} ${(body ?? '').slice(0, 60)}`;
        assert.equal(reply.status, status, `${where}: ${reply.body.toString()}`);
        const problem = problemOf(reply);
        assert.ok(problem !== null, `${where}: no problem document`);
        assert.equal(problem.status, status, where);
        if (code !== null) assert.equal(problem.code, code, `${where}: ${problem.detail}`);
        assert.equal(problem.outcome, 'definite', where);
        assert.ok(problem.title.length > 0 && problem.detail.length > 0, where);
        assert.equal(status === 405, reply.headers.allow !== undefined, where);
      }
      assert.equal(valueOf(await node.client.get('a')), 'untouched');
    }
    const after = await cluster.assertSameState();
    assert.equal(after.revision, before.revision);
    assert.equal(after.stateHash, before.stateHash);
    assert.equal(after.keys, 1);
  },
);

test('strange keys are plain bytes, the same on every node', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t);
  for (const [i, [path, key]] of strangeKeys.entries()) {
    const writer = cluster.nodes[i % 3];
    assert.ok(writer !== undefined);
    const text = `PUT /kv/${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nv`;
    const answer = await exchange(writer.httpPort, text);
    assert.match(answer, /^HTTP\/1\.1 200 /, `${path}: ${answer}`);
    for (const node of cluster.nodes) {
      const encoded = [...key].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('');
      const reply = await node.client.request('GET', `/kv/${encoded}`, {
        headers: {Accept: 'application/octet-stream'},
      });
      assert.equal(reply.status, 200, `${path} on ${node.id}: ${reply.body.toString()}`);
      assert.equal(reply.body.toString(), 'v');
    }
  }
  const {revision} = await cluster.assertSameState();
  assert.equal(revision, 1 + strangeKeys.length);
});

/** Requests no client library sends. The answer's status; null: any 4xx, or just closed. */
const raw: readonly (readonly [name: string, text: string, status: number | null])[] = [
  ['two Hosts', 'GET /kv/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n', 400],
  ['no Host', 'GET /kv/a HTTP/1.1\r\n', 400],
  ['two If-Match', 'DELETE /kv/a HTTP/1.1\r\nHost: x\r\nIf-Match: "9"\r\nIf-Match: "2"\r\n', 400],
  [
    'two Idempotency-Keys',
    'DELETE /kv/a HTTP/1.1\r\nHost: x\r\nIdempotency-Key: p\r\nIdempotency-Key: q\r\n',
    400,
  ],
  ['an absolute target', 'DELETE http://evil/kv/a HTTP/1.1\r\nHost: x\r\n', 400],
  ['a raw control byte', 'DELETE /kv/a\x01 HTTP/1.1\r\nHost: x\r\n', null],
  ['a raw byte above 127', 'DELETE /kv/\xe9 HTTP/1.1\r\nHost: x\r\n', 400],
  [
    'two lengths',
    'PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n',
    400,
  ],
  [
    'a length and chunks',
    'PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n',
    400,
  ],
  ['long headers', `GET /kv/a HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n`, 431],
  ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n', null],
  ['an upgrade', 'GET /kv/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n', null],
  [
    'a cross-site form',
    'PUT /kv/a HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\nContent-Length: 0\r\n',
    403,
  ],
  [
    'a huge announced value',
    'PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n',
    413,
  ],
  [
    'a huge announced document',
    'PUT /kv HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n',
    413,
  ],
  [
    'a huge announced value that waits for a go-ahead',
    'PUT /kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n',
    413,
  ],
  ['not HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
];

test('hostile requests on raw sockets change nothing', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t);
  const [first] = cluster.nodes;
  assert.ok(first !== undefined);
  assert.equal((await first.client.put('a', 'untouched')).type, 'ok');
  const before = await cluster.assertSameState();
  for (const node of cluster.nodes) {
    for (const [name, text, status] of raw) {
      const answer = await exchange(node.httpPort, `${text}\r\n`);
      const where = `${node.id}: ${name}: ${answer.slice(0, 300)}`;
      assert.doesNotMatch(answer, /^HTTP\/1\.1 5(?!01)/, where);
      if (status !== null) assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), where);
      assert.equal(valueOf(await node.client.get('a')), 'untouched', where);
    }
  }
  const endless = cluster.nodes.map(node => exchangeEndless(node.httpPort));
  for (const answer of await Promise.all(endless)) assert.match(answer, /^HTTP\/1\.1 413 /);
  const after = await cluster.assertSameState();
  assert.deepEqual([after.revision, after.keys], [before.revision, before.keys]);
});

/** A body in chunks without end, until the other side has had enough. */
function exchangeEndless(port: number): Promise<string> {
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
  return new Promise((resolve, reject) => {
    let answer = '';
    let sentBytes = 0;
    const socket = connect({port, host: '127.0.0.1'});
    const send = (): void => {
      if (answer !== '' || socket.destroyed) return;
      sentBytes += chunk.length;
      if (sentBytes > 256 * 1024 * 1024) {
        socket.destroy(new Error('the body was taken without bound'));
        return;
      }
      socket.write(chunk, send);
    };
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer to an endless body')));
    socket.on('data', data => (answer += data.toString('latin1')));
    socket.on('error', error => {
      const isBreak = 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (!isBreak) reject(error);
    });
    socket.on('close', () => resolve(answer));
    socket.write('PUT /kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', send);
  });
}

/** Whether an answer and its body have arrived; the connection may be kept. */
function isWhole(answer: string): boolean {
  const headEnd = answer.indexOf('\r\n\r\n');
  if (headEnd < 0 || answer.startsWith('HTTP/1.1 100 ')) return false;
  const length = /content-length: *(\d+)/i.exec(answer.slice(0, headEnd));
  return length !== null && answer.length >= headEnd + 4 + Number(length[1]);
}

/** The first answer, or what came until the other side closed. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({port, host: '127.0.0.1'});
    let answer = '';
    socket.setTimeout(8_000, () => {
      const isAnswered = answer.includes('\r\n\r\n');
      socket.destroy(isAnswered ? undefined : new Error(`no answer to ${text.slice(0, 80)}`));
    });
    socket.on('data', data => {
      answer += data.toString('latin1');
      if (isWhole(answer)) socket.destroy();
      else if (answer.includes('\r\n\r\n')) socket.setTimeout(500);
    });
    socket.on('error', error => {
      if (!('code' in error && error.code === 'ECONNRESET')) reject(error);
    });
    socket.on('close', () => resolve(answer));
    socket.write(Buffer.from(text, 'latin1'));
  });
}
