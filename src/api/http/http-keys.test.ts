/** Over HTTP, one key: every row of docs/http-api.md about PUT, GET and DELETE of a key. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';

test('a JSON put, a get and a delete answer as documented', async t => {
  const http = await startHttp(t);
  const put = await http.request('PUT', '/kv', {body: '{"key":"hello","value":"world"}'});
  assert.equal(put.status, 200);
  assert.equal(put.text, '{"key":"hello","revision":2,"version":1}');
  assert.equal(put.headers['rosetta-revision'], '2');
  assert.equal(put.headers['content-type'], 'application/json');
  assert.equal(put.headers['cache-control'], 'no-cache');
  assert.equal(put.headers['x-content-type-options'], 'nosniff');
  assert.equal(put.headers.vary, 'Accept');

  const get = await http.request('GET', '/kv/hello');
  assert.equal(get.status, 200);
  assert.equal(
    get.text,
    '{"key":"hello","value":"world","createRevision":2,"modRevision":2,"version":1}',
  );
  assert.equal(get.headers.etag, '"2"');
  assert.equal(get.headers['rosetta-revision'], '2');

  const deleted = await http.request('DELETE', '/kv/hello');
  assert.equal(deleted.text, '{"deleted":1,"revision":3}');
  const again = await http.request('DELETE', '/kv/hello');
  assert.equal(again.status, 200);
  assert.equal(again.text, '{"deleted":0,"revision":3}');
});

test('a raw put stores the bytes of the body, also none', async t => {
  const http = await startHttp(t);
  const bytes = Buffer.from([0, 255, 10, 13]);
  const put = await http.request('PUT', '/kv/raw', {body: bytes});
  assert.equal(put.text, '{"key":"raw","revision":2,"version":1}');
  const accept = {Accept: 'application/octet-stream'};
  const raw = await http.request('GET', '/kv/raw', {headers: accept});
  assert.deepEqual(raw.bytes, bytes);
  assert.equal(raw.headers['content-type'], 'application/octet-stream');
  assert.equal(raw.headers.etag, '"2-raw"');
  assert.equal(raw.headers['content-disposition'], 'attachment');
  assert.equal(raw.headers['content-security-policy'], "default-src 'none'");
  const json = await http.request('GET', '/kv/raw');
  assert.equal(json.json?.['value'], bytes.toString('base64'));
  assert.equal(json.json['encoding'], 'base64');
  await http.request('PUT', '/kv/raw', {body: ''});
  const empty = await http.request('GET', '/kv/raw');
  assert.equal(empty.json?.['value'], '');
  assert.equal(empty.json['version'], 2);
});

test('a path key is its decoded bytes, whatever they are', async t => {
  const http = await startHttp(t);
  const keys: [string, string, string?][] = [
    ['../x', '../x'],
    ['a//b/', 'a//b/'],
    ['a%2Fb', 'a/b'],
    ['%00', '\u0000'],
    ['a+b', 'a+b'],
    ['%2525', '%25'],
    ['__proto__', '__proto__'],
    ['%C3%A9', 'é'],
    ['%FF', '/w==', 'base64'],
    ['.', '.'],
    ['%22%5C', '"\\'],
  ];
  for (const [path, key, keyEncoding] of keys) {
    const put = await http.request('PUT', `/kv/${path}`, {body: 'v'});
    assert.equal(put.status, 200, path);
    assert.equal(put.json?.['key'], key);
    assert.equal(put.json['keyEncoding'], keyEncoding);
    const get = await http.request('GET', `/kv/${path}`);
    assert.equal(get.json?.['key'], key);
  }
  assert.equal(http.service.store.keyCount(), keys.length);
});

test('JSON requests may send base64', async t => {
  const http = await startHttp(t);
  const body = '{"key":"/w==","keyEncoding":"base64","value":"AP8=","encoding":"base64"}';
  const put = await http.request('PUT', '/kv', {body});
  assert.equal(put.text, '{"key":"/w==","keyEncoding":"base64","revision":2,"version":1}');
  const get = await http.request('GET', '/kv/%FF');
  assert.equal(get.json?.['value'], 'AP8=');
  for (const text of ['AP8', 'A P8=', 'AP9=', 'AP_=', 'AP8=\\n']) {
    const bad = await http.request('PUT', '/kv', {
      body: `{"key":"k","value":"${text}","encoding":"base64"}`,
    });
    assert.equal(bad.json?.['code'], 'INVALID_REQUEST', text);
  }
});

test('bad keys are refused and nothing is written', async t => {
  const http = await startHttp(t);
  const long = 'k'.repeat(limits.keySizeBytesMax);
  const cases: [string, string][] = [
    ['/kv/', 'KEY_EMPTY'],
    [`/kv/${long}k`, 'KEY_TOO_LONG'],
    ['/kv/%', 'BAD_PERCENT_ENCODING'],
    ['/kv/%zz', 'BAD_PERCENT_ENCODING'],
  ];
  for (const [path, code] of cases) {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await http.request(method, path);
      assert.equal(answer.status, 400);
      assert.equal(answer.json?.['code'], code, `${method} ${path}`);
      assert.equal(answer.json['outcome'], 'definite');
      assert.equal(answer.headers['content-type'], 'application/problem+json');
    }
  }
  assert.equal((await http.put(long, 'v')).status, 200);
  const body = JSON.stringify({key: `${long.slice(1)}é`, value: ''});
  assert.equal((await http.request('PUT', '/kv', {body})).json?.['code'], 'KEY_TOO_LONG');
  assert.equal(http.service.proposed.length, 1);
});

test('a bad JSON body is refused by field, and nothing is written', async t => {
  const http = await startHttp(t);
  const cases: [string, string, RegExp][] = [
    ['', 'INVALID_JSON', /ends too early/],
    ['{"key":"a","value":"b"', 'INVALID_JSON', /ends too early/],
    ['[]', 'INVALID_REQUEST', /must be an object/],
    ['"x"', 'INVALID_REQUEST', /must be an object/],
    ['{"value":"b"}', 'INVALID_REQUEST', /"key" is missing/],
    ['{"key":"a"}', 'INVALID_REQUEST', /"value" is missing/],
    ['{"key":1,"value":"b"}', 'INVALID_REQUEST', /"key" must be a string/],
    ['{"key":"a","value":null}', 'INVALID_REQUEST', /"value" must be a string/],
    ['{"key":"a","value":"b","x":1}', 'INVALID_REQUEST', /"x" is not known/],
    ['{"key":"a","value":"b","__proto__":1}', 'INVALID_REQUEST', /"__proto__" is not known/],
    ['{"key":"a","key":"b","value":"c"}', 'INVALID_REQUEST', /"key" is given twice/],
    ['{"key":"\\ud800","value":"b"}', 'INVALID_REQUEST', /"key" holds a lone surrogate/],
    ['{"key":"a","value":"b","encoding":"hex"}', 'INVALID_REQUEST', /"encoding" must be/],
    ['{"key":"","value":"b"}', 'KEY_EMPTY', /empty/],
    ['{"key":"a","value":"b","ttl":"1"}', 'INVALID_REQUEST', /"ttl" must be/],
    ['{"key":"a","value":"b","ttl":0.01}', 'INVALID_REQUEST', /"ttl" must be/],
    ['{"key":"a","value":"b","lease":7}', 'INVALID_REQUEST', /"lease" must be/],
    ['{"key":"a","value":"b","lease":"9223372036854775808"}', 'INVALID_REQUEST', /"lease"/],
    ['{"key":"a","value":"b","ttl":1,"lease":"7"}', 'INVALID_REQUEST', /cannot be combined/],
  ];
  for (const [body, code, detail] of cases) {
    const answer = await http.request('PUT', '/kv', {body});
    assert.equal(answer.json?.['code'], code, body);
    assert.match(String(answer.json['detail']), detail);
    assert.equal(answer.json['outcome'], 'definite');
  }
  assert.equal(http.service.proposed.length, 0);
});

test('a missing key is 404 and carries the revision', async t => {
  const http = await startHttp(t);
  await http.put('a', '1');
  const answer = await http.request('GET', '/kv/none');
  assert.equal(answer.status, 404);
  assert.equal(answer.json?.['code'], 'KEY_NOT_FOUND');
  assert.equal(answer.headers['rosetta-revision'], '2');
});

test('conditions decide between 200 and 412', async t => {
  const http = await startHttp(t);
  const put = (headers: Record<string, string>): ReturnType<typeof http.request> =>
    http.request('PUT', '/kv', {body: '{"key":"k","value":"v"}', headers});
  const failed = await put({'If-Match': '*'});
  assert.equal(failed.status, 412);
  assert.equal(failed.json?.['code'], 'PRECONDITION_FAILED');
  assert.equal(failed.json['outcome'], 'definite');
  assert.equal(failed.headers['rosetta-revision'], '1');
  assert.equal((await put({'If-Match': '"0"'})).status, 412);
  assert.equal((await put({'If-None-Match': '*'})).status, 200);
  assert.equal((await put({'If-None-Match': '*'})).status, 412);
  assert.equal((await put({'If-Match': '"3"'})).status, 412);
  assert.equal((await put({'If-Match': '"2-raw"'})).status, 200);
  const remove = {'If-Match': '"2"'};
  assert.equal((await http.request('DELETE', '/kv/k', {headers: remove})).status, 412);
  const raw = await http.request('PUT', '/kv/k', {body: 'x', headers: {'If-Match': '"3"'}});
  assert.equal(raw.json?.['version'], 3);
  assert.equal((await put({'If-None-Match': '"7"'})).json?.['code'], 'INVALID_PARAMETER');
  assert.equal((await put({'If-Match': '7'})).json?.['code'], 'INVALID_PARAMETER');
});

test('If-None-Match on a get answers 304 without a body', async t => {
  const http = await startHttp(t);
  await http.put('k', 'v');
  for (const tag of ['"2"', '"2-raw"', '*']) {
    const answer = await http.request('GET', '/kv/k', {headers: {'If-None-Match': tag}});
    assert.equal(answer.status, 304);
    assert.equal(answer.text, '');
    assert.equal(answer.headers.etag, '"2"');
    assert.equal(answer.headers['rosetta-revision'], '2');
  }
  const other = await http.request('GET', '/kv/k', {headers: {'If-None-Match': '"9"'}});
  assert.equal(other.status, 200);
});

test('a read at a revision answers the value of that time, 410 or 400', async t => {
  const http = await startHttp(t);
  for (const value of ['1', '2', '3']) await http.put('k', value);
  const then = await http.request('GET', '/kv/k?revision=3');
  assert.equal(then.json?.['value'], '2');
  assert.equal(then.headers['rosetta-revision'], '3');
  const compacted = await http.request('POST', '/compact', {body: '{"revision":3}'});
  assert.equal(compacted.text, '{"compactedRevision":3}');
  const gone = await http.request('GET', '/kv/k?revision=2');
  assert.equal(gone.status, 410);
  assert.equal(gone.json?.['code'], 'REVISION_COMPACTED');
  assert.equal(gone.headers['rosetta-revision'], '4');
  const future = await http.request('GET', '/kv/k?revision=5');
  assert.equal(future.status, 400);
  assert.equal(future.json?.['code'], 'REVISION_IN_FUTURE');
});

test('compact refuses the future and takes an older revision without effect', async t => {
  const http = await startHttp(t);
  await http.put('k', 'v');
  const compact = (body: string): ReturnType<typeof http.request> =>
    http.request('POST', '/compact', {body});
  assert.equal((await compact('{"revision":2}')).json?.['compactedRevision'], 2);
  assert.equal((await compact('{"revision":1}')).json?.['compactedRevision'], 2);
  const future = await compact('{"revision":9}');
  assert.equal(future.json?.['code'], 'REVISION_IN_FUTURE');
  assert.equal(future.headers['rosetta-revision'], '2');
  for (const body of ['{"revision":"2"}', '{"revision":1.5}', '{"revision":-1}', '{}']) {
    assert.equal((await compact(body)).json?.['code'], 'INVALID_REQUEST', body);
  }
});

test('HEAD answers what GET does, without the body', async t => {
  const http = await startHttp(t);
  await http.put('k', 'v');
  for (const path of ['/kv/k', '/kv/none', '/kv', '/status', '/metrics', '/readyz']) {
    const get = await http.request('GET', path);
    const head = await http.request('HEAD', path);
    assert.equal(head.status, get.status, path);
    assert.equal(head.headers['content-length'], get.headers['content-length']);
    assert.equal(head.headers.etag, get.headers.etag);
    assert.equal(head.text, '');
  }
});

test('an idempotency key travels with a fingerprint of the request', async t => {
  const http = await startHttp(t);
  const headers = {'Idempotency-Key': 'once ~'};
  const send = (body: string): ReturnType<typeof http.request> =>
    http.request('PUT', '/kv/k', {body, headers});
  const first = await send('a');
  const second = await send('a');
  assert.equal(second.text, first.text);
  assert.equal(second.headers['rosetta-revision'], '2');
  const other = await send('b');
  assert.equal(other.status, 422);
  assert.equal(other.json?.['code'], 'IDEMPOTENCY_KEY_REUSED');
  const byMethod = await http.request('DELETE', '/kv/k', {headers});
  assert.equal(byMethod.status, 422);
  for (const key of ['', 'x'.repeat(129), 'é', 'a\tb']) {
    const bad = await http.request('PUT', '/kv/k', {body: 'a', headers: {'Idempotency-Key': key}});
    assert.equal(bad.json?.['code'], 'INVALID_PARAMETER', key);
  }
});

test('timeout and consistency are passed on, and checked', async t => {
  const http = await startHttp(t);
  await http.request('GET', '/kv/k?consistency=local&timeout=60000');
  await http.request('GET', '/kv/k');
  assert.deepEqual(http.service.readOptions, [
    {consistency: 'local', timeoutMs: 60_000},
    {consistency: 'linearizable', timeoutMs: 5000},
  ]);
  const queries = ['timeout=0', 'timeout=60001', 'timeout=1.5', 'timeout=', 'consistency=x'];
  queries.push('revision=0', 'revision=-1', 'revision=1e3', 'nonsense=1', 'timeout=1&timeout=1');
  queries.push('revision=99999999999999999999', 'time%6Fut=0', '%FF=1');
  for (const query of queries) {
    const answer = await http.request('GET', `/kv/k?${query}`);
    assert.equal(answer.json?.['code'], 'INVALID_PARAMETER', query);
  }
  const named = await http.request('GET', '/kv/k?revison=7');
  assert.match(String(named.json?.['detail']), /"revison" is not known/);
  const put = await http.request('PUT', '/kv/k?consistency=local', {body: 'v'});
  assert.equal(put.json?.['code'], 'INVALID_PARAMETER');
  const bad = await http.request('GET', '/kv/k?timeout=%zz');
  assert.equal(bad.json?.['code'], 'BAD_PERCENT_ENCODING');
});

test('the lifetime of a raw put is checked', async t => {
  const http = await startHttp(t);
  const bad = ['ttl=0', 'ttl=x', 'ttl=1e3', 'lease=0', 'lease=-1', 'ttl=1&lease=7'];
  for (const query of bad) {
    const answer = await http.request('PUT', `/kv/k?${query}`, {body: 'v'});
    assert.equal(answer.json?.['code'], 'INVALID_PARAMETER', query);
  }
  assert.equal(http.service.proposed.length, 0);
});

test('errors of the node keep their code and their promise', async t => {
  const http = await startHttp(t);
  const failures: [RosettaError, number, string, string | undefined][] = [
    [new RosettaError('NO_LEADER', 'd'), 503, 'definite', '1'],
    [new RosettaError('OUTCOME_UNKNOWN', 'd'), 504, 'unknown', undefined],
    [new RosettaError('OVERLOADED', 'd'), 429, 'definite', '1'],
    [new RosettaError('STORAGE_FULL', 'd'), 507, 'definite', '1'],
  ];
  for (const [failure, status, outcome, retryAfter] of failures) {
    http.service.failNext = failure;
    const answer = await http.put('k', 'v');
    assert.equal(answer.status, status);
    assert.equal(answer.json?.['code'], failure.code);
    assert.equal(answer.json['status'], status);
    assert.equal(answer.json['outcome'], outcome);
    assert.equal(answer.headers['retry-after'], retryAfter);
  }
  http.service.failNext = new RosettaError('INTERNAL', 'd');
  const read = await http.request('GET', '/kv/k');
  assert.equal(read.json?.['outcome'], 'definite');
});
