import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {bytes} from '../../test/contract/commands.ts';
import {keySuccessor, prefixEnd} from '../base/bytes.ts';
import type {KeyRange} from '../kv/command.ts';
import {isWithin, textRange, WatchIndex} from './watch-index.ts';

const keys = fc.string({
  unit: fc.constantFrom('a', 'b', '\0', '\u00ff'),
  minLength: 0,
  maxLength: 4,
});

const ranges: fc.Arbitrary<KeyRange> = fc.oneof(
  keys.map(key => ({start: bytes(key), end: keySuccessor(bytes(key))})),
  keys.map(key => ({start: bytes(key), end: prefixEnd(bytes(key))})),
  fc
    .tuple(keys, fc.option(keys))
    .map(([start, end]) => ({start: bytes(start), end: end === null ? null : bytes(end)})),
);

test('the index finds the watchers that a look at every range finds', () => {
  fc.assert(
    fc.property(
      fc.array(ranges, {maxLength: 12}),
      fc.array(fc.nat(11), {maxLength: 6}),
      fc.array(keys, {minLength: 1}),
      (added, removed, looked) => {
        const index = new WatchIndex<number>();
        const present = new Map(added.map((range, i) => [i, textRange(range)]));
        for (const [i, range] of present) index.add(range, i);
        for (const i of removed) {
          const range = present.get(i);
          if (range === undefined) continue;
          index.remove(range, i);
          present.delete(i);
        }
        for (const key of looked) {
          const found: number[] = [];
          index.forEachTopic(key, topic => found.push(...topic.watchers));
          const expected = [...present].filter(([, range]) => isWithin(key, range));
          assert.deepEqual(found.sort(compare), expected.map(([i]) => i).sort(compare));
        }
      },
    ),
  );
});

test('a range of one key and one of a prefix are known by their shape', () => {
  const shape = (start: string, end: string | null): string =>
    textRange({start: bytes(start), end: end === null ? null : bytes(end)}).shape;
  assert.equal(shape('a', 'a\0'), 'key');
  assert.equal(shape('a', 'b'), 'prefix');
  assert.equal(shape('a\u00ff', 'b'), 'prefix');
  assert.equal(shape('', null), 'prefix');
  assert.equal(shape('\u00ff', null), 'prefix');
  assert.equal(shape('a', null), 'range');
  assert.equal(shape('a', 'c'), 'range');
  assert.equal(shape('', 'a'), 'range');
});

function compare(a: number, b: number): number {
  return a - b;
}
