import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import type {BenchOptions} from './bench-options.ts';
import {helpText, measurementNames, parseBenchOptions} from './bench-options.ts';

function parse(...args: readonly string[]): BenchOptions {
  const parsed = parseBenchOptions(args);
  assert.ok(parsed.type === 'run');
  return parsed.options;
}

describe('bench options', () => {
  test('without any, everything is measured but the soak', () => {
    const {selected, isQuick, roundCount} = parse();
    assert.equal(selected.size, measurementNames.length - 1);
    assert.ok(!selected.has('soak'));
    assert.deepEqual([isQuick, roundCount], [false, 3]);
    assert.ok(parse('--soak').selected.has('soak'));
  });

  test('--only takes names, and the beginnings of names', () => {
    assert.deepEqual([...parse('--only', 'put,restart').selected], ['put', 'restart']);
    assert.deepEqual([...parse('--only=put').selected], ['put']);
    assert.equal(parse('--only', 'growth').selected.size, 4);
    assert.deepEqual([...parse('--only', 'get', '--soak').selected], ['soak', 'get']);
  });

  test('what is wrong is named', () => {
    assert.throws(() => parse('--only', 'pit'), /no measurement pit/);
    assert.throws(() => parse('--fast'), /--fast is unknown/);
    assert.throws(() => parse('--rounds'), /--rounds needs a value/);
    assert.throws(() => parse('--seconds=0'), /whole number/);
  });

  test('the help lists every measurement', () => {
    assert.equal(parseBenchOptions(['--help']).type, 'help');
    for (const name of measurementNames) assert.ok(helpText.includes(name), name);
  });
});
