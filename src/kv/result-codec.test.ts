import {deepEqual, equal, throws} from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {decodeResult, encodeResult} from './result-codec.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';

const runs = {seed: 8, numRuns: 200};
const number = fc.maxSafeNat();
const record: fc.Arbitrary<KeyRecord> = fc.record({
  key: fc.uint8Array({minLength: 1, maxLength: 20}),
  value: fc.uint8Array({maxLength: 40}),
  createRevision: number,
  modRevision: number,
  version: number,
  leaseId: number,
});
const records = fc.array(record, {maxLength: 3});

function results(depth: number): fc.Arbitrary<readonly OperationResult[]> {
  const plain: fc.Arbitrary<OperationResult> = fc.oneof(
    fc.record({type: fc.constant('put'), version: number, previous: fc.option(record)}),
    fc.record({type: fc.constant('get'), record: fc.option(record)}),
    fc.record({type: fc.constant('range'), records, count: number, hasMore: fc.boolean()}),
    fc.record({type: fc.constant('delete'), deletedCount: number, previous: records}),
  );
  if (depth === limits.transactionDepthMax) return fc.array(plain, {maxLength: 3});
  const nested = fc.record({
    type: fc.constant('transaction'),
    succeeded: fc.boolean(),
    results: results(depth + 1),
  });
  return fc.array(fc.oneof(plain, nested), {maxLength: 3});
}

const answers: fc.Arbitrary<CommandResult> = fc.oneof(
  fc.record({
    type: fc.constant('transaction'),
    revision: number,
    succeeded: fc.boolean(),
    results: results(1),
  }),
  fc.record({type: fc.constant('compact'), revision: number, compactedRevision: number}),
  fc.record({
    type: fc.constant('refused'),
    revision: number,
    code: fc.constantFrom('TOO_MANY_KEYS', 'KEY_NOT_FOUND'),
    detail: fc.string(),
  }),
);

test('every result comes back as it was, in memory of its own', () => {
  fc.assert(
    fc.property(answers, answer => {
      const encoded = encodeResult(answer);
      const decoded = decodeResult(encoded);
      encoded.fill(0);
      // A clone turns objects without prototype into plain ones, which deepEqual minds.
      deepEqual(decoded, structuredClone(answer));
    }),
    runs,
  );
});

test('cut or damaged bytes decode or are malformed, nothing else', () => {
  fc.assert(
    fc.property(answers, fc.nat(), fc.nat(255), (answer, at, byte) => {
      const encoded = encodeResult(answer);
      throws(() => decodeResult(encoded.subarray(0, at % encoded.length)), MalformedBytesError);
      encoded[at % encoded.length] = byte;
      try {
        decodeResult(encoded);
      } catch (error) {
        equal(error instanceof MalformedBytesError, true);
      }
    }),
    {...runs, numRuns: 1000},
  );
});
