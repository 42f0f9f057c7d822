/** "Leases" of docs/http-api.md. That none ends early, and when it does, is held elsewhere. */
import assert from 'node:assert/strict';
import {asList, asObject} from '../../contract/schema-check.ts';
import {holds, type Section} from './contract-case.ts';
import type {CheckedApi} from './checked-api.ts';
import {jsonLines, WatchStream} from './watch-stream.ts';

async function grant(api: CheckedApi, ttl = 1000): Promise<string> {
  return String((await api.ok('POST /lease?timeout=5000', {body: {ttl}}))['id']);
}

export const leases: Section = {
  title: 'Leases',
  cases: [
    holds('A key with a lease is deleted when the lease ends.', async ({api}) => {
      const stream = await WatchStream.open(api.endpoints[1] ?? '', '?prefix=ends/', jsonLines);
      const {id} = await api.ok('POST /lease', {body: {ttl: 2}});
      await api.ok(`PUT /kv/ends/1?lease=${String(id)}`, {body: ''});
      await api.ok(`PUT /kv/ends/2?lease=${String(id)}`, {body: ''});
      const text = await stream.until(/"key":"ends\/2","modRevision":\d+\}\n/);
      stream.close();
      const gone = [...text.matchAll(/"delete","revision":(\d+),"key":"([^"]*)"/g)];
      assert.deepEqual(
        gone.map(([, , key]) => key),
        ['ends/1', 'ends/2'],
      );
      assert.equal(gone[0]?.[1], gone[1]?.[1], 'in one revision');
      await api.refused([
        ['GET /kv/ends/1', 'KEY_NOT_FOUND'],
        [`GET /lease/${String(id)}`, 'LEASE_NOT_FOUND'],
      ]);
    }),
    holds('ttl is in seconds, fractions allowed, 0.1 to 10^9.', async ({api}) => {
      for (const ttl of [0.1, 1.5, 1e9]) {
        const made = await api.ok('POST /lease', {body: {ttl}});
        assert.equal(made['ttl'], ttl);
        if (ttl !== 0.1) await api.ok(`DELETE /lease/${String(made['id'])}`);
      }
      for (const ttl of [0.09, 1e9 + 1, 0, -1, '30', null]) {
        assert.equal(await api.code('POST /lease', {body: {ttl}}), 'INVALID_REQUEST');
        const put = {key: 'ttl', value: '', ttl};
        assert.equal(await api.code('PUT /kv', {body: put}), 'INVALID_REQUEST');
      }
      for (const ttl of ['0.09', '1000000001', '-1', 'x', '']) {
        assert.equal(await api.code(`PUT /kv/ttl?ttl=${ttl}`, {body: ''}), 'INVALID_PARAMETER');
      }
    }),
    holds(
      ['ttl in a put, as a field or a parameter', 'A record shows its lease as'],
      async ({api}) => {
        const puts = [
          ['PUT /kv', {body: {key: 'private', value: '', ttl: 1000}}],
          ['PUT /kv/private?ttl=1000', {body: ''}],
        ] as const;
        for (const [request, options] of puts) {
          await api.ok(request, options);
          const id = String((await api.ok('GET /kv/private'))['lease']);
          assert.match(id, /^[1-9][0-9]*$/);
          const listed = asList((await api.ok('GET /kv?prefix=private'))['records']);
          assert.equal(asObject(listed[0])['lease'], id);
          assert.deepEqual((await api.ok(`GET /lease/${id}`))['keys'], ['private']);
          await api.ok('DELETE /kv/private');
          assert.equal(await api.code(`GET /lease/${id}`), 'LEASE_NOT_FOUND');
        }
      },
    ),
    holds('lease attaches the key to a lease made before', async ({api}) => {
      const id = await grant(api);
      await api.ok('PUT /kv', {body: {key: 'attached', value: '', lease: id}});
      await api.ok(`PUT /kv/attached/2?lease=${id}&timeout=5000`, {body: ''});
      assert.deepEqual((await api.ok(`GET /lease/${id}`))['keys'], ['attached', 'attached/2']);
      await api.ok('PUT /kv/attached', {body: ''});
      assert.equal((await api.ok('GET /kv/attached'))['lease'], undefined);
      assert.deepEqual((await api.ok(`GET /lease/${id}`))['keys'], ['attached/2']);
      const both = {key: 'attached', value: '', ttl: 1, lease: id};
      await api.refused([
        ['PUT /kv', 'INVALID_REQUEST', {body: both}],
        ['POST /txn', 'INVALID_REQUEST', {body: {success: [{put: both}]}}],
        [`PUT /kv/attached?ttl=1&lease=${id}`, 'INVALID_PARAMETER', {body: ''}],
      ]);
      assert.equal((await api.ok(`DELETE /lease/${id}`))['deleted'], 1);
    }),
    holds('Its id is a decimal string', async ({api}) => {
      for (const id of ['1', '9007199254740990']) {
        assert.equal((await api.ok('POST /lease', {body: {ttl: 1000, id}}))['id'], id);
        assert.equal(await api.code('POST /lease', {body: {ttl: 1000, id}}), 'LEASE_EXISTS');
        const page = await api.ok(`GET /lease?limit=1&after=${Number(id) - 1}&timeout=5000`);
        assert.deepEqual(asList(page['leases']), [{id, ttl: 1000}]);
        await api.ok(`DELETE /lease/${id}?timeout=5000`);
      }
      for (const id of [
        '0',
        '-1',
        '07',
        '1.5',
        '9007199254740991',
        '9223372036854775807',
        7,
        null,
      ]) {
        assert.equal(await api.code('POST /lease', {body: {ttl: 1000, id}}), 'INVALID_REQUEST');
      }
      const ids = await Promise.all([1, 2, 3].map(() => grant(api)));
      await api.ok('GET /lease?consistency=local');
      const listed = asList((await api.ok('GET /lease'))['leases']);
      assert.ok(listed.length >= ids.length);
      const first = await api.ok('GET /lease?limit=1');
      assert.equal(first['more'], true);
      for (const id of ids) await api.ok(`DELETE /lease/${id}`);
    }),
    holds(
      ['POST /lease/{id}/keepalive gives it its full time anew', 'GET /lease/{id}: remaining is'],
      async ({api}) => {
        const id = await grant(api, 1000);
        for (const at of [0, 1, 2]) {
          const kept = await api.ok(`POST /lease/${id}/keepalive?timeout=5000`, {at});
          assert.deepEqual(kept, {id, ttl: 1000});
          const shown = await api.ok(`GET /lease/${id}?timeout=5000&consistency=local`, {at});
          assert.deepEqual(Object.keys(shown), ['id', 'ttl', 'remaining', 'keys']);
          const remaining = Number(shown['remaining']);
          assert.ok(remaining > 990 && remaining <= 1000, `${remaining}`);
        }
        await api.ok(`DELETE /lease/${id}`);
      },
    ),
    holds('Of its keys up to 10,000 are shown', async ({solo}) => {
      const id = await grant(solo);
      await solo.ok(`PUT /kv/%FF?lease=${id}`, {body: ''});
      const shown = await solo.ok(`GET /lease/${id}`);
      assert.deepEqual(shown['keys'], [{key: '/w==', keyEncoding: 'base64'}]);
      for (let from = 0; from < 10_000; from += 125) {
        const success = Array.from({length: 125}, (_, i) => ({
          put: {key: `shown/${from + i}`, value: '', lease: id},
        }));
        await solo.ok('POST /txn', {body: {success}});
      }
      const many = await solo.ok(`GET /lease/${id}`);
      assert.deepEqual([asList(many['keys']).length, many['more']], [10_000, true]);
      assert.equal((await solo.ok(`DELETE /lease/${id}`))['deleted'], 10_001);
    }),
    holds(
      ['DELETE /lease/{id} ends it at once.', 'A lease that is unknown or has ended is 404'],
      async ({api}) => {
        const id = await grant(api);
        await api.ok(`PUT /kv/ended/1?lease=${id}`, {body: ''});
        const {revision} = await api.ok(`PUT /kv/ended/2?lease=${id}`, {body: ''});
        const ended = await api.ok(`DELETE /lease/${id}`);
        assert.deepEqual(ended, {deleted: 2, revision: Number(revision) + 1});
        for (const none of [id, '404', '9223372036854775807', 'x']) {
          await api.refused([
            [`GET /lease/${none}`, 'LEASE_NOT_FOUND'],
            [`DELETE /lease/${none}`, 'LEASE_NOT_FOUND'],
            [`POST /lease/${none}/keepalive`, 'LEASE_NOT_FOUND'],
          ]);
        }
        const put = {key: 'ended', value: '', lease: id};
        await api.refused([
          ['PUT /kv', 'LEASE_NOT_FOUND', {body: put}],
          [`PUT /kv/ended?lease=${id}`, 'LEASE_NOT_FOUND', {body: ''}],
          ['POST /txn', 'LEASE_NOT_FOUND', {body: {success: [{put}]}}],
          ['PUT /kv/ended?lease=x', 'INVALID_PARAMETER', {body: ''}],
        ]);
      },
    ),
    holds('Idempotency keys apply to making and deleting leases', async ({api}) => {
      const make = {body: {ttl: 1000}, headers: {'Idempotency-Key': 'make a lease'}};
      const made = await api.ok('POST /lease', make);
      assert.deepEqual(await api.ok('POST /lease', make), made);
      const end = {headers: {'Idempotency-Key': 'end a lease'}};
      const ended = await api.ok(`DELETE /lease/${String(made['id'])}`, end);
      assert.deepEqual(await api.ok(`DELETE /lease/${String(made['id'])}`, end), ended);
    }),
    holds("curl -X PUT 'localhost:9080/kv/session?ttl=30' -d me", async ({api}) => {
      const form = {headers: {'Content-Type': 'application/x-www-form-urlencoded'}};
      await api.ok('PUT /kv/session?ttl=30', {body: 'me', ...form});
      const made = await api.ask('POST /lease', {body: '{"ttl":30}', ...form});
      assert.match(made.text, /^\{"id":"[1-9][0-9]*","ttl":30\}$/);
      await api.ok(`DELETE /lease/${String(made.json?.['id'])}`);
      await api.ok('DELETE /kv/session');
    }),
  ],
};
