/** Conditions, idempotency keys and sessions: the rest of "Conventions" in docs/http-api.md. */
import assert from 'node:assert/strict';
import type {CheckedApi} from './checked-api.ts';
import {holds, type Section} from './contract-case.ts';

const raw = {Accept: 'application/octet-stream'};

async function moveLeader(api: CheckedApi): Promise<void> {
  const {id} = await api.ok('GET /leader');
  const next = id === 'node1' ? 'node2' : 'node1';
  assert.equal((await api.ok('POST /cluster/leader', {body: {id: next}}))['id'], next);
}

export const conditions: Section = {
  title: 'Conventions',
  cases: [
    holds('Conditions on a PUT or DELETE of one key', async ({api}) => {
      const {revision} = await api.ok('PUT /kv/cond', {body: '1', headers: {'If-None-Match': '*'}});
      const absent = {'If-None-Match': '*'};
      const there = {'If-Match': '*'};
      const same = {'If-Match': `"${String(revision)}"`};
      const json = {key: 'cond', value: '2'};
      await api.refused([
        ['PUT /kv/cond', 'PRECONDITION_FAILED', {body: 'x', headers: absent}],
        ['PUT /kv', 'PRECONDITION_FAILED', {body: json, headers: absent}],
        ['PUT /kv', 'PRECONDITION_FAILED', {body: json, headers: {'If-Match': '"1"'}}],
        ['PUT /kv/absent', 'PRECONDITION_FAILED', {body: 'x', headers: there}],
        ['DELETE /kv/cond', 'PRECONDITION_FAILED', {headers: {'If-Match': '"1"'}}],
        ['DELETE /kv/cond', 'PRECONDITION_FAILED', {headers: absent}],
        ['DELETE /kv/absent', 'PRECONDITION_FAILED', {headers: there}],
      ]);
      assert.equal((await api.ok('PUT /kv', {body: json, headers: same}))['version'], 2);
      await api.refused([['PUT /kv', 'PRECONDITION_FAILED', {body: json, headers: same}]]);
      await api.ok('PUT /kv', {body: json, headers: there});
      assert.equal((await api.ok('DELETE /kv/absent', {headers: absent}))['deleted'], 0);
      assert.equal((await api.ok('DELETE /kv/cond', {headers: there}))['deleted'], 1);
      assert.equal((await api.ok('PUT /kv', {body: json, headers: absent}))['version'], 1);
      const list = {headers: there, body: {}};
      await api.refused([
        ['DELETE /kv?prefix=none', 'INVALID_PARAMETER', {headers: there}],
        ['POST /txn', 'INVALID_PARAMETER', list],
      ]);
    }),
    holds('One tag, no list', async ({api}) => {
      await api.ok('PUT /kv/tag', {body: '1'});
      const put = (tag: string): Promise<string> =>
        api.code('PUT /kv/tag', {body: '2', headers: {'If-Match': tag}});
      for (const tag of ['"7", "8"', '7', 'W/"7"', '']) {
        assert.equal(await put(tag), 'INVALID_PARAMETER', tag);
      }
      for (const tag of ['"abc"', '"0"', '""', '"07"']) {
        assert.equal(await put(tag), 'PRECONDITION_FAILED', tag);
      }
      const headers = {'If-None-Match': '"7"'};
      assert.equal(await api.code('PUT /kv/tag', {body: '', headers}), 'INVALID_PARAMETER');
    }),
    holds(
      ['On a GET, If-None-Match takes a list', '"7-raw", the tag of the raw bytes'],
      async ({api}) => {
        const revision = String((await api.ok('PUT /kv/raw', {body: 'v'}))['revision']);
        const [tag, rawTag] = [`"${revision}"`, `"${revision}-raw"`];
        const json = await api.ask('GET /kv/raw');
        assert.deepEqual([json.headers['etag'], json.json?.['value']], [tag, 'v']);
        const bytes = await api.ask('GET /kv/raw', {headers: raw});
        assert.deepEqual([bytes.headers['etag'], bytes.text], [rawTag, 'v']);
        assert.equal(bytes.headers['content-type'], 'application/octet-stream');
        const code = (name: string, value: string, more = {}): Promise<string> =>
          api.code('GET /kv/raw', {headers: {[name]: value, ...more}});
        for (const known of [tag, rawTag, `"1", ${tag}`, `W/${tag}`, '*']) {
          assert.equal(await code('If-None-Match', known), '304', known);
          assert.equal(await code('If-None-Match', known, raw), '304', known);
        }
        assert.equal(await code('If-None-Match', '"1", "2"'), '200');
        for (const known of [tag, rawTag, '*']) assert.equal(await code('If-Match', known), '200');
        assert.equal(await code('If-Match', '"1"'), 'PRECONDITION_FAILED');
        assert.equal(await code('If-Match', `"1", ${tag}`), 'INVALID_PARAMETER');
        assert.equal(await code('Accept', 'text/html, application/json;q=0.1, */*;q=0.01'), '200');
        const headers = {'If-Match': rawTag};
        assert.equal((await api.ok('PUT /kv/raw', {body: 'w', headers}))['version'], 2);
        await api.refused([['DELETE /kv/raw', 'PRECONDITION_FAILED', {headers}]]);
      },
    ),
    holds('Changes of the cluster (POST and DELETE under /cluster) ignore', async ({api}) => {
      const headers = {'Idempotency-Key': 'of a change'};
      const {id: before} = await api.ok('GET /leader');
      const next = before === 'node1' ? 'node2' : 'node1';
      for (const id of [next, before === 'node3' ? 'node2' : 'node3', next]) {
        const answer = await api.ok('POST /cluster/leader', {body: {id}, headers});
        assert.equal(answer['id'], id);
      }
      await api.refused([['DELETE /cluster/members/nobody', 'MEMBER_NOT_FOUND', {headers}]]);
    }),
    holds('Idempotency-Key (1 to 128 characters', async ({api}) => {
      const refusedPut = {body: 'v', headers: {'If-Match': '*', 'Idempotency-Key': 'refused'}};
      const put = {body: 'v', headers: {'Idempotency-Key': ' ~'.repeat(64).trim()}};
      const txn = {body: {success: [{put: {key: 'once', value: ''}}]}};
      const first = await api.ask('PUT /kv/once/1', put);
      const second = await api.ask('PUT /kv/once/2', refusedPut);
      assert.deepEqual([first.status, second.status], [200, 412]);
      await api.ok('PUT /kv/once/2', {body: 'there'});
      await moveLeader(api);
      assert.deepEqual((await api.ask('PUT /kv/once/1', put)).text, first.text);
      const again = await api.ask('PUT /kv/once/2', refusedPut);
      assert.deepEqual([again.status, again.text], [412, second.text]);
      assert.equal(again.headers['rosetta-revision'], second.headers['rosetta-revision']);
      assert.equal((await api.ok('GET /kv/once/1'))['version'], 1);
      const keyed = (key: string): {headers: Record<string, string>} => ({
        headers: {'Idempotency-Key': key},
      });
      for (const [request, options] of [
        ['PUT /kv', {body: {key: 'once', value: ''}}],
        ['POST /txn', txn],
        ['POST /lease', {body: {ttl: 1000}}],
        ['POST /compact', {body: {revision: 1}}],
        ['DELETE /kv/once/1', {}],
        ['DELETE /kv?prefix=once', {}],
      ] as const) {
        const same = {...options, ...keyed(`of ${request}`)};
        const answer = await api.ask(request, same);
        assert.equal(answer.status, 200, request);
        assert.equal((await api.ask(request, same)).text, answer.text, request);
        const other = {...options, ...keyed('refused')};
        assert.equal(await api.code(request, other), 'IDEMPOTENCY_KEY_REUSED', request);
      }
      for (const key of ['', 'x'.repeat(129), 'é', 'a\tb']) {
        assert.equal(
          await api.code('PUT /kv/once', {body: '', ...keyed(key)}),
          'INVALID_PARAMETER',
        );
      }
    }),
  ],
};

/** The answer to a write with this number of a session. */
function numbered(
  api: CheckedApi,
  session: string,
  number: number,
  acknowledged?: number,
): Promise<string> {
  const upTo = acknowledged === undefined ? {} : {'Idempotency-Acknowledged': `${acknowledged}`};
  const headers = {'Idempotency-Key': `${session}/${number}`, ...upTo};
  const key = `session/${session}/${number}`;
  return api.code('PUT /kv', {body: {key, value: ''}, headers});
}

async function open(api: CheckedApi): Promise<string> {
  const {id, ttl} = await api.ok('POST /session?timeout=5000');
  assert.equal(ttl, 3600);
  return String(id);
}

export const sessions: Section = {
  title: 'Conventions',
  cases: [
    holds(['Sessions make writes exactly-once', 'POST /session opens one'], async ({api}) => {
      const session = await open(api);
      const headers = {'Idempotency-Key': `${session}/1`};
      const first = await api.ask('PUT /kv/counted', {body: 'v', headers});
      await moveLeader(api);
      for (const at of [0, 1, 2]) {
        const again = await api.ask('PUT /kv/counted', {body: 'v', headers, at});
        assert.equal(again.text, first.text);
      }
      assert.equal((await api.ok('GET /kv/counted'))['version'], 1);
      const other = await api.code('PUT /kv/counted', {body: 'w', headers});
      assert.equal(other, 'IDEMPOTENCY_KEY_REUSED');
    }),
    holds(
      ['The answer of a number is kept until', 'A number at or below m is refused'],
      async ({api}) => {
        const session = await open(api);
        for (const number of [2, 1, 1024]) {
          assert.equal(await numbered(api, session, number), '200', `${number}`);
        }
        assert.equal(await numbered(api, session, 1025), 'OVERLOADED');
        assert.equal(await numbered(api, session, 1025, 2), '200');
        assert.equal(await numbered(api, session, 1024), '200');
        for (const number of [1, 2]) {
          assert.equal(await numbered(api, session, number), 'IDEMPOTENCY_KEY_REUSED');
        }
        // On every route that has the header.
        for (const [i, [request, options]] of (
          [
            ['PUT /kv/acknowledged', {body: ''}],
            ['DELETE /kv/acknowledged', {}],
            ['DELETE /kv?prefix=acknowledged', {}],
            ['POST /txn', {body: {}}],
            ['POST /lease', {body: {ttl: 1000, id: '41'}}],
            ['DELETE /lease/41', {}],
            ['POST /compact', {body: {revision: 1}}],
          ] as const
        ).entries()) {
          const key = `${session}/${3 + i}`;
          const headers = {'Idempotency-Key': key, 'Idempotency-Acknowledged': '2'};
          await api.ok(request, {...options, headers});
        }
        for (const acknowledged of [3, NaN, -1]) {
          assert.equal(await numbered(api, session, 3, acknowledged), 'INVALID_PARAMETER');
        }
      },
    ),
    holds('A key of this form without an open session', async ({api}) => {
      assert.equal(await numbered(api, '0123456789abcdef', 1), 'SESSION_EXPIRED');
      assert.equal(await api.code('GET /kv/session/0123456789abcdef/1'), 'KEY_NOT_FOUND');
      const session = await open(api);
      assert.equal(await numbered(api, session, 1), '200');
      assert.deepEqual(await api.ok(`DELETE /session/${session}?timeout=5000`), {});
      assert.equal(await numbered(api, session, 2), 'SESSION_EXPIRED');
      assert.deepEqual(await api.ok(`DELETE /session/${session}`), {}, 'also when it was unknown');
    }),
  ],
};
