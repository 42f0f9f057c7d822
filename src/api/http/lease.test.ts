/** Over HTTP, leases: every row of docs/http-api.md about them. */
import assert from 'node:assert/strict';
import {test, type TestContext} from 'node:test';
import {startHttp, type Answer, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';

interface Scene {
  readonly http: HttpFixture;
  readonly service: MachineService;
  readonly post: (path: string, body?: unknown) => Promise<Answer>;
}

async function start(t: TestContext): Promise<Scene> {
  const service = new MachineService();
  const timer = setInterval(() => service.leases.tick(), 10);
  t.after(() => clearInterval(timer));
  const http = await startHttp(t, {service, watches: service.watches});
  const post = (path: string, body?: unknown): Promise<Answer> =>
    http.request('POST', path, body === undefined ? {} : {body: JSON.stringify(body)});
  return {http, service, post};
}

test('a lease is made, looked at, kept alive and ended', async t => {
  const {http, post} = await start(t);
  const made = await post('/lease', {ttl: 30, id: '7'});
  assert.equal(made.status, 200);
  assert.equal(made.text, '{"id":"7","ttl":30}');
  assert.equal(made.headers['rosetta-revision'], '1');
  for (const key of ['b', 'a', '%FF']) {
    assert.equal((await http.request('PUT', `/kv/${key}?lease=7`, {body: 'v'})).status, 200);
  }
  const key = await http.request('GET', '/kv/a');
  assert.equal(key.json?.['lease'], '7');
  const shown = await http.request('GET', '/lease/7');
  assert.equal(shown.status, 200);
  const {remaining, ...rest} = shown.json ?? {};
  assert.deepEqual(rest, {
    id: '7',
    ttl: 30,
    keys: ['a', 'b', {key: '/w==', keyEncoding: 'base64'}],
  });
  assert.ok(typeof remaining === 'number' && remaining > 20 && remaining <= 30);
  assert.equal((await post('/lease/7/keepalive')).text, '{"id":"7","ttl":30}');
  const list = await http.request('GET', '/lease');
  assert.equal(list.text, '{"leases":[{"id":"7","ttl":30}],"more":false}');
  const ended = await http.request('DELETE', '/lease/7');
  assert.equal(ended.text, '{"deleted":3,"revision":5}');
  assert.equal((await http.request('GET', '/kv?countOnly')).json?.['count'], 0);
});

test('an id that is not asked for is a decimal string', async t => {
  const {post} = await start(t);
  const made = await post('/lease', {ttl: 0.1});
  assert.match(made.text, /^\{"id":"[1-9][0-9]*","ttl":0\.1\}$/);
  const other = await post('/lease', {ttl: 1.5});
  assert.notEqual(other.json?.['id'], made.json?.['id']);
  assert.equal(other.json?.['ttl'], 1.5);
});

test('ttl in a put makes a private lease, gone with its key', async t => {
  const {http} = await start(t);
  await http.request('PUT', '/kv', {body: '{"key":"a","value":"1","ttl":30}'});
  const lease = (await http.request('GET', '/kv/a')).json?.['lease'];
  const shown = await http.request('GET', `/lease/${String(lease)}`);
  assert.deepEqual(shown.json?.['keys'], ['a']);
  await http.put('a', '2');
  assert.equal((await http.request('GET', '/kv/a')).json?.['lease'], undefined);
  const gone = await http.request('GET', `/lease/${String(lease)}`);
  assert.equal(gone.status, 404);
  assert.equal(gone.json?.['code'], 'LEASE_NOT_FOUND');
});

test('a key with a lifetime goes when it is over, not before; a watch tells it', async t => {
  const {http} = await start(t);
  const startedAtMs = performance.now();
  const put = await http.request('PUT', '/kv/a?ttl=0.3', {body: 'v'});
  assert.equal(put.status, 200);
  const acknowledgedAtMs = performance.now();
  for (;;) {
    const answer = await http.request('GET', '/kv/a');
    if (answer.status === 404) break;
    assert.equal(answer.status, 200);
    assert.ok(performance.now() - acknowledgedAtMs < 10_000);
  }
  assert.ok(performance.now() - startedAtMs >= 300);
});

test('in a transaction puts have lifetimes too, and compares see leases', async t => {
  const {http, post} = await start(t);
  await post('/lease', {ttl: 30, id: '7'});
  await post('/txn', {
    success: [
      {put: {key: 'a', value: '', lease: '7'}},
      {put: {key: 'b', value: '', ttl: 30}},
      {put: {key: 'c', value: ''}},
    ],
  });
  const compare = {key: 'a', target: 'lease', op: '=', value: '7'};
  const answer = await post('/txn', {compare: [compare], success: [{get: {key: 'a'}}]});
  assert.match(answer.text, /"succeeded":true.*"lease":"7"/);
  assert.equal((await http.request('GET', '/lease')).json?.['more'], false);
});

test('what is refused says why and changes nothing', async t => {
  const {http, service, post} = await start(t);
  await post('/lease', {ttl: 30, id: '7'});
  const put = (query: string): Promise<Answer> =>
    http.request('PUT', `/kv/k?${query}`, {body: 'v'});
  const before = service.machine.stateHash();
  const cases: [Promise<Answer>, number, string][] = [
    [post('/lease', {ttl: 30, id: '7'}), 409, 'LEASE_EXISTS'],
    [post('/lease', {}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 0.05}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 1e10}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: '30'}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 30, id: 7}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 30, id: '0'}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 30, id: '-1'}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 30, id: '9007199254740991'}), 400, 'INVALID_REQUEST'],
    [post('/lease', {ttl: 30, name: 'x'}), 400, 'INVALID_REQUEST'],
    [post('/lease/8/keepalive'), 404, 'LEASE_NOT_FOUND'],
    [post('/lease/x/keepalive'), 404, 'LEASE_NOT_FOUND'],
    [http.request('GET', '/lease/8'), 404, 'LEASE_NOT_FOUND'],
    [http.request('DELETE', '/lease/8'), 404, 'LEASE_NOT_FOUND'],
    [put('lease=8'), 404, 'LEASE_NOT_FOUND'],
    [put('lease=9223372036854775807'), 404, 'LEASE_NOT_FOUND'],
    [put('lease=7&ttl=3'), 400, 'INVALID_PARAMETER'],
    [http.request('GET', '/lease?after=x'), 400, 'INVALID_PARAMETER'],
    [http.request('GET', '/lease?limit=0'), 400, 'INVALID_PARAMETER'],
    [http.request('PUT', '/lease/7'), 405, 'METHOD_NOT_ALLOWED'],
  ];
  for (const [pending, status, code] of cases) {
    const answer = await pending;
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.json?.['code'], code);
  }
  assert.equal(service.machine.stateHash(), before);
  assert.equal(service.machine.leases.count, 1);
});

test('many leases are listed page by page', async t => {
  const {http, post} = await start(t);
  for (const id of ['9007199254740990', '3', '1', '2']) await post('/lease', {ttl: 30, id});
  const seen: string[] = [];
  let after = '0';
  for (;;) {
    const page = await http.request('GET', `/lease?limit=2&after=${after}`);
    const {leases, more} = page.json as {leases: {id: string}[]; more: boolean};
    seen.push(...leases.map(({id}) => id));
    if (!more) break;
    after = leases.at(-1)?.id ?? '';
  }
  assert.deepEqual(seen, ['1', '2', '3', '9007199254740990']);
});

test('the same idempotency key makes one lease', async t => {
  const {http, service} = await start(t);
  const request = {body: '{"ttl":30}', headers: {'Idempotency-Key': 'once'}};
  const first = await http.request('POST', '/lease', request);
  const second = await http.request('POST', '/lease', request);
  assert.equal(second.text, first.text);
  assert.equal(service.machine.leases.count, 1);
});
