import assert from 'node:assert/strict';
import {test} from 'node:test';
import {parseTortureOptions} from './options.ts';

test('flags are read with a space or with =, and the drawn seed counts when none is given', () => {
  const options = parseTortureOptions(
    ['--minutes', '5', '--seed=7', '--workload', 'set,append', '--faults=kill,pause'],
    99,
  );
  assert.equal(options.seconds, 300);
  assert.equal(options.seed, 7);
  assert.deepEqual(options.workloads, ['set', 'append']);
  assert.deepEqual(options.faults, ['kill', 'pause']);
  assert.equal(parseTortureOptions([], 99).seed, 99);
  assert.equal(options.hasLyingDisks, false);
  assert.equal(parseTortureOptions(['--unsafe-no-fsync'], 1).hasLyingDisks, true);
});

test('what is not understood is refused with one line', () => {
  for (const [args, message] of [
    [['--fault', 'kill'], /unknown flag --fault/],
    [['--faults', 'fire'], /--faults takes kill.*not "fire"/],
    [['--minutes', 'x'], /--minutes must be/],
    [['--seed'], /--seed needs a value/],
    [['--nodes', '2.5'], /whole number/],
  ] as const) {
    assert.throws(() => parseTortureOptions(args, 1), message);
  }
});
