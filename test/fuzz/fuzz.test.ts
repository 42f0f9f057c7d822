/** The fast slice: every target with a fixed seed, its failure told with the bytes. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {AllocationMeter} from './allocation-meter.ts';
import {parseFuzzOptions} from './fuzz-options.ts';
import {fuzz} from './fuzz-run.ts';
import {pureTarget} from './fuzz-target.ts';
import {isSameValue} from './same-value.ts';
import {targets} from './targets.ts';

const seed = 20_261_123;
const caseCountPerShare = 200;

for (const target of targets) {
  test(`${target.name} keeps its word whatever it is fed`, async () => {
    const caseCount = target.share * caseCountPerShare;
    const {figures, failure} = await fuzz(target, {seed, caseCount, path: null});
    if (failure !== null) {
      assert.fail(
        `${failure.error}\nhex ${failure.hex}\n` +
          `npm run fuzz -- --target ${target.name} --seed ${failure.seed} --path ${failure.path}`,
      );
    }
    assert.equal(figures.caseCount, caseCount);
    assert.ok(figures.acceptedCount > 0, 'nothing is accepted');
    assert.ok(figures.refusedCount > 0, 'nothing is refused');
  });
}

test('a failure is shrunk and found again from its seed and path', async () => {
  const target = pureTarget<Uint8Array>(
    {name: 'broken', share: 1},
    {
      inputs: fc.uint8Array({maxLength: 100, size: 'max'}),
      bytesOf: bytes => bytes,
      check: bytes => {
        assert.ok(!bytes.some(byte => byte >= 0x80), 'a byte above 127');
        return 'accepted';
      },
    },
  );
  const {failure} = await fuzz(target, {seed, caseCount: 1_000, path: null});
  assert.equal(failure?.hex, '80');
  const again = await fuzz(target, {seed: failure.seed, caseCount: 1, path: failure.path});
  assert.equal(again.failure?.hex, '80');
});

test('memory that is only announced is a failure', async () => {
  const target = pureTarget<number>(
    {name: 'greedy', share: 1},
    {
      inputs: fc.integer({min: 2 ** 22, max: 2 ** 23}),
      bytesOf: size => Buffer.from(String(size)),
      check: size => (Buffer.alloc(size).length > 0 ? 'accepted' : 'refused'),
    },
  );
  const {failure} = await fuzz(target, {seed, caseCount: 1, path: null});
  assert.match(failure?.error ?? '', /bytes taken for an input of 7/);
});

test('the meter counts while it runs and leaves no trace', () => {
  const before = Object.getOwnPropertyDescriptor(Buffer, 'alloc')?.value as unknown;
  const meter = new AllocationMeter();
  meter.start();
  Buffer.concat([Buffer.alloc(3), Buffer.allocUnsafe(4)]);
  meter.stop();
  assert.equal(meter.sizeBytes, 14);
  assert.equal(Object.getOwnPropertyDescriptor(Buffer, 'alloc')?.value, before);
});

test('values are the same by their bytes and fields alone', () => {
  assert.ok(isSameValue({a: [Uint8Array.of(1)]}, {a: [Buffer.of(1)]}));
  assert.ok(!isSameValue({a: 1}, {a: 1, b: undefined}));
  assert.ok(!isSameValue([1], {0: 1}));
  assert.ok(!isSameValue(Uint8Array.of(1), Uint8Array.of(2)));
  assert.ok(isSameValue(NaN, NaN));
});

test('options are read, and misspelt ones refused', () => {
  assert.deepEqual(parseFuzzOptions(['--cases', '5', '--target=command', '--seed', '-7']), {
    type: 'run',
    options: {caseCount: 5, target: 'command', seed: -7, path: null},
  });
  assert.throws(() => parseFuzzOptions(['--case', '5']), /--case is unknown/);
  assert.throws(() => parseFuzzOptions(['--cases', '0']), /whole number/);
  assert.throws(() => parseFuzzOptions(['--seed']), /needs a value/);
});
