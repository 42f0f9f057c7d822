import assert from 'node:assert/strict';
import {test} from 'node:test';
import {decodeCursor, encodeCursor, hashRange, isRangeOf, type Cursor} from './cursor.ts';

const whole = {start: Buffer.from('a'), end: Buffer.from('b')};
const cursor: Cursor = {
  rest: {start: Buffer.from('a/7'), end: Buffer.from('b')},
  revision: 123_456_789_012,
  limit: 1000,
  isReverse: false,
  keysOnly: true,
  rangeHash: hashRange(whole),
};

test('a cursor is base64url and keeps everything', () => {
  for (const variant of [cursor, {...cursor, isReverse: true, keysOnly: false}]) {
    const text = encodeCursor(variant);
    assert.match(text, /^[A-Za-z0-9_-]+$/);
    const decoded = decodeCursor(text);
    assert.equal(Buffer.compare(decoded.rest.start, variant.rest.start), 0);
    assert.equal(Buffer.from(decoded.rest.end ?? '').toString(), 'b');
    assert.equal(decoded.revision, variant.revision);
    assert.equal(decoded.limit, variant.limit);
    assert.equal(decoded.isReverse, variant.isReverse);
    assert.equal(decoded.keysOnly, variant.keysOnly);
  }
  const open = decodeCursor(encodeCursor({...cursor, rest: {start: Buffer.of(), end: null}}));
  assert.equal(open.rest.end, null);
});

test('it knows the range it belongs to', () => {
  const decoded = decodeCursor(encodeCursor(cursor));
  assert.equal(isRangeOf(decoded, whole), true);
  assert.equal(isRangeOf(decoded, {...whole, end: null}), false);
  assert.equal(isRangeOf(decoded, {start: Buffer.from('ab'), end: Buffer.of()}), false);
});

test('every changed character and every cut is noticed', () => {
  const text = encodeCursor(cursor);
  for (let i = 0; i < text.length; i++) {
    const changed = text.slice(0, i) + (text[i] === 'A' ? 'B' : 'A') + text.slice(i + 1);
    assert.throws(() => decodeCursor(changed), {code: 'INVALID_CURSOR'}, `character ${i}`);
    assert.throws(() => decodeCursor(text.slice(0, i)), {code: 'INVALID_CURSOR'}, `cut at ${i}`);
  }
  for (const other of ['', '====', `${text}=`, `${text}AAAA`, 'ü']) {
    assert.throws(() => decodeCursor(other), {code: 'INVALID_CURSOR'});
  }
});
