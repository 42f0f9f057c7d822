/** "Browsers", "Limits" and "Errors" of docs/http-api.md. The last case ends the cluster. */
import assert from 'node:assert/strict';
import {eventually} from '../eventually.ts';
import {allowedOrigin, holds, type Section} from './contract-case.ts';

const close = 'Host: a\r\nConnection: close\r\n';

export const browsers: Section = {
  title: 'Browsers',
  cases: [
    holds('A write that carries a foreign Origin', async ({api, solo}) => {
      const foreign = {Origin: 'http://evil.example'};
      const site = {'Sec-Fetch-Site': 'cross-site'};
      for (const headers of [foreign, site, {Origin: 'null'}]) {
        await api.refused([
          ['PUT /kv/page', 'CROSS_ORIGIN', {body: '', headers}],
          ['PUT /kv', 'CROSS_ORIGIN', {body: {key: 'page', value: ''}, headers}],
          ['DELETE /kv?prefix=', 'CROSS_ORIGIN', {headers}],
          ['POST /txn', 'CROSS_ORIGIN', {body: {}, headers}],
          ['POST /lease', 'CROSS_ORIGIN', {body: {ttl: 1}, headers}],
          ['POST /cluster/leader', 'CROSS_ORIGIN', {body: {id: 'node1'}, headers}],
          ['GET /kv/page', 'KEY_NOT_FOUND', {headers}],
        ]);
      }
      await solo.refused([['PUT /kv/page', 'CROSS_ORIGIN', {body: '', headers: foreign}]]);
      await solo.ok('PUT /kv/page', {body: '', headers: {Origin: allowedOrigin, ...site}});
    }),
    holds("A page's own origin counts as ours when it equals the Host", async ({api}) => {
      const put = (origin: string, host: string): Promise<string> =>
        api.code('PUT /kv/own', {body: '', headers: {Origin: origin, Host: host}});
      assert.equal(await put('http://127.0.0.1:1', '127.0.0.1:1'), '200');
      assert.equal(await put('https://[::1]:1', '[::1]:1'), '200');
      assert.equal(await put('http://localhost:1', 'localhost:1'), '200');
      assert.equal(await put('http://localhost:1', 'localhost:2'), 'CROSS_ORIGIN');
      assert.equal(await put('http://evil.example', 'evil.example'), 'CROSS_ORIGIN');
    }),
    holds('Requests without these headers come from programs', async ({api}) => {
      await api.ok('PUT /kv/program', {body: '', headers: {Host: 'anything.example'}});
    }),
    holds('Allowed origins get CORS headers', async ({solo}) => {
      const read = await solo.ask('GET /kv/page', {headers: {Origin: allowedOrigin}});
      assert.equal(read.headers['access-control-allow-origin'], allowedOrigin);
      assert.match(String(read.headers['access-control-expose-headers']), /Rosetta-Revision/);
      assert.equal(read.headers['vary'], 'Accept, Origin');
      const asks = {Origin: allowedOrigin, 'Access-Control-Request-Method': 'PUT'};
      const preflight = await solo.ask('OPTIONS /kv/page', {headers: asks});
      assert.equal(preflight.status, 204);
      assert.match(String(preflight.headers['access-control-allow-methods']), /\bPUT\b/);
      const other = await solo.ask('OPTIONS /kv/page', {
        headers: {...asks, Origin: 'https://evil.example'},
      });
      assert.equal(other.headers['access-control-allow-methods'], undefined);
    }),
  ],
};

export const bounds: Section = {
  title: 'Limits',
  cases: [
    holds('Request line and headers 8 KiB and 64 headers (431)', async ({api}) => {
      const get = `GET /livez HTTP/1.1\r\n${close}`;
      assert.equal(await api.rawCodes(`${get}X: ${'x'.repeat(9000)}\r\n\r\n`), 'HEADERS_TOO_LARGE');
      assert.equal(await api.rawCodes(`${get}${'A: b\r\n'.repeat(62)}\r\n`), '200');
      assert.equal(await api.rawCodes(`${get}${'A: b\r\n'.repeat(63)}\r\n`), 'HEADERS_TOO_LARGE');
    }),
    holds('Pipelined requests are worked on one after the other.', async ({api}) => {
      const put = (value: string): string =>
        `PUT /kv/pipe HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n${value}`;
      const get = 'GET /kv/pipe HTTP/1.1\r\nHost: a\r\n\r\n';
      const last = `GET /nothing HTTP/1.1\r\n${close}\r\n`;
      const received = await api.raw(put('1') + get + put('2') + get + last);
      assert.match(
        received,
        /"version":1\}[^]*"value":"1"[^]*"version":2\}[^]*"value":"2"[^]*404 /,
      );
    }),
    holds('A body above its maximum is refused by its Content-Length', async ({api}) => {
      for (const [target, code] of [
        ['/kv/huge', 'VALUE_TOO_LARGE'],
        ['/kv', 'BODY_TOO_LARGE'],
      ] as const) {
        const head = `PUT ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n`;
        assert.equal(await api.rawCodes(`${head}Expect: 100-continue\r\n\r\n`), code);
      }
      const best = `PUT /kv/a HTTP/1.1\r\n${close}Expect: the-best\r\nContent-Length: 0\r\n\r\n`;
      assert.equal(await api.rawCodes(best), 'EXPECTATION_FAILED');
      const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
      const chunked = `PUT /kv/huge HTTP/1.1\r\n${close}Transfer-Encoding: chunked\r\n\r\n`;
      const grown = `${chunked}${chunk.repeat(25)}0\r\n\r\n`;
      assert.equal(await api.rawCodes(grown), 'VALUE_TOO_LARGE');
      // Two lengths: no request at all.
      const both = {body: 'v', headers: {'Transfer-Encoding': 'chunked'}};
      assert.equal(await api.code('PUT /kv/huge', both), 'INVALID_REQUEST');
    }),
  ],
};

export const errors: Section = {
  title: 'Errors',
  cases: [
    // Of every other refusal too: CheckedApi looks at each.
    holds(
      [
        'application/problem+json: {"title","status","code","detail","outcome"}',
        'Reads are always',
      ],
      async ({api}) => {
        const answer = await api.ask('GET /kv/no-such-key');
        assert.equal(answer.headers['content-type'], 'application/problem+json');
        const {detail, ...rest} = answer.json ?? {};
        assert.match(String(detail), /./);
        assert.deepEqual(rest, {
          title: 'There is no such key',
          status: 404,
          code: 'KEY_NOT_FOUND',
          outcome: 'definite',
        });
      },
    ),
    holds(
      [
        'outcome is "definite" when the request changed nothing',
        '429, 503 and 507 carry Retry-After.',
        'NO_LEADER: there was no leader in time',
        'OUTCOME_UNKNOWN: the write was handed over',
      ],
      async ({api, nodes}) => {
        const {id, http} = await api.ok('GET /leader');
        const at = api.endpoints.indexOf(String(http));
        await api.ok('PUT /kv/last', {body: 'known', at});
        const others = nodes.filter(node => node.id !== id);
        await Promise.all(others.map(node => node.stop()));
        // The leader does not know yet that it is alone: it takes the write and waits.
        const write = {body: 'unknown', at};
        assert.equal(await api.code('PUT /kv/last?timeout=100', write), 'OUTCOME_UNKNOWN');
        assert.equal(await api.code('GET /kv/last?timeout=100', {at}), 'NO_LEADER');
        await eventually('the leader gives up', 20_000, async () => {
          return (await api.code('GET /leader', {at})) === 'NO_LEADER' ? true : null;
        });
        for (const [request, options] of [
          ['PUT /kv/last?timeout=100', {body: 'never'}],
          ['DELETE /kv?prefix=&timeout=100', {}],
          ['POST /txn?timeout=100', {body: {}}],
          ['POST /lease?timeout=100', {body: {ttl: 1}}],
          ['GET /kv/last?timeout=100', {}],
          ['GET /kv?timeout=100', {}],
          ['GET /readyz', {}],
        ] as const) {
          assert.equal(await api.code(request, {...options, at}), 'NO_LEADER', request);
        }
        const local = await api.ok('GET /kv/last?consistency=local', {at});
        assert.equal(local['value'], 'known', 'a local read does without a leader');
        assert.equal((await api.ok('GET /status', {at}))['leader'], null);
        await api.ok('GET /cluster/members', {at});
      },
    ),
  ],
};
