/** Over HTTP, everything around the keys: routes, methods, origins, health, and the document. */
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import {errorTable, RosettaError} from '../../base/errors.ts';
import {routes} from './router.ts';

test('an unknown route is 404 and a wrong method 405 with Allow', async t => {
  const http = await startHttp(t);
  for (const path of [
    '/',
    '/kvx',
    '/KV',
    '/status/',
    '/lease/',
    '/lease/1/x',
    '/cluster',
    '//kv',
  ]) {
    const answer = await http.request('GET', path);
    assert.equal(answer.status, 404, path);
    assert.equal(answer.json?.['code'], 'ROUTE_NOT_FOUND');
  }
  for (const {name, allow} of routes) {
    const answer = await http.request('PATCH', name.replace('{key}', 'k').replace('{id}', '7'));
    assert.equal(answer.status, 405, name);
    assert.equal(answer.json?.['code'], 'METHOD_NOT_ALLOWED');
    assert.equal(answer.headers.allow, allow);
  }
});

test('OPTIONS answers 204 with Allow, also for the server as a whole', async t => {
  const http = await startHttp(t);
  const key = await http.request('OPTIONS', '/kv/k');
  assert.equal(key.status, 204);
  assert.equal(key.headers.allow, 'GET, HEAD, PUT, DELETE, OPTIONS');
  assert.equal(key.headers['access-control-allow-origin'], undefined);
  assert.equal((await http.request('OPTIONS', '*')).status, 204);
  assert.equal((await http.request('OPTIONS', '/nope')).status, 404);
});

test('status, leader and members are JSON, also while the node is not ready', async t => {
  const http = await startHttp(t);
  http.service.unready = new RosettaError('STARTING', 'waiting for node3');
  const status = await http.request('GET', '/status');
  assert.deepEqual(status.json, {...http.service.status()});
  const leader = await http.request('GET', '/leader');
  assert.equal(
    leader.text,
    '{"id":"node1","listen":"127.0.0.1:8080","http":"127.0.0.1:9080","term":3}',
  );
  http.service.leaderStatus = null;
  const none = await http.request('GET', '/leader?timeout=50');
  assert.equal(none.status, 503);
  assert.equal(none.json?.['code'], 'NO_LEADER');
  const members = await http.request('GET', '/cluster/members');
  assert.deepEqual(members.json, {members: http.service.members()});
  const bad = await http.request('GET', '/status?x=1');
  assert.equal(bad.json?.['code'], 'INVALID_PARAMETER');
});

test('a node that is not ready refuses the store but is alive', async t => {
  const http = await startHttp(t);
  assert.equal((await http.request('GET', '/readyz')).text, '{"ready":true}');
  http.service.unready = new RosettaError('STARTING', 'waiting for node3');
  for (const [method, path] of [
    ['GET', '/kv/k'],
    ['GET', '/kv'],
    ['PUT', '/kv'],
    ['DELETE', '/kv/k'],
    ['POST', '/compact'],
    ['GET', '/readyz'],
  ] as const) {
    const answer = await http.request(method, path);
    assert.equal(answer.status, 503, path);
    assert.equal(answer.json?.['code'], 'STARTING');
    assert.equal(answer.json['detail'], 'waiting for node3');
  }
  assert.equal((await http.request('GET', '/livez')).status, 200);
});

test('without a leader a node is not ready, and local reads go on', async t => {
  const http = await startHttp(t);
  http.service.leaderStatus = null;
  http.service.unready = new RosettaError('NO_LEADER', 'no leader');
  assert.equal((await http.request('GET', '/readyz')).json?.['code'], 'NO_LEADER');
  const read = await http.request('GET', '/kv/k?consistency=local');
  assert.equal(read.status, 404);
});

test('metrics are text, and a failure to collect them is an answer', async t => {
  let isBroken = false;
  const collect = (): Promise<string> =>
    isBroken ? Promise.reject(new Error('broken')) : Promise.resolve('rosetta_up 1\n');
  const http = await startHttp(t, {metricsText: collect});
  const answer = await http.request('GET', '/metrics');
  assert.equal(answer.text, 'rosetta_up 1\n');
  assert.match(answer.headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/);
  isBroken = true;
  assert.equal((await http.request('GET', '/metrics')).status, 500);
});

test('every answer is observed under the name of its route', async t => {
  const http = await startHttp(t);
  await http.put('a/b', 'v');
  await http.request('GET', '/kv/none');
  await http.request('GET', '/nope');
  await http.raw('GET http://x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.deepEqual(http.observations, [
    {route: '/kv/{key}', method: 'PUT', status: 200},
    {route: '/kv/{key}', method: 'GET', status: 404},
    {route: 'unknown', method: 'GET', status: 404},
    {route: 'unknown', method: 'GET', status: 400},
  ]);
});

test('pages of other origins cannot write, programs and own pages can', async t => {
  const http = await startHttp(t, {hostNames: ['Store.example']});
  const put = async (headers: Record<string, string>): Promise<number> =>
    (await http.request('PUT', '/kv/k', {body: 'v', headers})).status;
  const host = `127.0.0.1:${http.port}`;
  assert.equal(await put({}), 200);
  assert.equal(await put({Host: 'anything.example'}), 200);
  assert.equal(await put({Origin: `http://${host}`}), 200);
  assert.equal(await put({Origin: 'http://localhost:1', Host: 'localhost:1'}), 200);
  assert.equal(await put({Origin: 'https://store.example', Host: 'store.example'}), 200);
  assert.equal(await put({Origin: 'http://[::1]:1', Host: '[::1]:1'}), 200);
  assert.equal(await put({'Sec-Fetch-Site': 'same-origin', Origin: `http://${host}`}), 200);
  assert.equal(await put({Origin: 'http://evil.example'}), 403);
  assert.equal(await put({Origin: 'null'}), 403);
  assert.equal(await put({'Sec-Fetch-Site': 'cross-site'}), 403);
  // A name pointed at this machine: the page looks same-origin, but the name is not ours.
  assert.equal(await put({Origin: 'http://evil.example', Host: 'evil.example'}), 403);
  const read = await http.request('GET', '/kv/k', {headers: {Origin: 'http://evil.example'}});
  assert.equal(read.status, 200);
  assert.equal(read.headers['access-control-allow-origin'], undefined);
});

test('allowed origins may write and get CORS headers', async t => {
  const origin = 'https://app.example';
  const http = await startHttp(t, {corsOrigins: [origin]});
  const headers = {Origin: origin, 'Sec-Fetch-Site': 'cross-site'};
  const put = await http.request('PUT', '/kv/k', {body: 'v', headers});
  assert.equal(put.status, 200);
  assert.equal(put.headers['access-control-allow-origin'], origin);
  assert.equal(put.headers.vary, 'Accept, Origin');
  const preflight = await http.request('OPTIONS', '/kv/k', {
    headers: {...headers, 'Access-Control-Request-Method': 'PUT'},
  });
  assert.equal(preflight.status, 204);
  assert.equal(
    preflight.headers['access-control-allow-methods'],
    'GET, HEAD, PUT, DELETE, OPTIONS',
  );
  assert.match(preflight.headers['access-control-allow-headers'] ?? '', /Idempotency-Key/);
  const other = await http.request('OPTIONS', '/kv/k', {
    headers: {Origin: 'https://evil.example', 'Access-Control-Request-Method': 'PUT'},
  });
  assert.equal(other.headers['access-control-allow-methods'], undefined);
  assert.equal(other.headers.vary, 'Accept, Origin');
});

test('docs/http-api.md lists the codes, routes and parameters of the code, no more and no fewer', () => {
  const text = readFileSync('docs/http-api.md', 'utf8');
  const documented = [...text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\w+) \| (.+) \|$/gm)];
  const rows = documented.map(([, code, status, outcome, title]) => [code, status, outcome, title]);
  assert.deepEqual(
    rows,
    Object.entries(errorTable).map(([code, {status, outcome, title}]) => [
      code,
      String(status),
      outcome,
      title,
    ]),
  );
  const listed = new Map<string, string[]>();
  for (const [, path = '', method = '', parameters = ''] of text.matchAll(
    /^\| `(\/[^`]*)` \| ([A-Z]+) \| ([^|]*) \|/gm,
  )) {
    const names = [...parameters.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
    listed.set(`${method} ${path}`, names.sort());
  }
  const actual = routes.flatMap(({name, operations}) =>
    [...operations].map(
      ([method, {parameters}]) => [`${method} ${name}`, [...parameters.names].sort()] as const,
    ),
  );
  assert.deepEqual(listed, new Map(actual));
});
