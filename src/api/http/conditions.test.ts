import assert from 'node:assert/strict';
import {test} from 'node:test';
import {wantsRawBytes} from './accept.ts';
import {isMatch, isNotModified, writeConditions} from './conditions.ts';
import {readRequestHeaders} from './request-headers.ts';

const key = Buffer.from('k');

function compare(...rawHeaders: string[]): unknown {
  return writeConditions(readRequestHeaders(rawHeaders, {mustHaveHost: false}), key);
}

test('conditions of a write become comparisons of the transaction', () => {
  const keys = {key};
  assert.deepEqual(compare(), []);
  for (const tag of ['"7"', '"7-raw"']) {
    assert.deepEqual(compare('If-Match', tag), [
      {keys, operator: '=', target: {type: 'modRevision', value: 7}},
    ]);
  }
  assert.deepEqual(compare('if-match', '*'), [
    {keys, operator: '>', target: {type: 'version', value: 0}},
  ]);
  assert.deepEqual(compare('IF-NONE-MATCH', '*'), [
    {keys, operator: '=', target: {type: 'version', value: 0}},
  ]);
});

test('a tag that is none of ours matches no version, and never an absent key', () => {
  for (const tag of ['"0"', '""', '"abc"', '"07"', '"7-RAW"', '"99999999999999999"']) {
    assert.deepEqual(compare('If-Match', tag), [
      {
        keys: {key},
        operator: '=',
        target: {type: 'modRevision', value: Number.MAX_SAFE_INTEGER},
      },
    ]);
  }
});

test('lists, weak tags and unquoted tags are refused on a write', () => {
  for (const tag of ['7', 'W/"7"', '"7", "8"', '', '**', '"7']) {
    assert.throws(() => compare('If-Match', tag), {code: 'INVALID_PARAMETER'}, tag);
  }
  for (const tag of ['"7"', '"*"', '']) {
    assert.throws(() => compare('If-None-Match', tag), {code: 'INVALID_PARAMETER'}, tag);
  }
});

test('a read compares weakly and takes lists', () => {
  assert.equal(isNotModified('"7"', 7), true);
  assert.equal(isNotModified('"6", W/"7-raw"', 7), true);
  assert.equal(isNotModified('*', 7), true);
  assert.equal(isNotModified('"6"', 7), false);
  assert.equal(isNotModified(undefined, 7), false);
  assert.throws(() => isNotModified('7', 7), {code: 'INVALID_PARAMETER'});
  assert.equal(isMatch('"7"', 7), true);
  assert.equal(isMatch('"8"', 7), false);
});

test('raw bytes are sent only to those who prefer them', () => {
  const raw = ['application/octet-stream', 'application/octet-stream, */*;q=0.1'];
  raw.push('application/json;q=0.5, application/octet-stream', 'application/octet-stream, */*');
  for (const accept of raw) assert.equal(wantsRawBytes(accept), true, accept);
  const json = [undefined, '*/*', 'application/json', 'text/html', 'application/*'];
  json.push('application/octet-stream;q=0', 'application/json, application/octet-stream;q=0.9');
  for (const accept of json) assert.equal(wantsRawBytes(accept), false, accept);
});
