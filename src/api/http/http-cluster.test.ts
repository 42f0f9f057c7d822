import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import {RosettaError} from '../../base/errors.ts';

test('members are added and removed, and leadership is moved', async t => {
  const http = await startHttp(t);
  const body = '{"id":"node4","listen":"127.0.0.1:8083"}';
  const added = await http.request('POST', '/cluster/members', {body});
  assert.equal(added.status, 200);
  assert.deepEqual(added.json, {members: [...http.service.members()]});
  const removed = await http.request('DELETE', '/cluster/members/node4');
  assert.deepEqual(removed.json, {members: [...http.service.members()]});
  const moved = await http.request('POST', '/cluster/leader?timeout=100', {body: '{"id":"node2"}'});
  assert.deepEqual(moved.json, {...http.service.leader()});
  assert.deepEqual(http.service.changes, [
    {type: 'add', id: 'node4', listen: '127.0.0.1:8083'},
    {type: 'remove', id: 'node4'},
    {type: 'lead', id: 'node2'},
  ]);
});

test('a change that the cluster refuses is answered with its code', async t => {
  const http = await startHttp(t);
  http.service.failNext = new RosettaError('LAST_VOTER', 'node1 is the only voter');
  const answer = await http.request('DELETE', '/cluster/members/node1');
  assert.equal(answer.status, 409);
  assert.equal(answer.json?.['code'], 'LAST_VOTER');
  assert.equal(answer.json['outcome'], 'definite');
});

const malformed: readonly [string, string, string, RegExp][] = [
  ['POST', '/cluster/members', '{"id":"node4"}', /"listen" is missing/],
  ['POST', '/cluster/members', '{"listen":"h:1"}', /"id" is missing/],
  ['POST', '/cluster/members', '{"id":"a b","listen":"h:1"}', /"id" must be 1 to 64/],
  ['POST', '/cluster/members', '{"id":"a","listen":"h"}', /"listen" must be the Raft address/],
  ['POST', '/cluster/members', '{"id":"a","listen":":80"}', /"listen" must be the Raft address/],
  ['POST', '/cluster/members', '{"id":"a","listen":"h:0"}', /"listen" must be the Raft address/],
  ['POST', '/cluster/members', '{"id":"a","listen":"h:1","x":1}', /"x" is not known/],
  ['POST', '/cluster/leader', '{"id":7}', /"id" must be a string/],
];

test('malformed changes are refused before anybody is asked', async t => {
  const http = await startHttp(t);
  for (const [method, path, body, detail] of malformed) {
    const answer = await http.request(method, path, {body});
    assert.equal(answer.status, 400, body);
    assert.match(String(answer.json?.['detail']), detail);
  }
  const nobody = await http.request('DELETE', '/cluster/members/a%20b');
  assert.equal(nobody.json?.['code'], 'MEMBER_NOT_FOUND');
  assert.deepEqual(http.service.changes, []);
});
