/** POST /session, DELETE /session/{id}, and what the headers of a session's requests become. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {must} from '../../base/assert.ts';
import {startHttp} from '../../../test/contract/http-fixture.ts';

test('a session is opened under an id that nobody has had', async t => {
  const http = await startHttp(t);
  const answers = [await http.request('POST', '/session'), await http.request('POST', '/session')];
  const ids = answers.map(answer => String(answer.json?.['id']));
  assert.deepEqual(
    answers.map(answer => answer.status),
    [200, 200],
  );
  for (const [i, id] of ids.entries()) {
    assert.match(id, /^[0-9a-f]{16}$/);
    assert.equal(answers[i]?.json?.['ttl'], 3600);
    const {body} = must(http.service.proposed[i], 'it was proposed');
    assert.deepEqual({...body}, {type: 'session', action: 'open', id});
  }
  assert.notEqual(ids[0], ids[1]);
});

test('a session is closed by its id', async t => {
  const http = await startHttp(t);
  const answer = await http.request('DELETE', '/session/0123456789abcdef');
  assert.equal(answer.text, '{}');
  const {body} = must(http.service.proposed[0], 'it was proposed');
  assert.deepEqual({...body}, {type: 'session', action: 'close', id: '0123456789abcdef'});
  const bad = await http.request('DELETE', `/session/${'x'.repeat(65)}`);
  assert.equal(bad.json?.['code'], 'INVALID_REQUEST');
  const slash = await http.request('DELETE', '/session/a%2Fb');
  assert.equal(slash.json?.['code'], 'INVALID_REQUEST');
});

test('the acknowledged number travels with the key', async t => {
  const http = await startHttp(t);
  const headers = {'Idempotency-Key': 's/17', 'Idempotency-Acknowledged': '16'};
  await http.request('PUT', '/kv/k', {body: 'v', headers});
  const {idempotency} = must(http.service.proposed[0], 'it was proposed');
  assert.equal(idempotency?.key, 's/17');
  assert.equal(idempotency.acknowledged, 16);
});

test('an acknowledged number that cannot be one is refused', async t => {
  const http = await startHttp(t);
  const cases = [
    ['s/17', '17'],
    ['s/17', '-1'],
    ['s/17', 'x'],
    ['s/17', ''],
    ['plain', '1'],
  ];
  for (const [key = '', acknowledged = ''] of cases) {
    const headers = {'Idempotency-Key': key, 'Idempotency-Acknowledged': acknowledged};
    const answer = await http.request('PUT', '/kv/k', {body: 'v', headers});
    assert.equal(answer.json?.['code'], 'INVALID_PARAMETER', `${key} ${acknowledged}`);
  }
  const alone = await http.request('PUT', '/kv/k', {
    body: 'v',
    headers: {'Idempotency-Acknowledged': '1'},
  });
  assert.equal(alone.json?.['code'], 'INVALID_PARAMETER');
  assert.equal(http.service.proposed.length, 0);
});

test('sessions take no conditions, keys or methods of others', async t => {
  const http = await startHttp(t);
  for (const headers of [{'Idempotency-Key': 'k'}, {'If-Match': '*'}]) {
    const answer = await http.request('POST', '/session', {headers});
    assert.equal(answer.json?.['code'], 'INVALID_PARAMETER');
  }
  const wrong = await http.request('GET', '/session');
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.allow, 'POST, OPTIONS');
  assert.equal(http.service.proposed.length, 0);
});
