import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Endpoints} from './endpoints.ts';

test('the answer of an endpoint that is asked alone changes nothing for the others', () => {
  const endpoints = new Endpoints(['a:1', 'b:1'], {nowMs: () => 0, random: () => 0});
  const first = endpoints.pick().endpoint;
  endpoints.failed(first, first.epoch);
  const second = endpoints.pick().endpoint;
  assert.notEqual(second, first);
  endpoints.failed(second, second.epoch);
  endpoints.succeeded({origin: 'http://c:1', failureCount: 0, restsUntilMs: 0, epoch: 0});
  const {endpoint, waitMs} = endpoints.pick();
  assert.ok([first, second].includes(endpoint), endpoint.origin);
  assert.ok(waitMs > 0, 'both rest');
});
