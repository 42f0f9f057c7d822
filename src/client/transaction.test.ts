import assert from 'node:assert/strict';
import {test} from 'node:test';
import {json, ScriptedServer} from '../../test/client/scripted-server.ts';
import {connect} from './node-client.ts';

const row = {key: 'k', value: 'v', createRevision: 2, modRevision: 2, version: 1};

test('a transaction says what it means, and gives its results by operation', async t => {
  const server = await ScriptedServer.start(
    t,
    json({
      succeeded: true,
      revision: 9,
      results: [{key: 'a', revision: 9, version: 4}, null, row, {deleted: 1, revision: 9}],
    }),
    json({succeeded: false, revision: 9, results: [{deleted: 0, revision: 9}]}),
  );
  const client = connect({endpoints: server.endpoint});
  t.after(() => client.close());
  const result = await client.txn({
    compare: [
      {key: 'a', target: 'value', op: '=', value: Uint8Array.of(0xff)},
      {key: Uint8Array.of(0xfe), target: 'version', op: '>', value: 2},
      {key: 'c', target: 'lease', op: '!=', value: '0'},
    ],
    success: [
      {put: {key: 'a', value: Uint8Array.of(0), ttl: 2.5}},
      {get: {key: 'b'}},
      {get: {key: 'k'}},
      {delete: {key: 'd'}},
    ],
  });
  assert.deepEqual(JSON.parse(String(server.seen[0]?.body)), {
    compare: [
      {key: 'a', target: 'value', op: '=', value: '/w==', encoding: 'base64'},
      {key: '/g==', keyEncoding: 'base64', target: 'version', op: '>', value: 2},
      {key: 'c', target: 'lease', op: '!=', value: '0'},
    ],
    success: [
      {put: {key: 'a', value: 'AA==', encoding: 'base64', ttl: 2.5}},
      {get: {key: 'b'}},
      {get: {key: 'k'}},
      {delete: {key: 'd'}},
    ],
    failure: [],
  });
  assert.equal(result.succeeded, true);
  assert.deepEqual(result.results[0], {type: 'put', revision: 9, version: 4});
  assert.deepEqual(result.results[1], {type: 'get', record: null});
  assert.equal(result.results[2]?.type === 'get' && result.results[2].record?.value, 'v');
  assert.deepEqual(result.results[3], {type: 'delete', revision: 9, deleted: 1});
  const second = await client.txn({
    compare: [{key: 'a', target: 'modRevision', op: '=', value: 7}],
    success: [{put: {key: 'a', value: 'b'}}],
    failure: [{delete: {key: 'x'}}],
  });
  assert.deepEqual(second.results, [{type: 'delete', revision: 9, deleted: 0}]);
  assert.deepEqual(server.keys(), ['s1/1', 's1/2']);
});
