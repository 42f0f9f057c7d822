/** Over HTTP, watches: every row of docs/http-api.md about them, as bytes on the wire. */
import assert from 'node:assert/strict';
import {request as httpRequest, type IncomingMessage} from 'node:http';
import {test, type TestContext} from 'node:test';
import {startHttp, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';
import {setLimits} from '../../../test/sim/small-limits.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';

interface Opened {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly response: IncomingMessage;
  /** Everything so far. */
  text(): string;
  /** Resolves when what has come matches. */
  until(pattern: RegExp): Promise<string>;
  /** All of it, once the server has ended it. */
  end(): Promise<string>;
  close(): void;
}

function open(
  http: HttpFixture,
  t: TestContext,
  query: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Opened> {
  return new Promise((resolve, reject) => {
    const {port} = http;
    const path = `/watch${query}`;
    const sent = httpRequest({port, host: '127.0.0.1', path, headers, agent: false});
    t.after(() => sent.destroy());
    sent.on('error', reject);
    sent.on('response', response => {
      let received = '';
      let onChange = (): void => undefined;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        received += chunk;
        onChange();
      });
      const ended = new Promise<string>(done => response.on('end', () => done(received)));
      response.on('error', () => undefined);
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        response,
        text: () => received,
        end: () => ended,
        close: () => void sent.destroy(),
        until: pattern =>
          new Promise(found => {
            onChange = () => {
              if (pattern.test(received)) found(received);
            };
            onChange();
          }),
      });
    });
    sent.end();
  });
}

async function start(t: TestContext): Promise<{http: HttpFixture; service: MachineService}> {
  const service = new MachineService();
  t.after(() => service.watches.end(new RosettaError('STOPPING', 'the test is over')));
  const http = await startHttp(t, {service, watches: service.watches});
  return {http, service};
}

const lines = {Accept: 'application/x-ndjson'};

test('server-sent events: as curl -N shows them', async t => {
  const {http} = await start(t);
  await http.put('before', '0');
  const watch = await open(http, t, '?prefix=a');
  assert.equal(watch.status, 200);
  assert.equal(watch.headers['content-type'], 'text/event-stream');
  assert.equal(watch.headers['rosetta-revision'], '2');
  assert.equal(watch.headers['cache-control'], 'no-cache');
  assert.equal(watch.headers['content-length'], undefined);
  await http.put('a1', '1');
  await http.put('b', '2');
  await http.request('POST', '/txn', {
    body: JSON.stringify({
      success: [{put: {key: 'a2', value: 'x'}}, {delete: {key: 'a1'}}, {delete: {key: 'b'}}],
    }),
  });
  const record = (key: string, value: string, revision: number): string =>
    `{"key":"${key}","value":"${value}","createRevision":${revision},` +
    `"modRevision":${revision},"version":1}`;
  const text = await watch.until(/id: 5\n\n/);
  assert.equal(
    text,
    'retry: 1000\nid: 2\n\n' +
      `event: put\ndata: ${record('a1', '1', 3)}\nid: 3\n\n` +
      // Of one revision only the last carries the id.
      `event: put\ndata: ${record('a2', 'x', 5)}\n\n` +
      'event: delete\ndata: {"key":"a1","modRevision":5}\nid: 5\n\n',
  );
});

test('lines of JSON, with what was before', async t => {
  const {http} = await start(t);
  await http.put('a', '1');
  const watch = await open(http, t, '?key=a&from=2&prev', lines);
  assert.equal(watch.headers['content-type'], 'application/x-ndjson');
  await http.request('PUT', '/kv/a', {body: Buffer.of(255)});
  await http.put('ab', '1');
  await http.request('DELETE', '/kv/a');
  const text = await watch.until(/"delete".*\n/);
  const [beginning, ...events] = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as object);
  assert.deepEqual(beginning, {type: 'progress', revision: 1});
  const first = {key: 'a', value: '1', createRevision: 2, modRevision: 2, version: 1};
  const second = {
    key: 'a',
    value: '/w==',
    encoding: 'base64',
    createRevision: 2,
    modRevision: 3,
    version: 2,
  };
  assert.deepEqual(events, [
    {type: 'put', revision: 2, ...first, prev: null},
    {type: 'put', revision: 3, ...second, prev: first},
    {type: 'delete', revision: 5, key: 'a', modRevision: 5, prev: second},
  ]);
});

test('every event of a revision but the last says that there are more', async t => {
  const {http} = await start(t);
  const watch = await open(http, t, '?from=2', lines);
  for (const key of ['a', 'b', 'c']) await http.put(key, '');
  await http.request('DELETE', '/kv?prefix=');
  const text = await watch.until(/"key":"c","modRevision":5/);
  const deletes = text.split('\n').filter(line => line.includes('"delete"'));
  assert.deepEqual(
    deletes.map(line => line.includes(',"more":true')),
    [true, true, false],
  );
});

test('Last-Event-ID resumes behind it and wins over from', async t => {
  const {http} = await start(t);
  for (const value of ['1', '2', '3']) await http.put('a', value);
  const headers = {...lines, 'Last-Event-ID': '3'};
  const watch = await open(http, t, '?key=a&from=2', headers);
  const text = await watch.until(/"put"/);
  assert.match(text, /^\{"type":"progress","revision":3\}\n\{"type":"put","revision":4,/);
  const empty = await open(http, t, '?key=a&from=4', {...lines, 'Last-Event-ID': ''});
  assert.match(await empty.until(/"put"/), /"revision":4,/);
});

test('a revision that lies ahead is waited for: this node may be behind another', async t => {
  const {http} = await start(t);
  const watch = await open(http, t, '?key=a&from=4', lines);
  for (const value of ['1', '2', '3']) await http.put('a', value);
  const text = await watch.until(/"put"/);
  assert.match(text, /^\{"type":"progress","revision":3\}\n\{"type":"put","revision":4,/);
});

test('from a compacted revision it is 410', async t => {
  const {http} = await start(t);
  for (const value of ['1', '2', '3']) await http.put('a', value);
  await http.request('POST', '/compact', {body: '{"revision":3}'});
  for (const [query, headers] of [
    ['?key=a&from=3', {}],
    ['?key=a&from=0', {}],
    ['?key=a', {'Last-Event-ID': '2'}],
  ] as const) {
    const gone = await open(http, t, query, headers);
    assert.equal(gone.status, 410);
    assert.match(await gone.end(), /"code":"REVISION_COMPACTED".*"outcome":"definite"/);
  }
  const watch = await open(http, t, '?key=a&from=4', lines);
  assert.match(await watch.until(/"put"/), /"revision":4,/);
});

test('what a watch asks for is checked', async t => {
  const {http} = await start(t);
  for (const [query, headers, code] of [
    ['?key=', {}, 'KEY_EMPTY'],
    [`?key=${'k'.repeat(1025)}`, {}, 'KEY_TOO_LONG'],
    ['?key=a&prefix=a', {}, 'INVALID_PARAMETER'],
    ['?key=a&start=a', {}, 'INVALID_PARAMETER'],
    ['?prefix=a&end=b', {}, 'INVALID_PARAMETER'],
    ['?key=%', {}, 'BAD_PERCENT_ENCODING'],
    ['?key=a&from=x', {}, 'INVALID_PARAMETER'],
    ['?key=a&from=-1', {}, 'INVALID_PARAMETER'],
    ['?key=a&prev=maybe', {}, 'INVALID_PARAMETER'],
    ['?key=a&since=1', {}, 'INVALID_PARAMETER'],
    ['?key=a', {'Last-Event-ID': 'abc'}, 'INVALID_PARAMETER'],
    ['?key=a', {'Last-Event-ID': '9007199254740991'}, 'INVALID_PARAMETER'],
  ] as const) {
    const refused = await open(http, t, query, headers);
    assert.equal(refused.status, 400, query);
    assert.match(await refused.end(), new RegExp(`"code":"${code}"`), query);
  }
  const post = await http.request('POST', '/watch');
  assert.equal(post.status, 405);
  const head = await http.request('HEAD', '/watch?key=a');
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-type'], 'text/event-stream');
});

test('keys are bytes: a watch of any of them, of a range, of everything', async t => {
  const {http, service} = await start(t);
  const queries = ['?key=%FF', '?prefix=%FF', '?start=a&end=b', '?start=b', '', '?prefix='];
  const watches = await Promise.all(queries.map(query => open(http, t, query, lines)));
  for (const key of ['%FF', '%FF%00', 'a', 'b', 'aa', 'A']) {
    await http.request('PUT', `/kv/${key}`, {body: ''});
  }
  await http.request('DELETE', '/kv?prefix=');
  const seen = await Promise.all(
    watches.map(async watch => {
      const text = await watch.until(/"delete"[^]*\n/);
      return [...text.matchAll(/"put".*?"key":"([^"]*)"/g)].map(([, key]) => key);
    }),
  );
  assert.deepEqual(seen, [
    ['/w=='],
    ['/w==', '/wA='],
    ['a', 'aa'],
    ['/w==', '/wA=', 'b'],
    ['/w==', '/wA=', 'a', 'b', 'aa', 'A'],
    ['/w==', '/wA=', 'a', 'b', 'aa', 'A'],
  ]);
  assert.equal(service.watches.count, queries.length);
  for (const watch of watches) watch.close();
  while (service.watches.count > 0) await new Promise(resolve => setImmediate(resolve));
});

test('pages of allowed origins may watch', async t => {
  const service = new MachineService();
  const origin = 'https://app.example';
  const options = {service, watches: service.watches, corsOrigins: [origin]};
  t.after(() => service.watches.end(new RosettaError('STOPPING', 'the test is over')));
  const http = await startHttp(t, options);
  const watch = await open(http, t, '?key=a', {Origin: origin, 'Sec-Fetch-Site': 'cross-site'});
  assert.equal(watch.headers['access-control-allow-origin'], origin);
  assert.equal(watch.headers.vary, 'Accept, Origin');
});

test('a node that stops ends its watches with the revision to resume from', async t => {
  const {http, service} = await start(t);
  const [events, json] = await Promise.all([
    open(http, t, '?key=a'),
    open(http, t, '?key=a', lines),
  ]);
  await http.put('a', '1');
  await Promise.all([events.until(/id: 2/), json.until(/"put"/)]);
  service.watches.end(new RosettaError('STOPPING', 'the node is stopping; ask another one'));
  const fields = '"code":"STOPPING","detail":"the node is stopping; ask another one","revision":3}';
  assert.ok((await events.end()).endsWith(`event: end\ndata: {${fields}\n\n`));
  assert.ok((await json.end()).endsWith(`{"type":"end",${fields}\n`));
  const refused = await open(http, t, '?key=a');
  assert.equal(refused.status, 503);
});

test('whoever reads slowly holds up nobody, and is ended with the revision to resume from', async t => {
  const restore = setLimits({watchStallMs: 300});
  t.after(restore);
  const {http, service} = await start(t);
  const slow = await open(http, t, '?key=a&from=2', lines);
  const quick = await open(http, t, '?key=b', lines);
  slow.response.pause();
  const value = 'v'.repeat(1_000_000);
  const count = 40;
  for (let i = 1; i <= count; i++) {
    assert.equal((await http.put('a', `${i} ${value}`)).status, 200);
    await http.put('b', `${i}`);
    await quick.until(new RegExp(`"value":"${i}"`));
  }
  // What the kernel holds for the two ends, and one revision beside it.
  assert.ok(http.api.bufferSizeBytes() < limits.httpResponseBufferSizeBytesMax);
  while (service.watches.count > 1) await new Promise(resolve => setTimeout(resolve, 20));
  restore();
  slow.response.resume();
  const text = await slow.end();
  const all = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>);
  const told = all.filter(({type}) => type === 'put').map(({revision}) => revision);
  assert.ok(told.length > 0 && told.length < count, `${told.length} of ${count} were told`);
  assert.deepEqual(
    told,
    told.map((_, i) => 2 * i + 2),
  );
  const last = all.at(-1);
  assert.equal(last?.['type'], 'end');
  assert.equal(last['code'], 'WATCH_TOO_SLOW');
  const from = Number(last['revision']);
  assert.equal(from, 2 * told.length + 1);
  const resumed = await open(http, t, `?key=a&from=${from}`, lines);
  while (resumed.text().length < (count - told.length) * value.length) {
    await new Promise(resolve => resumed.response.once('data', resolve));
  }
});
