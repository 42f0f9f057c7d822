import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {parseJson} from './json-parser.ts';
import {readPlainPutBody} from './plain-put-body.ts';

test('a body without escapes is read as its bytes', () => {
  const body = readPlainPutBody(Buffer.from('{"key":"grün","value":"世界"}'));
  assert.equal(body?.key.toString(), 'grün');
  assert.equal(body.value.toString(), '世界');
  assert.equal(readPlainPutBody(Buffer.from('{"key":"a","value":""}'))?.value.length, 0);
});

const others: Readonly<Record<string, string | Buffer>> = {
  'an escape in the key': '{"key":"a\\u0041","value":"b"}',
  'an escaped quote': '{"key":"a","value":"b\\""}',
  'a control character': '{"key":"a","value":"b\n"}',
  'a third field': '{"key":"a","value":"b","ttl":5}',
  'another order': '{"value":"b","key":"a"}',
  'white space': '{"key": "a","value":"b"}',
  'something behind the object': '{"key":"a","value":"b"} ',
  'an end too early': '{"key":"a","value":"b"',
  'an empty key': '{"key":"","value":"b"}',
  'a key that is too long': `{"key":"${'k'.repeat(1025)}","value":"b"}`,
  'no value': '{"key":"a"}',
  'bytes that are no UTF-8': Buffer.from('7b226b6579223a22ff222c2276616c7565223a2262227d', 'hex'),
  nothing: '',
};
for (const [what, body] of Object.entries(others)) {
  test(`${what} is left to the parser`, () => {
    assert.equal(readPlainPutBody(Buffer.from(body)), null);
  });
}

test('what is read here the parser reads alike', () => {
  const unit = fc.oneof(
    {weight: 20, arbitrary: fc.constantFrom('a', 'é', '世', ' ', '}', ',', ':')},
    {weight: 1, arbitrary: fc.constantFrom('"', '\\', '\u0000', '\ud800')},
  );
  const text = fc.string({unit, maxLength: 8});
  const quoted = fc.oneof(
    text.map(inside => `"${inside}"`),
    text.map(inside => JSON.stringify(inside)),
  );
  let plainCount = 0;
  fc.assert(
    fc.property(quoted, quoted, fc.constantFrom('', ' ', ',"ttl":1'), (key, value, more) => {
      const body = Buffer.from(`{"key":${key},"value":${value}${more}}`);
      const plain = readPlainPutBody(body);
      if (plain === null) return;
      plainCount++;
      assert.deepEqual(
        parseJson(body),
        new Map([
          ['key', plain.key.toString()],
          ['value', plain.value.toString()],
        ]),
      );
    }),
    {numRuns: 2000},
  );
  // About 400: the seed is another one in every run.
  assert.ok(plainCount > 100, `${plainCount} plain bodies`);
});
