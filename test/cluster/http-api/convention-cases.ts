/** What docs/http-api.md says of all routes, under its title and "Conventions". */
import assert from 'node:assert/strict';
import {allowedOrigin, holds, type Section} from './contract-case.ts';
import type {CheckedApi} from './checked-api.ts';

const close = 'Host: a\r\nConnection: close\r\n';

/** Of an answer about the store. */
export async function revisionOf(api: CheckedApi, request: string): Promise<number> {
  return Number((await api.ask(request)).headers['rosetta-revision']);
}

export const introduction: Section = {
  title: 'The HTTP API',
  cases: [
    holds('Any node answers any request', async ({api}) => {
      for (const writer of [0, 1, 2]) {
        await api.ok('PUT /kv/any', {body: `from ${writer}`, at: writer});
        for (const reader of [0, 1, 2]) {
          const record = await api.ok('GET /kv/any', {at: reader});
          assert.equal(record['value'], `from ${writer}`);
        }
      }
    }),
  ],
};

export const keysAndJson: Section = {
  title: 'Conventions',
  cases: [
    holds('Rosetta-Revision is the revision of the state that was read', async ({solo}) => {
      const before = await solo.ask('GET /kv');
      assert.equal(before.headers['rosetta-revision'], '1');
      assert.equal(before.json?.['revision'], 1);
      const put = await solo.ask('PUT /kv', {body: {key: 'hello', value: 'world'}});
      assert.equal(put.text, '{"key":"hello","revision":2,"version":1}');
      assert.equal(put.headers['rosetta-revision'], '2');
    }),
    holds('Keys are 1 to 1024 bytes.', async ({api}) => {
      const long = 'k'.repeat(1024);
      for (const key of ['k', long]) {
        await api.ok(`PUT /kv/${key}`, {body: 'v'});
        assert.equal((await api.ok(`GET /kv/${key}`))['key'], key);
      }
      await api.refused([
        ['GET /kv/', 'KEY_EMPTY'],
        ['PUT /kv/', 'KEY_EMPTY', {body: 'v'}],
        ['PUT /kv', 'KEY_EMPTY', {body: {key: '', value: 'v'}}],
        [`GET /kv/${long}k`, 'KEY_TOO_LONG'],
        ['PUT /kv', 'KEY_TOO_LONG', {body: {key: 'é'.repeat(513), value: 'v'}}],
      ]);
    }),
    holds('Everything after /kv/ is the key', async ({api}) => {
      for (const [path, bytes] of [
        ['../x', '../x'],
        ['a/./b//c', 'a/./b//c'],
        ['%252F', '%2F'],
        ['%2F%2f', '//'],
        ['%00', '\0'],
        ['%FF%fe', '\xff\xfe'],
        ['a;b=c&d', 'a;b=c&d'],
        ['%3Fx', '?x'],
      ] as const) {
        await api.ok(`PUT /kv/${path}`, {body: path});
        const key = Buffer.from(bytes, 'latin1');
        const keyed = {key: key.toString('base64'), keyEncoding: 'base64'};
        const read = await api.ok('POST /txn', {body: {success: [{get: keyed}]}});
        assert.match(
          JSON.stringify(read),
          new RegExp(`"value":"${path.replace(/[.?]/g, '\\$&')}"`),
        );
      }
    }),
    holds('A plus sign is itself in a path and a space in a query.', async ({api}) => {
      await api.ok('PUT /kv/p+q', {body: 'plus'});
      await api.ok('PUT /kv/p%20q', {body: 'space'});
      for (const [prefix, value] of [
        ['p%2Bq', 'plus'],
        ['p+q', 'space'],
      ] as const) {
        const found = await api.ok(`GET /kv?prefix=${prefix}`);
        assert.match(JSON.stringify(found['records']), new RegExp(`"value":"${value}"`));
        assert.equal(found['count'], 1);
      }
    }),
    holds('Raw non-ASCII characters and # must be encoded.', async ({api}) => {
      for (const path of ['caf\xe9', 'a#b', 'a\x01', 'a\x7f', '\xff']) {
        const code = await api.rawCodes(`DELETE /kv/${path} HTTP/1.1\r\n${close}\r\n`);
        assert.match(code, /^INVALID_(TARGET|REQUEST)$/, JSON.stringify(path));
      }
      const absolute = await api.rawCodes(`GET http://a/kv/a HTTP/1.1\r\n${close}\r\n`);
      assert.equal(absolute, 'INVALID_TARGET');
      await api.refused([
        ['GET /kv/%', 'BAD_PERCENT_ENCODING'],
        ['PUT /kv/a%4', 'BAD_PERCENT_ENCODING', {body: ''}],
        ['DELETE /kv/a%zz', 'BAD_PERCENT_ENCODING'],
        ['GET /kv?prefix=%g0', 'BAD_PERCENT_ENCODING'],
      ]);
    }),
    holds('Values are 0 to 1,572,864 bytes.', async ({api}) => {
      const most = Buffer.alloc(1_572_864, 0xfe);
      for (const body of [Buffer.alloc(0), most]) {
        await api.ok('PUT /kv/value', {body});
        const accept = {Accept: 'application/octet-stream'};
        const read = await api.ask('GET /kv/value', {headers: accept});
        assert.ok(read.bytes.equals(body));
      }
      const more = 'v'.repeat(1_572_865);
      await api.refused([
        ['PUT /kv/value', 'VALUE_TOO_LARGE', {body: more}],
        ['PUT /kv', 'VALUE_TOO_LARGE', {body: {key: 'value', value: more}}],
        ['POST /txn', 'VALUE_TOO_LARGE', {body: {success: [{put: {key: 'value', value: more}}]}}],
      ]);
    }),
    holds('A JSON body may have 10 MiB, a command 4 MiB.', async ({api}) => {
      const text = '{"key":"body","value":"v"}';
      await api.ok('PUT /kv', {body: text.padEnd(10 * 1024 * 1024)});
      const code = await api.code('PUT /kv', {body: text.padEnd(10 * 1024 * 1024 + 1)});
      assert.equal(code, 'BODY_TOO_LARGE');
      const value = 'v'.repeat(1_400_000);
      const puts = (count: number): object[] =>
        Array.from({length: count}, (_, i) => ({put: {key: `command/${i}`, value}}));
      await api.ok('POST /txn', {body: {success: puts(2)}});
      assert.equal(await api.code('POST /txn', {body: {success: puts(3)}}), 'COMMAND_TOO_LARGE');
    }),
    holds('JSON is UTF-8 and parsed whatever its Content-Type.', async ({api}) => {
      for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain']) {
        const headers = {'Content-Type': type};
        await api.ok('PUT /kv', {body: {key: 'grün', value: '世界'}, headers});
        assert.equal((await api.ok('GET /kv/gr%C3%BCn'))['value'], '世界');
      }
      await api.refused([
        ['PUT /kv', 'INVALID_JSON', {body: Buffer.from('{"key":"\xff","value":""}', 'latin1')}],
        ['PUT /kv', 'INVALID_JSON', {body: '{"key":'}],
        ['PUT /kv', 'INVALID_JSON', {body: ''}],
        ['POST /txn', 'INVALID_JSON', {body: 'key=a&value=b'}],
      ]);
    }),
    holds('Unknown, repeated or wrongly typed fields and lone surrogates', async ({api}) => {
      for (const [body, name] of [
        ['{"key":"a","value":"b","x":1}', 'x'],
        ['{"key":"a","value":"b","value":"c"}', 'value'],
        ['{"key":1,"value":"b"}', 'key'],
        ['{"key":"a","value":null}', 'value'],
        ['{"key":"a","value":"\\ud800"}', 'value'],
        ['{"key":"a"}', 'value'],
        ['{"key":"a","value":"b","ttl":"1"}', 'ttl'],
      ] as const) {
        const answer = await api.ask('PUT /kv', {body});
        assert.equal(answer.json?.['code'], 'INVALID_REQUEST', answer.text);
        assert.match(String(answer.json['detail']), new RegExp(`\\b${name}\\b`));
      }
      await api.refused([['PUT /kv', 'INVALID_REQUEST', {body: '[]'}]]);
    }),
    holds('Bytes that are not UTF-8 are sent as base64', async ({api}) => {
      const key = Buffer.from([0xfd, 0, 0x2f]).toString('base64');
      const value = Buffer.from([0xff, 0xfe]).toString('base64');
      const record = {key, keyEncoding: 'base64', value, encoding: 'base64'};
      const put = await api.ok('PUT /kv', {body: record});
      assert.deepEqual([put['key'], put['keyEncoding']], [key, 'base64']);
      const {createRevision, modRevision, version, ...read} = await api.ok('GET /kv/%FD%00%2F');
      assert.deepEqual(read, record);
      assert.deepEqual([createRevision, modRevision, version], [put['revision'], modRevision, 1]);
      const text = {key: 'text', keyEncoding: 'utf8', value: 'dGV4dA==', encoding: 'base64'};
      await api.ok('PUT /kv', {body: text});
      const shown = await api.ok('GET /kv/text');
      assert.deepEqual([shown['value'], shown['encoding']], ['text', undefined]);
      const wrong = {...text, value: 'no base64'};
      assert.equal(await api.code('PUT /kv', {body: wrong}), 'INVALID_REQUEST');
    }),
    holds('With revision=N it is N.', async ({api}) => {
      const first = await api.ok('PUT /kv/then', {body: '1'});
      await api.ok('PUT /kv/then', {body: '2'});
      for (const request of ['GET /kv/then', 'GET /kv/nothing', 'GET /kv']) {
        const then = await revisionOf(api, `${request}?revision=${String(first['revision'])}`);
        assert.equal(then, first['revision']);
      }
    }),
    holds('Each request that changes something takes the next revision', async ({api}) => {
      const start = await revisionOf(api, 'GET /kv/next');
      const two = {success: [{put: {key: 'next/1', value: ''}}, {put: {key: 'next/2', value: ''}}]};
      for (const [request, body, steps] of [
        ['PUT /kv/next', 'same', 1],
        ['PUT /kv/next', 'same', 2],
        ['POST /txn', two, 3],
        ['DELETE /kv/next/3', undefined, 3],
        ['DELETE /kv?prefix=next/3', undefined, 3],
        ['DELETE /kv?prefix=next/', undefined, 4],
        ['DELETE /kv/next', undefined, 5],
        ['DELETE /kv/next', undefined, 5],
      ] as const) {
        const answer = await api.ok(request, body === undefined ? {} : {body});
        assert.equal(answer['revision'], start + steps, request);
      }
    }),
    holds('Answers 304, 404, 410 and 412 about a key carry it', async ({api}) => {
      const {revision} = await api.ok('PUT /kv/carried', {body: 'v'});
      const tag = `"${String(revision)}"`;
      for (const [request, headers, status] of [
        ['GET /kv/carried', {'If-None-Match': tag}, 304],
        ['GET /kv/not-there', {}, 404],
        ['PUT /kv/carried', {'If-Match': '"1"'}, 412],
        ['DELETE /kv/carried', {'If-Match': '"1"'}, 412],
      ] as const) {
        const answer = await api.ask(request, {headers});
        assert.equal(answer.status, status);
        assert.equal(answer.headers['rosetta-revision'], String(revision), request);
      }
    }),
    holds('revision=N reads the store as it was then', async ({api}) => {
      const first = Number((await api.ok('PUT /kv/past', {body: 'old'}))['revision']);
      const last = Number((await api.ok('PUT /kv/past', {body: 'new'}))['revision']);
      assert.equal((await api.ok(`GET /kv/past?revision=${first}`))['value'], 'old');
      const range = await api.ok(`GET /kv?prefix=past&revision=${first}`);
      assert.match(JSON.stringify(range), /"old"/);
      assert.equal(await api.code(`GET /kv/past?revision=${last + 9}`), 'REVISION_IN_FUTURE');
      assert.equal(await api.code(`GET /kv?revision=${last + 9}`), 'REVISION_IN_FUTURE');
      await api.ok('POST /compact', {body: {revision: last}});
      const gone = await api.ask(`GET /kv/past?revision=${first}`);
      assert.equal(gone.json?.['code'], 'REVISION_COMPACTED');
      assert.equal(gone.headers['rosetta-revision'], String(last));
      assert.equal(await api.code(`GET /kv?revision=${first}`), 'REVISION_COMPACTED');
      assert.equal((await api.ok(`GET /kv/past?revision=${last}`))['value'], 'new');
    }),
    holds('POST /compact with an older revision', async ({api}) => {
      const {revision} = await api.ok('PUT /kv/compacted', {body: 'v'});
      const compact = (to: number): Promise<string> =>
        api.ask('POST /compact', {body: {revision: to}}).then(({text}) => text);
      const done = `{"compactedRevision":${String(revision)}}`;
      assert.equal(await compact(Number(revision)), done);
      assert.equal(await compact(2), done);
      await api.refused([
        ['POST /compact', 'REVISION_IN_FUTURE', {body: {revision: Number(revision) + 9}}],
        ['POST /compact', 'INVALID_REQUEST', {body: {revision: -1}}],
        ['POST /compact', 'INVALID_REQUEST', {body: {}}],
      ]);
    }),
  ],
};

export const headersAndParameters: Section = {
  title: 'Conventions',
  cases: [
    holds('timeout (milliseconds, 1 to 60,000, default 5000)', async ({api}) => {
      await api.ok('PUT /kv/slow?timeout=60000', {body: 'v'});
      await api.ok('PUT /kv?timeout=60000', {body: {key: 'slow', value: 'v'}});
      await api.ok('GET /kv/slow?timeout=60000&consistency=linearizable');
      await api.ok('DELETE /kv/slow?timeout=60000');
      for (const bad of ['0', '60001', '1.5', 'x', '']) {
        await api.refused([
          [`PUT /kv/slow?timeout=${bad}`, 'INVALID_PARAMETER', {body: 'v'}],
          [`GET /kv/slow?timeout=${bad}`, 'INVALID_PARAMETER'],
        ]);
      }
      for (const consistency of ['linearizable', 'local']) {
        for (const at of [0, 1, 2]) {
          const request = `GET /kv/slow?timeout=60000&consistency=${consistency}`;
          assert.match(await api.code(request, {at}), /^(200|KEY_NOT_FOUND)$/);
        }
      }
      await api.refused([['GET /kv/slow?consistency=perhaps', 'INVALID_PARAMETER']]);
    }),
    holds('Unknown and repeated query parameters are refused by name.', async ({api}) => {
      for (const [request, name] of [
        ['GET /kv/a?revison=7', 'revison'],
        ['GET /kv?limit=1&limit=1', 'limit'],
        ['PUT /kv/a?lease=1&lease=2', 'lease'],
        ['GET /livez?x', 'x'],
      ] as const) {
        const answer = await api.ask(request, {body: ''});
        assert.equal(answer.json?.['code'], 'INVALID_PARAMETER');
        assert.match(String(answer.json['detail']), new RegExp(`"${name}"`));
      }
    }),
    holds('Flags: reverse, reverse=true, reverse=1', async ({api}) => {
      await api.ok('PUT /kv/flag/1', {body: ''});
      await api.ok('PUT /kv/flag/2', {body: ''});
      for (const [flag, first] of [
        ['reverse', 'flag/2'],
        ['reverse=true', 'flag/2'],
        ['reverse=1', 'flag/2'],
        ['reverse=false', 'flag/1'],
        ['reverse=0', 'flag/1'],
      ] as const) {
        const page = await api.ok(`GET /kv?prefix=flag/&limit=1&${flag}`);
        assert.match(JSON.stringify(page['records']), new RegExp(`"key":"${first}"`), flag);
      }
      await api.refused([['GET /kv?reverse=yes', 'INVALID_PARAMETER']]);
    }),
    holds('HEAD works wherever GET does.', async ({api}) => {
      const {id} = await api.ok('POST /lease', {body: {ttl: 1000}});
      await api.ok('PUT /kv/head', {body: 'v'});
      const changing = new Set(['/status', '/metrics', `/lease/${String(id)}`]);
      for (const path of ['/kv', '/kv/head', '/kv/none', '/lease', `/lease/${String(id)}`]
        .concat(['/status', '/leader', '/cluster/members', '/livez', '/readyz'])
        .concat(['/metrics', '/openapi.json'])) {
        const get = await api.ask(`GET ${path}`, {at: 0});
        const head = await api.ask(`HEAD ${path}`, {at: 0});
        assert.equal(head.status, get.status, path);
        for (const name of ['content-type', 'etag', 'rosetta-revision']) {
          assert.equal(head.headers[name], get.headers[name], `${path} ${name}`);
        }
        if (changing.has(path)) continue;
        assert.equal(head.headers['content-length'], get.headers['content-length'], path);
      }
      assert.equal((await api.ask('HEAD /watch')).headers['content-type'], 'text/event-stream');
      const backup = await api.ask('HEAD /cluster/snapshot');
      assert.equal(backup.headers['content-type'], 'application/octet-stream');
      await api.ok(`DELETE /lease/${String(id)}`);
    }),
    holds('OPTIONS answers 204 with Allow.', async ({api}) => {
      for (const [path, allow] of [
        ['/kv', 'GET, HEAD, PUT, DELETE, OPTIONS'],
        ['/kv/a', 'GET, HEAD, PUT, DELETE, OPTIONS'],
        ['/txn', 'POST, OPTIONS'],
        ['/watch', 'GET, HEAD, OPTIONS'],
        ['/lease/7/keepalive', 'POST, OPTIONS'],
        ['/session/0123456789abcdef', 'DELETE, OPTIONS'],
        ['/cluster/members', 'GET, HEAD, POST, OPTIONS'],
        ['/livez', 'GET, HEAD, OPTIONS'],
      ] as const) {
        const answer = await api.ask(`OPTIONS ${path}`);
        assert.equal(answer.status, 204);
        assert.equal(answer.headers['allow'], allow, path);
        const refused = await api.ask(`PATCH ${path}`);
        assert.equal(refused.json?.['code'], 'METHOD_NOT_ALLOWED');
        assert.equal(refused.headers['allow'], allow, path);
      }
      await api.refused([
        ['GET /nothing', 'ROUTE_NOT_FOUND'],
        ['OPTIONS /nothing', 'ROUTE_NOT_FOUND'],
        ['GET //kv', 'ROUTE_NOT_FOUND'],
      ]);
    }),
    // Of every other answer too: CheckedApi looks at each.
    holds('Every answer carries Cache-Control: no-cache', async ({api}) => {
      const {revision} = await api.ok('PUT /kv/every', {body: ''});
      const headers = {'If-None-Match': `"${String(revision)}"`};
      assert.equal(await api.code('GET /kv/every', {headers}), '304');
      for (const text of ['garbage\r\n\r\n', `GET /kv/a#b HTTP/1.1\r\n${close}\r\n`]) {
        const head = (await api.raw(text)).split('\r\n\r\n')[0] ?? '';
        assert.match(head, /^HTTP\/1\.1 400 /);
        assert.match(head, /\r\nCache-Control: no-cache\r\n/);
        assert.match(head, /\r\nX-Content-Type-Options: nosniff\r\n/);
        assert.match(head, /\r\nVary: Accept\r\n/);
      }
    }),
    holds('Duplicates of Host, Origin, If-Match', async ({api}) => {
      for (const [line, code] of [
        ['Host: a', 'INVALID_HOST'],
        [`Origin: ${allowedOrigin}\r\nOrigin: ${allowedOrigin}`, 'INVALID_PARAMETER'],
        ['If-Match: "1"\r\nif-match: "1"', 'INVALID_PARAMETER'],
        ['If-None-Match: *\r\nIf-None-Match: *', 'INVALID_PARAMETER'],
        ['Idempotency-Key: a\r\nIDEMPOTENCY-KEY: a', 'INVALID_PARAMETER'],
      ] as const) {
        const head = `PUT /kv/twice HTTP/1.1\r\n${close}${line}\r\nContent-Length: 0\r\n\r\n`;
        assert.equal(await api.rawCodes(head), code, line);
      }
      assert.equal(await api.code('GET /kv/twice'), 'KEY_NOT_FOUND');
    }),
  ],
};
