import assert from 'node:assert/strict';
import {test, type TestContext} from 'node:test';
import fc from 'fast-check';
import {
  json,
  problem,
  ScriptedServer,
  written,
  type Step,
} from '../../test/client/scripted-server.ts';
import {fromBase64, percentEncode, toBase64} from './bytes-text.ts';
import type {Client} from './client.ts';
import {connect} from './node-client.ts';

async function scripted(
  t: TestContext,
  ...steps: readonly Step[]
): Promise<{readonly server: ScriptedServer; readonly client: Client}> {
  const server = await ScriptedServer.start(t, ...steps);
  const client = connect({endpoints: server.endpoint});
  t.after(() => client.close());
  return {server, client};
}

const row = {key: 'k', value: 'v', createRevision: 2, modRevision: 7, version: 3};

test('a record gives its key and value as text and as bytes', async t => {
  const {client} = await scripted(
    t,
    json({...row, value: 'Grüße', lease: '12'}),
    json({...row, key: '/w==', keyEncoding: 'base64', value: 'AP8=', encoding: 'base64'}),
  );
  const text = await client.get('k');
  assert.equal(text?.value, 'Grüße');
  assert.deepEqual(Buffer.from(text.valueBytes), Buffer.from('Grüße'));
  assert.deepEqual([text.createRevision, text.modRevision, text.version], [2, 7, 3]);
  assert.equal(text.lease, '12');
  const bytes = await client.get(Uint8Array.of(0xff));
  assert.deepEqual(bytes?.keyBytes, Uint8Array.of(0xff));
  assert.deepEqual(bytes.valueBytes, Uint8Array.of(0, 0xff));
  assert.equal(bytes.value, '\u0000\ufffd');
  assert.equal(bytes.lease, null);
});

test('an absent key is null', async t => {
  const {client} = await scripted(t, problem('KEY_NOT_FOUND'));
  assert.equal(await client.get('k'), null);
});

test('options become parameters, conditions become headers', async t => {
  const steps = [written, written, written, written, json({deleted: 1, revision: 3})];
  const {server, client} = await scripted(t, ...steps, json(row), problem('KEY_NOT_FOUND'));
  await client.put('a/b c', 'v', {lease: '7'});
  await client.put('k', Uint8Array.of(1, 0xff), {ttl: 2.5, ifModRevision: 7});
  await client.put('k', '', {ifAbsent: true});
  await client.put('k', 'v', {ifExists: true});
  assert.deepEqual(await client.delete('k', {ifModRevision: 9}), {deleted: 1, revision: 3});
  await client.get('k', {revision: 3});
  await client.get('k', {consistency: 'local'});
  assert.deepEqual(server.targets(), [
    'PUT /kv/a%2Fb%20c?lease=7',
    'PUT /kv/k?ttl=2.5',
    'PUT /kv/k',
    'PUT /kv/k',
    'DELETE /kv/k',
    'GET /kv/k?revision=3',
    'GET /kv/k?consistency=local',
  ]);
  assert.deepEqual(server.seen[1]?.body, Buffer.of(1, 0xff));
  assert.deepEqual(server.seen[2]?.body.length, 0);
  const conditions = server.seen.map(
    ({headers}) => headers['if-match'] ?? headers['if-none-match'],
  );
  assert.deepEqual(conditions.slice(0, 5), [undefined, '"7"', '*', '*', '"9"']);
  assert.equal(server.seen[2].headers['if-none-match'], '*');
});

test('nothing reaches beyond its parameter, or beyond the request', async t => {
  const {server, client} = await scripted(t);
  const second = '1 HTTP/1.1\r\nHost: a\r\n\r\nDELETE /kv?prefix= HTTP/1.1\r\nHost: a\r\n\r\n';
  const refusal = {code: 'INVALID_ARGUMENT', outcome: 'definite'} as const;
  for (const lease of [second, '1&ttl=5', '7 ', '7#', 'é']) {
    await assert.rejects(client.put('k', 'v', {lease}), refusal);
  }
  // What a program without types can pass.
  const wrong = {revision: second, consistency: 'local&revision=1'} as unknown as {
    revision: number;
  };
  await assert.rejects(client.get('k', wrong), refusal);
  await assert.rejects(client.list({}, {...wrong, pageSize: 1}).all(), refusal);
  assert.equal(server.seen.length, 0);
});

test('the largest answer a node can give is taken', async t => {
  const value = '\0'.repeat(8 * 1024 * 1024 - 100);
  const {client} = await scripted(t, json({...row, value}));
  assert.equal((await client.get('k'))?.value, value);
});

test('a listing follows its cursor and nothing else', async t => {
  const second = {...row, key: 'l'};
  const {server, client} = await scripted(
    t,
    json({records: [row], count: 1, more: true, cursor: 'c-1', revision: 9}),
    json({records: [second], count: 1, more: false, revision: 9}),
  );
  const options = {pageSize: 1, keysOnly: true, reverse: true, revision: 9} as const;
  const {records, revision} = await client.list({prefix: 'k'}, options).all();
  assert.deepEqual(
    records.map(({key}) => key),
    ['k', 'l'],
  );
  assert.equal(revision, 9);
  assert.deepEqual(server.targets(), [
    'GET /kv?prefix=k&limit=1&reverse=true&keysOnly=true&revision=9',
    'GET /kv?cursor=c-1',
  ]);
});

test('a listing reads no page that nobody asks for', async t => {
  const page = json({records: [row, row], count: 2, more: true, cursor: 'c', revision: 9});
  const {server, client} = await scripted(t, page);
  for await (const record of client.list({start: 'a', end: 'b'})) {
    assert.equal(record.key, 'k');
    break;
  }
  assert.deepEqual(server.targets(), ['GET /kv?start=a&end=b']);
});

test('ranges are counted and deleted', async t => {
  const {server, client} = await scripted(
    t,
    json({records: [], count: 12, more: false, revision: 9}),
    json({deleted: 12, revision: 10}),
    json({deleted: 0, revision: 10}),
    json({compactedRevision: 5}),
  );
  assert.deepEqual(await client.count({prefix: ''}), {count: 12, revision: 9});
  assert.deepEqual(await client.deleteRange({start: 'a'}), {deleted: 12, revision: 10});
  assert.deepEqual(await client.deleteRange({}), {deleted: 0, revision: 10});
  assert.deepEqual(await client.compact(5), {compactedRevision: 5});
  assert.deepEqual(server.targets(), [
    'GET /kv?prefix=&countOnly=true',
    'DELETE /kv?start=a',
    'DELETE /kv?prefix=',
    'POST /compact',
  ]);
  assert.equal(String(server.seen[3]?.body), '{"revision":5}');
});

test('any key survives its way through a path', () => {
  fc.assert(
    fc.property(fc.uint8Array({maxLength: 20}), bytes => {
      const decoded = Buffer.from(
        percentEncode(bytes, 'key').replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        ),
        'latin1',
      );
      assert.deepEqual(new Uint8Array(decoded), bytes);
      assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
    }),
  );
  const large = new Uint8Array(100_000).fill(0xfe);
  assert.equal(toBase64(large), Buffer.from(large).toString('base64'));
  assert.equal(percentEncode('ä/%', 'key'), '%C3%A4%2F%25');
});
