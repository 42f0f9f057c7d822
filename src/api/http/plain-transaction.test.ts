import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {limits} from '../../base/limits.ts';
import type {Transaction} from '../../kv/command.ts';
import {readPlainTransaction} from './plain-transaction.ts';
import {parseTransaction} from './txn-request.ts';

const compare = '{"key":"a","target":"version","op":"=","value":0}';
const put = '{"put":{"key":"a","value":"b"}}';

function read(body: string | Buffer): Transaction | null {
  return readPlainTransaction(Buffer.from(body));
}

test('a transaction without optional fields is read as its bytes', () => {
  const transaction = read(
    '{"compare":[{"key":"grün","target":"value","op":"!=","value":"世界"},' +
      '{"key":"b","target":"modRevision","op":"<","value":120}],' +
      '"success":[{"put":{"key":"grün","value":""}},{"get":{"key":"b"}}],' +
      '"failure":[{"delete":{"key":"c"}}]}',
  );
  const key = Buffer.from('grün');
  assert.deepEqual(transaction, {
    type: 'transaction',
    compare: [
      {keys: {key}, operator: '!=', target: {type: 'value', value: Buffer.from('世界')}},
      {keys: {key: Buffer.from('b')}, operator: '<', target: {type: 'modRevision', value: 120}},
    ],
    success: [
      {
        type: 'put',
        key,
        value: Buffer.from(''),
        leaseId: 0,
        ttlMs: 0,
        ignoreValue: false,
        ignoreLease: false,
        wantsPrevious: false,
      },
      {type: 'get', key: Buffer.from('b')},
    ],
    failure: [{type: 'delete', key: Buffer.from('c'), wantsPrevious: false}],
  });
});

test('lists may be absent and empty', () => {
  for (const body of [
    `{"compare":[${compare}],"success":[${put}]}`,
    `{"success":[${put}]}`,
    `{"success":[],"failure":[${put}]}`,
    '{"compare":[],"success":[],"failure":[]}',
  ]) {
    assert.deepEqual(read(body), parseTransaction(Buffer.from(body)), body);
  }
});

const long = 'k'.repeat(limits.keySizeBytesMax + 1);
const many = (item: string): string =>
  Array.from({length: limits.operationCountMax + 1}, () => item).join(',');
const others: Readonly<Record<string, string | Buffer>> = {
  'an escape': '{"success":[{"get":{"key":"\\u0041"}}]}',
  'a control character': '{"success":[{"get":{"key":"\n"}}]}',
  'white space': '{"success": [{"get":{"key":"a"}}]}',
  'something behind the object': `{"success":[${put}]}}`,
  'an end too early': `{"success":[${put}]`,
  'another order of lists': `{"success":[${put}],"compare":[${compare}]}`,
  'another order of fields': '{"success":[{"put":{"value":"b","key":"a"}}]}',
  'a lifetime': '{"success":[{"put":{"key":"a","value":"b","ttl":5}}]}',
  'an encoding': '{"success":[{"get":{"key":"YQ==","keyEncoding":"base64"}}]}',
  'two operations in one': '{"success":[{"get":{"key":"a"},"delete":{"key":"a"}}]}',
  'a lease compared': '{"compare":[{"key":"a","target":"lease","op":"=","value":0}],"success":[]}',
  'a fraction': '{"compare":[{"key":"a","target":"version","op":"=","value":1.5}],"success":[]}',
  'a leading zero': '{"compare":[{"key":"a","target":"version","op":"=","value":01}],"success":[]}',
  'no number': '{"compare":[{"key":"a","target":"version","op":"=","value":}],"success":[]}',
  'a number beyond 2^53':
    '{"compare":[{"key":"a","target":"version","op":"=","value":9007199254740993}],"success":[]}',
  'text where a number belongs':
    '{"compare":[{"key":"a","target":"version","op":"=","value":"1"}],"success":[]}',
  'an empty key': '{"success":[{"get":{"key":""}}]}',
  'a key that is too long': `{"success":[{"get":{"key":"${long}"}}]}`,
  'too many operations': `{"success":[${many(put)}]}`,
  'too many compares': `{"compare":[${many(compare)}],"success":[]}`,
  'bytes that are no UTF-8': Buffer.from('{"success":[{"get":{"key":"\xff"}}]}', 'latin1'),
  nothing: '',
};
for (const [what, body] of Object.entries(others)) {
  test(`${what}: left to the parser`, () => {
    assert.equal(read(body), null);
  });
}

test('what is read here the parser reads alike', () => {
  const harmless = ['a', 'é', '世', ' ', '}', ']', ',', ':'];
  const rare = fc.constantFrom('"', '\\', '\u0000', '\ud800');
  const unit = fc.oneof(
    {weight: 60, arbitrary: fc.constantFrom(...harmless)},
    {weight: 1, arbitrary: rare},
  );
  const text = fc.string({unit, maxLength: 6}).map(inside => `"${inside}"`);
  const number = fc.constantFrom('0', '7', '120', '007', '-1', '1.0', '1e2', '123456789012345678');
  const often = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
    fc.oneof({weight: 20, arbitrary: usual}, {weight: 1, arbitrary: odd});
  const operator = often(fc.constantFrom('=', '!=', '<', '>'), fc.constant('<='));
  const compares = fc.oneof(
    fc
      .tuple(text, fc.constantFrom('version', 'createRevision', 'modRevision'), operator, number)
      .map(([key, target, op, value]) => [key, `"${target}"`, `"${op}"`, value] as const),
    fc
      .tuple(text, often(fc.constant('value'), fc.constant('lease')), operator, text)
      .map(([key, target, op, value]) => [key, `"${target}"`, `"${op}"`, value] as const),
  );
  const compareText = compares.map(
    ([key, target, op, value]) => `{"key":${key},"target":${target},"op":${op},"value":${value}}`,
  );
  const operationText = fc.oneof(
    fc
      .tuple(text, text, often(fc.constant(''), fc.constant(',"ttl":5')))
      .map(([key, value, more]) => `{"put":{"key":${key},"value":${value}${more}}}`),
    text.map(key => `{"get":{"key":${key}}}`),
    text.map(key => `{"delete":{"key":${key}}}`),
  );
  const list = (name: string, item: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.array(item, {maxLength: 2}).map(items => `"${name}":[${items.join(',')}]`);
  const lists = fc.tuple(
    fc.option(list('compare', compareText), {nil: ''}),
    list('success', operationText),
    fc.option(list('failure', operationText), {nil: ''}),
  );
  let plainCount = 0;
  fc.assert(
    fc.property(lists, often(fc.constant('}'), fc.constantFrom('} ', '', '}}')), (parts, end) => {
      const body = Buffer.from(`{${parts.filter(part => part !== '').join(',')}${end}`);
      const plain = readPlainTransaction(body);
      if (plain === null) return;
      plainCount++;
      assert.deepEqual(plain, parseTransaction(body));
    }),
    {numRuns: 1500},
  );
  assert.ok(plainCount > 100, `${plainCount} plain bodies`);
});
