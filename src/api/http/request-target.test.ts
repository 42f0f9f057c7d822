import assert from 'node:assert/strict';
import {test} from 'node:test';
import {RosettaError} from '../../base/errors.ts';
import {parseTarget, percentDecode} from './request-target.ts';

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof RosettaError) return error.code;
    throw error;
  }
  return 'none';
}

test('a target is split at its first question mark and otherwise left alone', () => {
  assert.deepEqual(parseTarget('/kv/../x//y?a=b?c'), {path: '/kv/../x//y', query: 'a=b?c'});
  assert.deepEqual(parseTarget('/kv'), {path: '/kv', query: ''});
});

test('absolute forms, control bytes, raw non-ASCII and fragments are refused', () => {
  for (const target of ['http://h/kv', '', 'kv', '/a b', '/\x00', '/\x7f', '/\xe4', '/a#b']) {
    assert.equal(
      codeOf(() => parseTarget(target)),
      'INVALID_TARGET',
      JSON.stringify(target),
    );
  }
});

test('every percent sequence is one byte and is decoded exactly once', () => {
  const all = Array.from({length: 256}, (_, byte) => `%${byte.toString(16).padStart(2, '0')}`);
  const decoded = percentDecode(all.join(''), {isQuery: false});
  assert.deepEqual([...decoded], [...all.keys()]);
  assert.equal(percentDecode('%2525%2F', {isQuery: false}).toString(), '%25/');
});

test('a plus sign is itself in a path and a space in a query', () => {
  assert.equal(percentDecode('a+b%2B', {isQuery: false}).toString(), 'a+b+');
  assert.equal(percentDecode('a+b%2B', {isQuery: true}).toString(), 'a b+');
});

test('a malformed percent sequence is refused wherever it stands', () => {
  for (const text of ['%', '%1', '%zz', 'a%g0', '%0g', '%%20', '%4', 'x%-1', '%\x60\x60']) {
    const code = codeOf(() => percentDecode(text, {isQuery: false}));
    assert.equal(code, 'BAD_PERCENT_ENCODING', text);
  }
});
