/** Over HTTP, many keys: pages, cursors, counts, and range deletes. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  startHttp,
  testClock,
  type Answer,
  type HttpFixture,
} from '../../../test/contract/http-fixture.ts';
import {limits} from '../../base/limits.ts';

interface Page {
  readonly records: readonly {readonly key: string; readonly value?: string}[];
  readonly count: number;
  readonly more: boolean;
  readonly cursor?: string;
  readonly revision: number;
}

function page(answer: Answer): Page {
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text) as Page;
}

function keys(answer: Answer): string {
  return page(answer)
    .records.map(({key}) => key)
    .join(' ');
}

async function fill(http: HttpFixture, names: string): Promise<void> {
  for (const name of names.split(' ')) await http.put(name, `value of ${name}`);
}

/** Keys k00000, k00001, … without going through the door. */
function applyMany(http: HttpFixture, count: number): void {
  for (let i = 0; i < count; i++) {
    http.service.store.apply({
      idempotency: null,
      body: {
        type: 'transaction',
        compare: [],
        success: [
          {
            type: 'put',
            key: Buffer.from(`k${String(i).padStart(5, '0')}`),
            value: Buffer.from('v'),
            leaseId: 0,
            ttlMs: 0,
            ignoreValue: false,
            ignoreLease: false,
            wantsPrevious: false,
          },
        ],
        failure: [],
      },
    });
  }
}

test('a range is named by prefix, by start and end, or by nothing', async t => {
  const http = await startHttp(t);
  await fill(http, 'b/1 a/2 a/1 a c');
  const get = (query: string): Promise<Answer> => http.request('GET', `/kv${query}`);
  assert.equal(keys(await get('')), 'a a/1 a/2 b/1 c');
  assert.equal(keys(await get('?prefix=')), 'a a/1 a/2 b/1 c');
  assert.equal(keys(await get('?prefix=a%2F')), 'a/1 a/2');
  assert.equal(keys(await get('?start=a/2&end=c')), 'a/2 b/1');
  assert.equal(keys(await get('?start=b')), 'b/1 c');
  assert.equal(keys(await get('?end=a/2')), 'a a/1');
  assert.equal(keys(await get('?start=c&end=a')), '');
  assert.equal(keys(await get('?reverse')), 'c b/1 a/2 a/1 a');
  assert.equal(keys(await get('?prefix=%FF')), '');
});

test('an answer has records, count, more and the revision', async t => {
  const http = await startHttp(t);
  await fill(http, 'a b');
  const answer = await http.request('GET', '/kv');
  assert.equal(
    answer.text,
    '{"records":[{"key":"a","value":"value of a","createRevision":2,"modRevision":2,"version":1},' +
      '{"key":"b","value":"value of b","createRevision":3,"modRevision":3,"version":1}],' +
      '"count":2,"more":false,"revision":3}',
  );
  assert.equal(answer.headers['rosetta-revision'], '3');
  const keysOnly = page(await http.request('GET', '/kv?keysOnly=true'));
  assert.deepEqual(Object.keys(keysOnly.records[0] ?? {}), [
    'key',
    'createRevision',
    'modRevision',
    'version',
  ]);
  const empty = await http.request('GET', '/kv?prefix=x');
  assert.equal(empty.text, '{"records":[],"count":0,"more":false,"revision":3}');
});

test('more is true exactly when another record follows', async t => {
  const http = await startHttp(t);
  await fill(http, 'a b c');
  assert.equal(page(await http.request('GET', '/kv?limit=3')).more, false);
  assert.equal(page(await http.request('GET', '/kv?limit=3')).cursor, undefined);
  assert.equal(page(await http.request('GET', '/kv?limit=2')).more, true);
  assert.equal(page(await http.request('GET', '/kv?limit=2&reverse=true&end=c')).more, false);
});

test('pages by cursor are one moment of the store, forwards and backwards', async t => {
  const http = await startHttp(t);
  await fill(http, 'a b c d e');
  for (const [query, expected] of [
    ['prefix=&limit=2', 'a b|c d|e'],
    ['prefix=&limit=2&reverse=true', 'e d|c b|a'],
  ] as const) {
    const pages: string[] = [];
    let answer = await http.request('GET', `/kv?${query}`);
    const {revision} = page(answer);
    for (;;) {
      pages.push(keys(answer));
      assert.equal(page(answer).revision, revision);
      const {cursor} = page(answer);
      if (cursor === undefined) break;
      // Neither of these was there when the first page was read.
      await http.put('bb', 'new');
      await http.put('a', 'changed');
      answer = await http.request('GET', `/kv?cursor=${cursor}`);
    }
    assert.equal(pages.join('|'), expected);
    await http.request('DELETE', '/kv/bb');
  }
});

test('parameters beside a cursor must agree with it', async t => {
  const http = await startHttp(t);
  await fill(http, 'a/1 a/2 a/3');
  const {cursor = ''} = page(await http.request('GET', '/kv?prefix=a/&limit=1&keysOnly'));
  const get = (query: string): Promise<Answer> =>
    http.request('GET', `/kv?cursor=${cursor}&${query}`);
  assert.equal(keys(await get('prefix=a/&limit=1&keysOnly=true&reverse=false')), 'a/2');
  assert.equal(keys(await get('start=a/&end=a0&revision=4')), 'a/2');
  const others = ['prefix=a', 'limit=2', 'reverse=true', 'keysOnly=false', 'revision=3'];
  for (const query of [...others, 'countOnly=true', 'start=a/2']) {
    assert.equal((await get(query)).json?.['code'], 'INVALID_CURSOR', query);
  }
  const damaged = await http.request('GET', `/kv?cursor=${cursor.slice(1)}`);
  assert.equal(damaged.status, 400);
  assert.equal(damaged.json?.['code'], 'INVALID_CURSOR');
});

test('a cursor whose revision is compacted answers 410', async t => {
  const http = await startHttp(t);
  await fill(http, 'a b c');
  const {cursor = ''} = page(await http.request('GET', '/kv?limit=1'));
  await http.put('d', 'x');
  await http.request('POST', '/compact', {body: '{"revision":5}'});
  const answer = await http.request('GET', `/kv?cursor=${cursor}`);
  assert.equal(answer.status, 410);
  assert.equal(answer.json?.['code'], 'REVISION_COMPACTED');
});

test('a page that needs many slices is complete, and counts are totals', async t => {
  const http = await startHttp(t);
  const count = 1500;
  applyMany(http, count);
  const first = page(await http.request('GET', '/kv'));
  assert.equal(first.count, limits.rangeLimitDefault);
  assert.equal(first.more, true);
  assert.equal(first.records[999]?.key, 'k00999');
  const rest = page(await http.request('GET', `/kv?cursor=${first.cursor ?? ''}`));
  assert.equal(rest.count, count - limits.rangeLimitDefault);
  assert.equal(rest.more, false);
  const counted = page(await http.request('GET', '/kv?countOnly=true&limit=1'));
  assert.deepEqual(counted, {records: [], count, more: false, revision: count + 1});
  assert.equal(page(await http.request('GET', '/kv?countOnly&revision=11')).count, 10);
  assert.equal(page(await http.request('GET', '/kv?countOnly&prefix=k')).count, count);
  assert.equal(page(await http.request('GET', '/kv?countOnly&start=k00500')).count, 1000);
});

test('a page ends at 8 MiB, and the next one goes on with the record that did not fit', async t => {
  const http = await startHttp(t);
  const value = Buffer.alloc(limits.valueSizeBytesMax, 'x');
  for (let i = 0; i < 6; i++) await http.request('PUT', `/kv/${i}`, {body: value});
  for (const [query, expected] of [
    ['', '0 1 2 3 4|5'],
    ['?reverse=1', '5 4 3 2 1|0'],
  ] as const) {
    const answer = await http.request('GET', `/kv${query}`);
    assert.ok(answer.bytes.length <= limits.rangeSizeBytesMax, `${answer.bytes.length} bytes`);
    const {cursor = '', more} = page(answer);
    assert.equal(more, true);
    const next = await http.request('GET', `/kv?cursor=${cursor}`);
    assert.equal(`${keys(answer)}|${keys(next)}`, expected);
    assert.equal(page(next).more, false);
  }
  assert.equal(http.api.bufferSizeBytes(), 0);
});

test('bad range parameters are refused by name', async t => {
  const http = await startHttp(t);
  const queries = ['limit=0', 'limit=10001', 'limit=x', 'reverse=yes', 'prefix=a&start=a'];
  for (const query of [...queries, 'end=', 'prefix=a&prefix=b', 'key=a', 'revision=0']) {
    const answer = await http.request('GET', `/kv?${query}`);
    assert.equal(answer.json?.['code'], 'INVALID_PARAMETER', query);
  }
  const long = await http.request('GET', `/kv?prefix=${'k'.repeat(1025)}`);
  assert.equal(long.json?.['code'], 'KEY_TOO_LONG');
  const future = await http.request('GET', '/kv?revision=9&start=b&end=a');
  assert.equal(future.json?.['code'], 'REVISION_IN_FUTURE');
});

test('a range delete takes one revision and wants its range said', async t => {
  const http = await startHttp(t);
  await fill(http, 'a/1 a/2 b c');
  const remove = (query: string): Promise<Answer> => http.request('DELETE', `/kv${query}`);
  assert.equal((await remove('')).json?.['code'], 'RANGE_REQUIRED');
  assert.equal((await remove('?timeout=100')).json?.['code'], 'RANGE_REQUIRED');
  assert.equal((await remove('?end=')).json?.['code'], 'INVALID_PARAMETER');
  assert.equal((await remove('?prefix=a/')).text, '{"deleted":2,"revision":6}');
  assert.equal((await remove('?prefix=a/')).text, '{"deleted":0,"revision":6}');
  assert.equal((await remove('?start=b&end=c')).text, '{"deleted":1,"revision":7}');
  assert.equal((await remove('?prefix=')).text, '{"deleted":1,"revision":8}');
  const conditional = await http.request('DELETE', '/kv?prefix=', {headers: {'If-Match': '*'}});
  assert.equal(conditional.json?.['code'], 'INVALID_PARAMETER');
});

test('a range that cannot be read in time says so', async t => {
  let nowMs = 0;
  // Every look at the clock takes long.
  const http = await startHttp(t, {clock: {...testClock, monotonicMs: () => (nowMs += 10)}});
  applyMany(http, 1500);
  const answer = await http.request('GET', '/kv?timeout=1');
  assert.equal(answer.status, 504);
  assert.equal(answer.json?.['code'], 'READ_TIMEOUT');
  assert.equal(answer.json['outcome'], 'definite');
  assert.equal(http.api.bufferSizeBytes(), 0);
  assert.equal((await http.request('GET', '/kv?timeout=60000')).status, 200);
});
