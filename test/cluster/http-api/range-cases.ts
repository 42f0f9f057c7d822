/** "Ranges" and "Transactions" of docs/http-api.md. */
import assert from 'node:assert/strict';
import {asList, asObject, type Json} from '../../contract/schema-check.ts';
import type {CheckedApi} from './checked-api.ts';
import {holds, type Section} from './contract-case.ts';

async function fill(api: CheckedApi, keys: string): Promise<void> {
  for (const key of keys.split(' ')) await api.ok(`PUT /kv/${key}`, {body: `of ${key}`});
}

function keysOf(page: Json): string {
  return asList(page['records'])
    .map(record => asObject(record)['key'])
    .join(' ');
}

export const ranges: Section = {
  title: 'Ranges',
  cases: [
    holds('GET /kv without parameters reads all keys', async ({api, solo}) => {
      await fill(solo, 'b/1 a/2 a/1 a c');
      const all = 'a a/1 a/2 b/1 c hello';
      for (const [query, keys] of [
        ['', all],
        ['?prefix=', all],
        ['?prefix=a/', 'a/1 a/2'],
        ['?start=a/2&end=c', 'a/2 b/1'],
        ['?start=b', 'b/1 c hello'],
        ['?end=a/2', 'a a/1'],
        ['?start=c&end=a', ''],
        ['?prefix=%FF', ''],
      ] as const) {
        assert.equal(keysOf(await solo.ok(`GET /kv${query}`)), keys, query);
      }
      await api.refused([
        ['GET /kv?prefix=a&start=a', 'INVALID_PARAMETER'],
        ['GET /kv?prefix=a&end=b', 'INVALID_PARAMETER'],
        ['GET /kv?end=', 'INVALID_PARAMETER'],
        ['DELETE /kv?end=', 'INVALID_PARAMETER'],
        ['DELETE /kv', 'RANGE_REQUIRED'],
        ['DELETE /kv?timeout=100', 'RANGE_REQUIRED'],
      ]);
      assert.equal((await solo.ok('DELETE /kv?start=b&end=c&timeout=5000'))['deleted'], 1);
      assert.equal((await solo.ok('DELETE /kv?prefix='))['deleted'], 5);
      assert.equal((await solo.ok('DELETE /kv?prefix='))['deleted'], 0);
    }),
    holds(
      ['limit is 1 to 10,000, by default 1000', 'countOnly counts the whole range'],
      async ({solo}) => {
        for (let from = 0; from < 10_001; from += 128) {
          const count = Math.min(128, 10_001 - from);
          const key = (i: number): string => `many/${String(from + i).padStart(5, '0')}`;
          const success = Array.from({length: count}, (_, i) => ({put: {key: key(i), value: ''}}));
          await solo.ok('POST /txn', {body: {success}});
        }
        assert.equal((await solo.ok('GET /kv?prefix=many/'))['count'], 1000);
        assert.equal((await solo.ok('GET /kv?prefix=many/&limit=10000'))['count'], 10_000);
        const counted = await solo.ok('GET /kv?prefix=many/&countOnly&limit=1');
        const {revision, ...rest} = counted;
        assert.deepEqual(rest, {records: [], count: 10_001, more: false});
        for (const limit of ['0', '10001', 'x']) {
          await solo.refused([[`GET /kv?limit=${limit}`, 'INVALID_PARAMETER']]);
        }
        // The table of routes: more than 10,000 keys: 422.
        await solo.refused([['DELETE /kv?prefix=many/', 'TOO_MANY_KEYS']]);
        assert.equal((await solo.ok('GET /kv?prefix=many/&countOnly'))['count'], 10_001);
        const deleted = await solo.ok('DELETE /kv?prefix=many/1');
        assert.deepEqual(deleted, {deleted: 1, revision: Number(revision) + 1});
        assert.equal((await solo.ok('DELETE /kv?prefix=many/'))['deleted'], 10_000);

        const value = Buffer.alloc(1_572_864, 'x');
        for (let i = 0; i < 6; i++) await solo.ok(`PUT /kv/page/${i}`, {body: value});
        const page = await solo.ask('GET /kv?prefix=page/');
        assert.ok(page.bytes.length <= 8 * 1024 * 1024);
        assert.deepEqual([page.json?.['count'], page.json?.['more']], [5, true]);
        const next = await solo.ok(`GET /kv?cursor=${String(page.json?.['cursor'])}`);
        assert.deepEqual([next['count'], next['more']], [1, false]);
        // Six times as long in JSON: more than 8 MiB, and still one record.
        await solo.ok('PUT /kv/page/', {body: Buffer.alloc(1_572_864, 1)});
        assert.equal((await solo.ok('GET /kv?prefix=page/'))['count'], 1);
        assert.equal((await solo.ok('DELETE /kv?prefix=page/'))['deleted'], 7);
      },
    ),
    holds('{"records":[…],"count":N,"more":bool,"cursor":"…","revision":N}', async ({api}) => {
      await fill(api, 'shape/a shape/b');
      const first = await api.ok('GET /kv?prefix=shape/&limit=1');
      assert.deepEqual(Object.keys(first), ['records', 'count', 'more', 'cursor', 'revision']);
      assert.match(String(first['cursor']), /^[A-Za-z0-9_-]+$/);
      const all = await api.ok('GET /kv?prefix=shape/&keysOnly');
      assert.deepEqual(Object.keys(all), ['records', 'count', 'more', 'revision']);
      const fields = ['key', 'createRevision', 'modRevision', 'version'];
      assert.deepEqual(Object.keys(asObject(asList(all['records'])[0])), fields);
    }),
    holds(
      ['A page is one moment of the store', 'A cursor is self-contained', 'Other range parameters'],
      async ({api}) => {
        await fill(api, 'pages/1 pages/2 pages/3');
        for (const order of ['', '&reverse']) {
          const first = await api.ok(`GET /kv?prefix=pages/&limit=1${order}`, {at: 0});
          await api.ok('PUT /kv/pages/2', {body: 'changed'});
          await api.ok('PUT /kv/pages/25', {body: 'new'});
          const cursor = String(first['cursor']);
          for (const at of [0, 1, 2]) {
            const second = await api.ok(`GET /kv?cursor=${cursor}`, {at});
            assert.equal(second['revision'], first['revision']);
            assert.equal(keysOf(second), 'pages/2');
          }
          const other = order === '' ? '&reverse' : '&reverse=false';
          for (const query of ['prefix=page', 'limit=2', 'keysOnly', 'revision=2', 'start=x']) {
            await api.refused([[`GET /kv?cursor=${cursor}&${query}`, 'INVALID_CURSOR']]);
          }
          await api.refused([[`GET /kv?cursor=${cursor}${other}`, 'INVALID_CURSOR']]);
          await api.ok(`GET /kv?cursor=${cursor}&prefix=pages/&limit=1${order}&keysOnly=false`);
          await api.refused([[`GET /kv?cursor=${cursor.slice(1)}`, 'INVALID_CURSOR']]);
          await api.ok('DELETE /kv/pages/25');
        }
        const first = await api.ok('GET /kv?prefix=pages/&limit=1&timeout=5000&consistency=local');
        const {revision} = await api.ok('PUT /kv/pages/4', {body: ''});
        await api.ok('POST /compact?timeout=5000', {body: {revision}});
        const gone = `GET /kv?cursor=${String(first['cursor'])}`;
        assert.equal(await api.code(gone), 'REVISION_COMPACTED');
      },
    ),
  ],
};

interface Branches {
  readonly compare?: readonly object[];
  readonly success?: readonly object[];
  readonly failure?: readonly object[];
}

function transact(api: CheckedApi, body: Branches): Promise<Json> {
  return api.ok('POST /txn?timeout=5000', {body: {...body}});
}

/** What happens when `compare` is decided. */
async function decides(api: CheckedApi, compare: object): Promise<boolean> {
  return (await transact(api, {compare: [compare]}))['succeeded'] === true;
}

export const transactions: Section = {
  title: 'Transactions',
  cases: [
    holds(
      ['POST /txn decides its compares', 'All of it happens or nothing', 'curl -d \'{"compare"'],
      async ({api}) => {
        const take = {
          compare: [{key: 'lock', target: 'version', op: '=', value: 0}],
          success: [{put: {key: 'lock', value: 'me'}}, {delete: {key: 'free'}}],
          failure: [{get: {key: 'lock'}}],
        };
        await api.ok('PUT /kv/free', {body: ''});
        const taken = await transact(api, take);
        const {revision} = taken;
        assert.deepEqual(taken, {
          succeeded: true,
          revision,
          results: [
            {key: 'lock', revision, version: 1},
            {deleted: 1, revision},
          ],
        });
        const refused = await transact(api, take);
        assert.deepEqual([refused['succeeded'], refused['revision']], [false, revision]);
        assert.match(JSON.stringify(refused['results']), /"value":"me"/);
        const empty = await transact(api, {});
        assert.deepEqual(empty, {succeeded: true, revision, results: []});
        const half = {
          success: [{put: {key: 'half', value: ''}}, {put: {key: 'x', value: '', lease: '404'}}],
        };
        assert.equal(await api.code('POST /txn', {body: half}), 'LEASE_NOT_FOUND');
        assert.equal(await api.code('GET /kv/half'), 'KEY_NOT_FOUND');
      },
    ),
    holds('Each of the three lists may be absent and has at most 128 items.', async ({api}) => {
      const compare = {key: 'none', target: 'version', op: '=', value: 0};
      const get = {get: {key: 'none'}};
      for (const [list, item] of [
        ['compare', compare],
        ['success', get],
        ['failure', get],
      ] as const) {
        await transact(api, {[list]: new Array<object>(128).fill(item)});
        const more = {[list]: new Array<object>(129).fill(item)};
        assert.equal(await api.code('POST /txn', {body: more}), 'INVALID_REQUEST', list);
      }
    }),
    holds(
      ['A compare: key (keyEncoding)', 'For the target value it is text', 'On an absent key'],
      async ({api}) => {
        await api.ok('POST /lease', {body: {ttl: 1000, id: '42'}});
        const {revision} = await api.ok('PUT /kv/compared?lease=42', {body: 'mm'});
        const at = Number(revision);
        for (const [target, low, same, high] of [
          ['value', 'ml', 'mm', 'mmm'],
          ['version', 0, 1, 2],
          ['createRevision', at - 1, at, at + 1],
          ['modRevision', at - 1, at, at + 1],
        ] as const) {
          for (const [op, value, holdsTrue] of [
            ['=', same, true],
            ['=', low, false],
            ['!=', same, false],
            ['!=', high, true],
            ['<', high, true],
            ['<', same, false],
            ['>', low, true],
            ['>', same, false],
          ] as const) {
            const compare = {key: 'compared', target, op, value};
            assert.equal(await decides(api, compare), holdsTrue, JSON.stringify(compare));
          }
        }
        const encoded = {key: 'Y29tcGFyZWQ=', keyEncoding: 'base64', target: 'value', op: '='};
        assert.ok(await decides(api, {...encoded, value: 'bW0=', encoding: 'base64'}));
        const lease = {key: 'compared', target: 'lease', op: '='};
        assert.ok(await decides(api, {...lease, value: '42'}));
        assert.ok(!(await decides(api, {...lease, value: '0'})));
        const absent = {key: 'absent'};
        for (const target of ['version', 'createRevision', 'modRevision']) {
          assert.ok(await decides(api, {...absent, target, op: '=', value: 0}), target);
        }
        for (const value of ['0', 0]) {
          assert.ok(await decides(api, {...absent, target: 'lease', op: '=', value}));
        }
        for (const op of ['=', '!=', '<', '>']) {
          assert.ok(!(await decides(api, {...absent, target: 'value', op, value: ''})), op);
        }
        for (const wrong of [
          {...absent, target: 'size', op: '=', value: 0},
          {...absent, target: 'version', op: '>=', value: 0},
          {...absent, target: 'version', op: '=', value: '0'},
          {...absent, target: 'lease', op: '=', value: 42},
        ]) {
          const body = {compare: [wrong]};
          assert.equal(await api.code('POST /txn', {body}), 'INVALID_REQUEST');
        }
      },
    ),
    holds(
      ['An operation: one of put', 'results has one item an operation', 'Gets see what'],
      async ({api}) => {
        const put = {key: '/w==', keyEncoding: 'base64', value: '/g==', encoding: 'base64'};
        const key = {key: '/w==', keyEncoding: 'base64'};
        const answer = await transact(api, {
          success: [
            {get: key},
            {put: {...put, ttl: 1000}},
            {get: key},
            {delete: {key: 'compared', keyEncoding: 'utf8'}},
            {get: {key: 'compared'}},
            {put: {key: 'leased', value: '', lease: '42'}},
          ],
        });
        const {revision} = answer;
        const [before, written, read, deleted, after, leased] = asList(answer['results']);
        assert.deepEqual([before, after], [null, null]);
        assert.deepEqual(written, {...key, revision, version: 1});
        const {lease, ...record} = asObject(read);
        assert.match(String(lease), /^[1-9][0-9]*$/);
        const revisions = {createRevision: revision, modRevision: revision};
        assert.deepEqual(record, {...put, ...revisions, version: 1});
        assert.deepEqual(deleted, {deleted: 1, revision});
        assert.deepEqual(leased, {key: 'leased', revision, version: 1});
        for (const operation of [{}, {put: {}, get: {}}, {range: {}}, {get: {key: 'a', ttl: 1}}]) {
          const body = {success: [operation]};
          assert.equal(await api.code('POST /txn', {body}), 'INVALID_REQUEST');
        }
        await api.ok('DELETE /kv/%FF');
        await api.ok('DELETE /lease/42');
      },
    ),
    holds('Two writes of one key in a list are refused', async ({api}) => {
      const twice = [{put: {key: 'twice', value: ''}}, {delete: {key: 'twice'}}];
      await api.refused([
        ['POST /txn', 'DUPLICATE_KEY', {body: {success: twice}}],
        ['POST /txn', 'DUPLICATE_KEY', {body: {failure: twice}}],
      ]);
      const [put = {}, remove = {}] = twice;
      await transact(api, {success: [put], failure: [remove]});
      await api.ok('PUT /kv/large', {body: Buffer.alloc(1_500_000, 'x')});
      const gets = (count: number): object => ({
        success: Array.from({length: count}, () => ({get: {key: 'large'}})),
      });
      await transact(api, gets(5));
      assert.equal(await api.code('POST /txn', {body: {...gets(6)}}), 'TOO_MANY_KEYS');
      await api.ok('DELETE /kv/large');
    }),
  ],
};
