import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {RosettaError} from '../../base/errors.ts';
import {parseJson, type JsonValue} from './json-parser.ts';

function refusal(text: string | Buffer): {code: string; detail: string} {
  try {
    parseJson(Buffer.from(text));
  } catch (error) {
    if (error instanceof RosettaError) return {code: error.code, detail: error.message};
    throw error;
  }
  return {code: 'none', detail: ''};
}

function plain(value: JsonValue): unknown {
  if (value instanceof Map) {
    const entries = [...(value as ReadonlyMap<string, JsonValue>)];
    return entries.map(([name, member]) => [name, plain(member)]);
  }
  return Array.isArray(value) ? value.map(plain) : value;
}

/** What JSON.parse makes of it, in the shape of `plain`. */
function reference(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reference);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value).map(([name, member]) => [name, reference(member)]);
}

test('it reads what JSON.stringify writes, as JSON.parse does', () => {
  fc.assert(
    fc.property(fc.jsonValue({maxDepth: 5}), fc.integer({min: 0, max: 3}), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      // Integer-like names are reordered by JavaScript objects, -0 is written as 0.
      fc.pre(!/"\d+":/.test(text));
      assert.deepEqual(plain(parseJson(Buffer.from(text))), reference(JSON.parse(text)));
    }),
    {seed: 7, numRuns: 300},
  );
});

test('it accepts nothing that JSON.parse refuses', () => {
  const base = '{"a":[1,-2.5e+3,true,null,"x\\n\\u00e9"],"b":{}}';
  for (let i = 0; i < base.length; i++) {
    for (const edit of ['', ',', '"', '}', '\\', '0', '\u0001', ' ']) {
      const text = base.slice(0, i) + edit + base.slice(i + 1);
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      const {code} = refusal(text);
      assert.equal(code !== 'INVALID_JSON', isJson, text);
    }
  }
});

test('broken JSON names the offset', () => {
  for (const text of ['', ' ', '{', '{"a"', '{"a":', '{"a":1,}', '[1,]', '01', '1.', '.5', '+1']) {
    assert.equal(refusal(text).code, 'INVALID_JSON', text);
  }
  for (const text of ['nul', 'NaN', "{'a':1}", '{a:1}', '"\n"', '"\\x"', '{} {}', '\ufeff{}']) {
    assert.equal(refusal(text).code, 'INVALID_JSON', text);
  }
  assert.match(refusal('{"a":?}').detail, /offset 5/);
});

test('a repeated name is refused with its path', () => {
  assert.deepEqual(refusal('{"a":[{"b":1,"\\u0062":2}]}'), {
    code: 'INVALID_REQUEST',
    detail: 'the field "a[0].b" is given twice',
  });
});

test('a lone surrogate is refused, a pair is not', () => {
  assert.equal(refusal('{"a":"\\ud83d"}').code, 'INVALID_REQUEST');
  assert.match(refusal('{"a":"x\\udc00y"}').detail, /"a" holds a lone surrogate/);
  assert.equal(refusal('{"a":"\\ud83d\\ude00"}').code, 'none');
});

test('bytes that are not UTF-8 are refused', () => {
  assert.equal(refusal(Buffer.from([0x22, 0xff, 0x22])).code, 'INVALID_JSON');
  assert.equal(refusal(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])).code, 'INVALID_JSON');
});

test('deep nesting is refused instead of exhausting the stack', () => {
  assert.equal(refusal('['.repeat(32) + ']'.repeat(32)).code, 'none');
  assert.equal(refusal('['.repeat(34) + ']'.repeat(34)).code, 'INVALID_REQUEST');
  assert.equal(refusal('{"a":'.repeat(100_000)).code, 'INVALID_REQUEST');
});

test('__proto__ is a name like any other', () => {
  const value = parseJson(Buffer.from('{"__proto__":1,"constructor":2}'));
  assert.deepEqual(plain(value), [
    ['__proto__', 1],
    ['constructor', 2],
  ]);
});
