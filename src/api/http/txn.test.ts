/** Over HTTP, transactions: every row of docs/http-api.md about them, and a plain model beside. */
import assert from 'node:assert/strict';
import {isUtf8} from 'node:buffer';
import {test} from 'node:test';
import {startHttp, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';
import {must} from '../../base/assert.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {Prng} from '../../base/prng.ts';

interface Answered {
  readonly status: number;
  readonly text: string;
  readonly revision: string | undefined;
}

async function txn(http: HttpFixture, body: unknown, key?: string): Promise<Answered> {
  const {status, text, headers} = await http.request('POST', '/txn', {
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(key === undefined ? {} : {headers: {'Idempotency-Key': key}}),
  });
  return {status, text, revision: headers['rosetta-revision']?.toString()};
}

const put = (key: string, value: string): object => ({put: {key, value}});

test('a transaction takes one revision, and its reads see its writes', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  const answer = await txn(http, {
    success: [
      {get: {key: 'a'}},
      put('a', '1'),
      {get: {key: 'a'}},
      {delete: {key: 'b'}},
      put('c', '2'),
    ],
    failure: [put('never', 'x')],
  });
  assert.equal(answer.status, 200);
  assert.equal(
    answer.text,
    '{"succeeded":true,"revision":2,"results":[null,{"key":"a","revision":2,"version":1},' +
      '{"key":"a","value":"1","createRevision":2,"modRevision":2,"version":1},' +
      '{"deleted":0,"revision":2},{"key":"c","revision":2,"version":1}]}',
  );
  assert.equal(answer.revision, '2');
  const after = await txn(http, {success: [{delete: {key: 'a'}}, {get: {key: 'a'}}]});
  assert.equal(
    after.text,
    '{"succeeded":true,"revision":3,"results":[{"deleted":1,"revision":3},null]}',
  );
  assert.equal((await http.request('GET', '/kv/never')).status, 404);
});

test('a transaction that changes nothing takes no revision, an empty one included', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  for (const body of ['{}', '{"success":[{"get":{"key":"a"}},{"delete":{"key":"a"}}]}']) {
    const answer = await txn(http, body);
    assert.equal(answer.status, 200);
    assert.equal(answer.revision, '1');
  }
});

test('every target and operator decides as documented, on present and absent keys', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  for (const value of ['b1', 'b2']) await txn(http, {success: [put('k', value)]});
  const orders = {'=': [0], '!=': [-1, 1], '<': [-1], '>': [1]} as const;
  // What the key has, and something below and above.
  const present = {
    value: ['b2', 'b1', 'b3'],
    version: [2, 1, 3],
    createRevision: [2, 1, 3],
    modRevision: [3, 2, 4],
    lease: ['0', null, '7'],
  } as const;
  for (const [target, [same, below, above]] of Object.entries(present)) {
    for (const [op, holdsAt] of Object.entries(orders)) {
      for (const [order, value] of [
        [0, same],
        [1, below],
        [-1, above],
      ] as const) {
        if (value === null) continue;
        const answer = await txn(http, {compare: [{key: 'k', target, op, value}]});
        const succeeded = (holdsAt as readonly number[]).includes(order);
        const text = `{"succeeded":${succeeded},"revision":3,"results":[]}`;
        assert.equal(answer.text, text, `${target} ${op} ${value}`);
      }
    }
  }
  const absent: [string, string, unknown, boolean][] = [
    ['value', '=', '', false],
    ['value', '!=', 'x', false],
    ['value', '<', 'x', false],
    ['value', '>', '', false],
    ['version', '=', 0, true],
    ['createRevision', '=', 0, true],
    ['modRevision', '<', 1, true],
    ['modRevision', '>', 0, false],
    ['lease', '=', '0', true],
    ['lease', '=', 0, true],
    ['lease', '!=', '9223372036854775807', true],
  ];
  for (const [target, op, value, succeeded] of absent) {
    const answer = await txn(http, {compare: [{key: 'none', target, op, value}]});
    assert.equal(answer.text, `{"succeeded":${succeeded},"revision":3,"results":[]}`, target);
  }
});

test('all compares must hold, and they see the state before the transaction', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  await txn(http, {success: [put('a', '1')]});
  const compare = [
    {key: 'a', target: 'value', op: '=', value: '1'},
    {key: 'b', target: 'version', op: '=', value: 0},
  ];
  const first = await txn(http, {compare, success: [put('b', '1')], failure: [put('c', '1')]});
  assert.match(first.text, /^\{"succeeded":true,"revision":3,"results":\[\{"key":"b"/);
  const second = await txn(http, {compare, success: [put('b', '1')], failure: [put('c', '1')]});
  assert.match(second.text, /^\{"succeeded":false,"revision":4,"results":\[\{"key":"c"/);
});

test('what is refused names its place, is definite, and changes nothing', async t => {
  const service = new MachineService();
  const http = await startHttp(t, {service});
  const long = 'k'.repeat(1025);
  const compare = (fields: object): object => ({
    compare: [{key: 'k', target: 'version', op: '=', value: 0, ...fields}],
  });
  const cases: [unknown, number, string, RegExp][] = [
    ['{', 400, 'INVALID_JSON', /ends too early/],
    ['[]', 400, 'INVALID_REQUEST', /must be an object/],
    [{then: []}, 400, 'INVALID_REQUEST', /"then"/],
    [{success: {}}, 400, 'INVALID_REQUEST', /"success" must be a list/],
    [{success: [{}]}, 400, 'INVALID_REQUEST', /"success\[0\]" must have exactly one/],
    [
      {success: [put('a', ''), {get: {key: 'a'}, put: {key: 'a', value: ''}}]},
      400,
      'INVALID_REQUEST',
      /"success\[1\]" must have exactly one/,
    ],
    [{failure: [{range: {}}]}, 400, 'INVALID_REQUEST', /"failure\[0\]\.range" is not known/],
    [{failure: [7]}, 400, 'INVALID_REQUEST', /"failure\[0\]" must be an object/],
    [{success: [{get: null}]}, 400, 'INVALID_REQUEST', /"success\[0\]\.get" must be an object/],
    [{success: [{get: {}}]}, 400, 'INVALID_REQUEST', /"success\[0\]\.get\.key" is missing/],
    [{success: [{get: {key: 'a', value: ''}}]}, 400, 'INVALID_REQUEST', /"success\[0\]\.get\.v/],
    [{success: [{put: {key: 'a'}}]}, 400, 'INVALID_REQUEST', /"success\[0\]\.put\.value" is/],
    [{success: [{put: {key: 'a', value: 7}}]}, 400, 'INVALID_REQUEST', /put\.value" must be a str/],
    [
      {success: [{put: {key: 'a', value: '=', encoding: 'base64'}}]},
      400,
      'INVALID_REQUEST',
      /put\.value" is not canonical base64/,
    ],
    [{success: [{delete: {key: ''}}]}, 400, 'KEY_EMPTY', /success\[0\]\.delete\.key is empty/],
    [{success: [{delete: {key: long}}]}, 400, 'KEY_TOO_LONG', /success\[0\]\.delete\.key has 1025/],
    [compare({target: 'age'}), 400, 'INVALID_REQUEST', /"compare\[0\]\.target" must be one of/],
    [compare({op: '>='}), 400, 'INVALID_REQUEST', /"compare\[0\]\.op" must be one of/],
    [compare({value: '0'}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value" must be a whole num/],
    [compare({value: -1}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value"/],
    [compare({value: 1.5}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value"/],
    [compare({value: undefined}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value" is missing/],
    [compare({target: 'value'}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value" must be a str/],
    [compare({target: 'lease', value: '-1'}), 400, 'INVALID_REQUEST', /"compare\[0\]\.value" mu/],
    [compare({encoding: 'utf8'}), 400, 'INVALID_REQUEST', /"compare\[0\]\.encoding" belongs to/],
    [compare({range: {}}), 400, 'INVALID_REQUEST', /"compare\[0\]\.range" is not known/],
    [{success: [put('a', '1'), put('a', '2')]}, 400, 'DUPLICATE_KEY', /./],
    [{failure: [put('a', '1'), {delete: {key: 'a'}}]}, 400, 'DUPLICATE_KEY', /./],
    [{success: [{delete: {key: 'a'}}, {delete: {key: 'a'}}]}, 400, 'DUPLICATE_KEY', /./],
    [
      {success: Array.from({length: 129}, (_, i) => put(`${i}`, ''))},
      400,
      'INVALID_REQUEST',
      /"success" has 129 items, at most 128/,
    ],
    [
      {success: [put('a', 'v'.repeat(limits.valueSizeBytesMax + 1))]},
      413,
      'VALUE_TOO_LARGE',
      /success\[0\]\.put\.value/,
    ],
    [
      {success: ['a', 'b', 'c'].map(key => put(key, 'v'.repeat(1_500_000)))},
      413,
      'COMMAND_TOO_LARGE',
      /./,
    ],
  ];
  for (const [body, status, code, detail] of cases) {
    const answer = await txn(http, body);
    const name = `${JSON.stringify(body).slice(0, 100)}: ${answer.text}`;
    const problem = JSON.parse(answer.text) as Record<string, string>;
    assert.equal(answer.status, status, name);
    assert.equal(problem['code'], code, name);
    assert.equal(problem['outcome'], 'definite', name);
    assert.match(problem['detail'] ?? '', detail, name);
  }
  assert.equal(service.proposedCount, 0);
  for (const [path, headers, status] of [
    ['/txn?revision=1', {}, 400],
    ['/txn', {'If-Match': '*'}, 400],
    ['/txn', {'Idempotency-Key': ''}, 400],
    ['/txn', {Origin: 'http://evil.example'}, 403],
  ] as const) {
    const answer = await http.request('POST', path, {body: '{}', headers});
    assert.equal(answer.status, status, path);
  }
});

test('128 operations a list fit, 4 MiB of values too', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  const many = (key: string): object[] =>
    Array.from({length: 128}, (_, i) => put(`${key}${i}`, ''));
  const compare = Array.from({length: 128}, (_, i) => ({
    key: `s${i}`,
    target: 'version',
    op: '=',
    value: 0,
  }));
  const answer = await txn(http, {compare, success: many('s'), failure: many('f')});
  assert.equal(answer.status, 200);
  assert.equal((await http.request('GET', '/kv?prefix=s&countOnly')).json?.['count'], 128);
  const large = await txn(http, {success: ['a', 'b'].map(key => put(key, 'v'.repeat(1_500_000)))});
  assert.equal(large.status, 200);
});

test('the same idempotency key gets the first answer, another request is refused', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  const body = {
    compare: [{key: 'a', target: 'version', op: '=', value: 0}],
    success: [put('a', '1'), {get: {key: 'a'}}],
    failure: [put('b', '1')],
  };
  const first = await txn(http, body, 'once');
  assert.equal(first.status, 200);
  assert.deepEqual(await txn(http, body, 'once'), first);
  assert.equal((await txn(http, {...body, failure: []}, 'once')).status, 422);
  const failed = await txn(http, body, 'twice');
  assert.match(failed.text, /"succeeded":false/);
  assert.deepEqual(await txn(http, body, 'twice'), failed);
  assert.equal((await http.request('GET', '/kv/b')).json?.['version'], 1);
});

test('errors of the cluster become the answer', async t => {
  const http = await startHttp(t);
  http.service.failNext = new RosettaError('OUTCOME_UNKNOWN', 'lost');
  const answer = await txn(http, '{}');
  assert.equal(answer.status, 504);
  assert.equal((JSON.parse(answer.text) as Record<string, string>)['outcome'], 'unknown');
  http.service.unready = new RosettaError('STARTING', 'wait');
  assert.equal((await txn(http, '{}')).status, 503);
  assert.equal((await http.request('GET', '/txn')).status, 405);
});

test('an answer larger than what a connection may otherwise hold arrives', async t => {
  const http = await startHttp(t, {service: new MachineService()});
  // Each byte of the value takes six characters of JSON.
  const value = '\u0001'.repeat(1_500_000);
  const keys = ['a', 'b', 'c', 'd'];
  for (const key of keys) await http.put(key, value);
  const answer = await http.request('POST', '/txn', {
    body: JSON.stringify({success: keys.map(key => ({get: {key}}))}),
  });
  assert.equal(answer.status, 200);
  assert.ok(answer.bytes.length > limits.httpResponseBufferSizeBytesMax);
  const {results} = JSON.parse(answer.text) as {results: {value: string}[]};
  assert.ok(results.every(record => record.value === value));
});

interface Row {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
}

interface Operation {
  readonly type: 'put' | 'get' | 'delete';
  readonly key: string;
  readonly value: string;
}

interface Compare {
  readonly key: string;
  readonly target: 'value' | 'version' | 'createRevision' | 'modRevision' | 'lease';
  readonly op: string;
  readonly value: string | number;
}

/** Keys and values are latin1 text, one character a byte. */
class PlainStore {
  revision = 1;
  rows = new Map<string, Row>();

  run(compares: readonly Compare[], lists: readonly (readonly Operation[])[]): unknown {
    const succeeded = compares.every(compare => this.#holds(compare));
    const operations = must(lists[succeeded ? 0 : 1], 'two lists');
    const next = this.revision + 1;
    let changeCount = 0;
    const raw = operations.map(({type, key, value}) => {
      const row = this.rows.get(key);
      if (type === 'get') return row === undefined ? null : recordOf(key, row);
      if (type === 'delete') {
        if (this.rows.delete(key)) changeCount++;
        return {deleted: row === undefined ? 0 : 1};
      }
      changeCount++;
      const version = (row?.version ?? 0) + 1;
      const createRevision = row?.createRevision ?? next;
      this.rows.set(key, {value, createRevision, modRevision: next, version});
      return {...keyOf(key), version};
    });
    if (changeCount > 0) this.revision = next;
    const {revision} = this;
    const results = raw.map(result =>
      result !== null && !('value' in result) ? {...result, revision} : result,
    );
    return {succeeded, revision, results};
  }

  #holds({key, target, op, value}: Compare): boolean {
    const row = this.rows.get(key);
    if (target === 'value' && row === undefined) return false;
    const actual = target === 'lease' ? 0 : (row?.[target] ?? 0);
    if (op === '=') return actual === value;
    if (op === '!=') return actual !== value;
    return op === '<' ? actual < value : actual > value;
  }
}

function keyOf(key: string): {key: string; keyEncoding?: string} {
  const {text, encoding} = shown(key);
  return encoding === null ? {key: text} : {key: text, keyEncoding: encoding};
}

function recordOf(key: string, row: Row): Record<string, unknown> {
  const {text, encoding} = shown(row.value);
  return {...keyOf(key), ...row, value: text, ...(encoding === null ? {} : {encoding})};
}

function shown(latin1: string): {text: string; encoding: string | null} {
  const bytes = Buffer.from(latin1, 'latin1');
  if (isUtf8(bytes)) return {text: bytes.toString('utf8'), encoding: null};
  return {text: bytes.toString('base64'), encoding: 'base64'};
}

test('random transactions do what a plain model does', async t => {
  for (let seed = 1; seed <= 6; seed++) {
    const service = new MachineService();
    const http = await startHttp(t, {service});
    const prng = new Prng(seed);
    const below = (max: number): number => prng.integer({min: 0, max: max - 1});
    const pick = <T>(...from: readonly T[]): T => must(from[below(from.length)], 'one of them');
    const model = new PlainStore();
    const drawKey = (): string =>
      pick('a', 'a/b', '__proto__', '\u00c3\u00a9', '\u00ff', '\0', 'b');
    const drawValue = (): string =>
      pick('', 'v', `v${below(9)}`, '\u00fe\u0080', '"\\\n', '\u007f');
    /** Fields as a client may send them: bytes that are text in either encoding. */
    const sent = (name: string, by: string, latin1: string): Record<string, string> => {
      const bytes = Buffer.from(latin1, 'latin1');
      if (isUtf8(bytes) && below(3) > 0) return {[name]: bytes.toString('utf8')};
      return {[name]: bytes.toString('base64'), [by]: 'base64'};
    };
    const drawList = (): Operation[] => {
      const written = new Set<string>();
      return Array.from({length: below(5)}, (): Operation => {
        const key = drawKey();
        const type = written.has(key) ? 'get' : pick('put', 'put', 'get', 'delete');
        if (type !== 'get') written.add(key);
        return {type, key, value: drawValue()};
      });
    };
    const drawCompare = (): Compare => {
      const target = pick('value', 'version', 'createRevision', 'modRevision', 'lease');
      const number = below(Math.max(4, below(2) * model.revision));
      const value = target === 'value' ? drawValue() : number;
      return {key: drawKey(), target, op: pick('=', '!=', '<', '>'), value};
    };
    for (let i = 0; i < 120; i++) {
      const compares = Array.from({length: below(3)}, drawCompare);
      const lists = [drawList(), drawList()];
      const [success, failure] = lists.map(list =>
        list.map(({type, key, value}) => ({
          [type]: {
            ...sent('key', 'keyEncoding', key),
            ...(type === 'put' ? sent('value', 'encoding', value) : {}),
          },
        })),
      );
      const compare = compares.map(({key, target, op, value}) => ({
        ...sent('key', 'keyEncoding', key),
        target,
        op,
        ...(typeof value === 'string' ? sent('value', 'encoding', value) : {value}),
        ...(target === 'lease' ? {value: String(value)} : {}),
      }));
      const expected = model.run(compares, lists);
      const answer = await txn(http, {compare, success, failure});
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(JSON.parse(answer.text), expected, `seed ${seed}, transaction ${i}`);
    }
    assert.equal(service.machine.keyCount(), model.rows.size);
  }
});
